"""Worker processes that read samples ahead of their use.

They are forked from a server that holds neither threads nor a GPU (forkserver), and end with this process however it
ends.
"""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pickle import PicklingError
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilljob_core.errors import DistillJobError, FactoryError
from distilljob_trainer.data.counters import Stream, hashes, seed_cpu_generators, stream_key
from distilljob_trainer.data.sample import MapStyle, check_layout, read_sample, room

START: Final = "forkserver"

Request = tuple[str, NDArray[np.int64], int | None]
"""A batch to read: source, ids, and the key of its augmentation's draws; None: samples as they are."""


@dataclass(frozen=True, slots=True)
class Source:
    """One split, as a worker needs it."""

    samples: MapStyle
    augmented: MapStyle | None
    labels: NDArray[np.int64]
    layout: str
    """Of every sample."""

    def read(self, ids: NDArray[np.int64], key: int | None, name: str) -> dict[str, Tensor]:
        """Read one batch, generators seeded before each sample.

        Raises:
            FactoryError: a sample is not what it must be.
            DataError: the dataset says that one is missing or damaged.
        """
        dataset = self.samples if key is None or self.augmented is None else self.augmented
        draws = hashes(stream_key(Stream.PREDICTION) if key is None else key, torch.from_numpy(ids)).tolist()
        batch: dict[str, Tensor] = {}
        for row, (index, draw) in enumerate(zip(ids.tolist(), draws, strict=True)):
            seed_cpu_generators(draw)
            x, label = read_sample(dataset, index, name)
            check_layout(x, self.layout, index, name)
            if label != self.labels[index]:
                raise FactoryError(
                    f"dataset {name!r}: sample {index} has the label {label}, Streamed.labels has {self.labels[index]}"
                )
            batch = batch or room(x, len(ids))
            for input_name, tensor in x.items():
                batch[input_name][row] = tensor
        return batch


class _Batches(Dataset[dict[str, Tensor] | DistillJobError]):
    """What a DataLoader indexes: a request gives a batch, or the error that ended its reading."""

    def __init__(self, name: str, sources: Mapping[str, Source]) -> None:
        self._name = name
        self._sources = dict(sources)

    def __getitem__(self, request: Request) -> dict[str, Tensor] | DistillJobError:
        source, ids, key = request
        try:
            return self._sources[source].read(ids, key, self._name)
        except DistillJobError as error:
            return error  # raised in a worker, it would arrive wrapped in a traceback


class Workers:
    """Reads batches of several sources in the order in which they are asked for, one pass at a time.

    Args:
        name: of the dataset, for the text of errors.
        sources: by name.
        num_workers: processes, started by the first pass and kept; 0 = this process reads.
    """

    def __init__(self, name: str, sources: Mapping[str, Source], num_workers: int) -> None:
        self._name = name
        self._pass = 0
        self._requests: list[Request] = []
        processes = num_workers > 0
        self._loader: DataLoader[dict[str, Tensor] | DistillJobError] = DataLoader(
            _Batches(name, sources),
            sampler=self._requests,  # an index may be anything that the dataset takes
            batch_size=None,
            num_workers=num_workers,
            persistent_workers=processes,
            multiprocessing_context=START if processes else None,
            worker_init_fn=_end_with_parent if processes else None,
        )

    def read(self, requests: Sequence[Request]) -> Iterator[dict[str, Tensor]]:
        """Read one batch after the other; a pass that is left early ends when another begins.

        Raises:
            FactoryError: samples are not what they must be, or cannot be sent to workers.
            DataError: the dataset says that a sample is missing or damaged.
            DistillJobError: a worker died.
        """
        self._pass += 1
        this_pass = self._pass
        self._requests[:] = requests
        answers = self._start()
        for request in requests:
            assert this_pass == self._pass, "one pass at a time"
            answer = self._next(answers, request)
            if isinstance(answer, DistillJobError):
                raise answer
            yield answer

    def _start(self) -> Iterator[dict[str, Tensor] | DistillJobError]:
        multiprocessing.get_context(START).set_forkserver_preload(["__main__", __name__])  # torch is imported once
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got pickle error")  # torch advises fork, which threads forbid
                return iter(self._loader)
        except (AttributeError, TypeError, PicklingError) as error:
            raise FactoryError(
                f"dataset {self._name!r} cannot be sent to worker processes: {error}; leave out lambdas, local "
                "functions and open files, or set training.dataLoaderWorkers to 0"
            ) from error

    def _next(
        self, answers: Iterator[dict[str, Tensor] | DistillJobError], request: Request
    ) -> dict[str, Tensor] | DistillJobError:
        try:
            return next(answers)
        except (RuntimeError, OSError, EOFError) as error:
            source, ids, _ = request
            raise DistillJobError(
                f"dataset {self._name!r}: a worker died at or before the {source} samples {ids[0]} to {ids[-1]}: "
                f"{error}; if it was killed for lack of memory, or /dev/shm is full, lower training.dataLoaderWorkers"
            ) from error


def _end_with_parent(_worker: int) -> None:
    """End this worker when the trainer is gone, even by kill -9.

    torch's own watchdog looks at the parent process, which is the fork server and lives as long as its children do.
    """
    trainer = multiprocessing.parent_process()
    assert trainer is not None, "workers are children"

    def watch() -> None:
        trainer.join()
        os._exit(1)

    threading.Thread(target=watch, name="distilljob-trainer-gone", daemon=True).start()
