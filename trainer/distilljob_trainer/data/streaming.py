"""Datasets too large for memory: samples are read each time they are needed, by worker processes, in a fixed order.

What a batch holds is a function of its ids and of the augmentation's key alone, so neither the number of workers nor
the moment of a resume can be seen in it.

Shapes: N samples of a split, B of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilljob_core.errors import FactoryError
from distilljob_trainer.data.sample import SINGLE, MapStyle, layout, read_sample
from distilljob_trainer.data.split import Inputs, Normalization, Split, describe, moved, sample_bytes, scaled
from distilljob_trainer.data.workers import Source, Workers

CHUNK: Final = 256
"""Samples that are read ahead while contents are hashed."""
FILE_THREADS: Final = 8  # reading waits for disks
SAMPLES_PER_NEWS: Final = 100_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a factory returns to have samples read whenever they are needed, instead of once into memory.

    It travels to worker processes, so everything in it must be picklable.
    """

    samples: MapStyle
    """As they are: accuracies, weights and soft labels are made of these. All have one shape and type."""
    labels: Sequence[int] | Tensor
    """The labels that `samples` gives, known without reading them."""
    classes: tuple[str, ...] = ()
    """Names of the classes; empty: the numbers up to the greatest label."""
    augmented: MapStyle | None = None
    """The same samples, augmented, for training batches.

    It may draw from the global generators of torch, Python and NumPy, which are seeded before each sample by (seed,
    cycle, epoch, id).
    """
    normalization: Normalization | None = None
    """For uint8 images [C, H, W], which are scaled to 0..1 without; other inputs reach the network as they are."""
    content: Callable[[int], bytes] | None = None
    """Gives what tells a sample from others, such as its file's bytes; without, samples are read once to find out."""


@dataclass(frozen=True, slots=True)
class StreamedSplit(Split):
    """Samples are read by workers, whenever batches are made."""

    part: str
    """Its name among the sources of the workers."""
    workers: Workers
    content: Callable[[int], bytes] | None
    first: Inputs
    """Sample 0 as a batch of one."""

    @property
    def layout(self) -> str:
        """Type and shape of a sample, in words."""
        return describe(self.first)

    def raw(self, ids: Sequence[Tensor], key: int | None) -> Iterator[Inputs]:
        """Read samples ahead of their use; each is augmented alike in any batch."""
        for tensors in self.workers.read([(self.part, ids_B.cpu().numpy(), key) for ids_B in ids]):
            yield moved(_alone(tensors), self.device)

    def contents(self) -> Iterator[bytes | NDArray[Any]]:
        """Read everything once. That costs a pass over all files, or over all samples; the log tells how far it is."""
        chunks = torch.arange(self.num_samples).split(CHUNK)
        read = self._decoded(chunks) if self.content is None else self._given(chunks, self.content)
        for index, content in enumerate(read):
            if index and index % SAMPLES_PER_NEWS == 0:
                log.info("reading samples for the fingerprint", split=self.part, done=index, of=self.num_samples)
            yield content

    def to(self, device: torch.device) -> Self:
        """The same split with batches on another device."""
        return replace(self, labels_N=self.labels_N.to(device))

    def _decoded(self, chunks: Sequence[Tensor]) -> Iterator[bytes | NDArray[Any]]:
        for tensors in self.raw(chunks, None):
            yield from sample_bytes(tensors)

    @staticmethod
    def _given(chunks: Sequence[Tensor], content: Callable[[int], bytes]) -> Iterator[bytes]:
        with ThreadPoolExecutor(FILE_THREADS) as pool:
            for ids in chunks:
                yield from pool.map(content, ids.tolist())


def stream(name: str, splits: Mapping[str, Streamed], *, num_workers: int, augment: bool) -> dict[str, StreamedSplit]:
    """Make splits that share their workers; these start with the first batch.

    Args:
        name: the factory's name for the text of errors.
        splits: what the factory returned.
        num_workers: 0 = samples are read in this process.
        augment: whether training batches are augmented.

    Raises:
        FactoryError: labels or the first sample are not what they must be.
    """
    firsts = {part: read_sample(_filled(one, part, name).samples, 0, name)[0] for part, one in splits.items()}
    labels = {part: _labels(one, part, name) for part, one in splits.items()}
    sources = {
        part: Source(one.samples, one.augmented if augment else None, labels[part].numpy(), layout(firsts[part]))
        for part, one in splits.items()
    }
    workers = Workers(name, sources, num_workers)
    made = {}
    for part, one in splits.items():
        first = _alone({key: tensor.unsqueeze(0) for key, tensor in firsts[part].items()})
        normalization = one.normalization or scaled(first)
        made[part] = StreamedSplit(labels[part], normalization, part, workers, one.content, first)
    return made


def _filled(streamed: Streamed, part: str, name: str) -> Streamed:
    if len(streamed.samples) == 0:
        raise FactoryError(f"dataset {name!r}: its split {part!r} is empty")
    return streamed


def _labels(streamed: Streamed, part: str, name: str) -> Tensor:
    labels_N = torch.as_tensor(streamed.labels)
    if labels_N.dtype != torch.int64 or labels_N.shape != (len(streamed.samples),):
        raise FactoryError(
            f"dataset {name!r}: Streamed.labels of the split {part!r} are {labels_N.dtype} {list(labels_N.shape)}; "
            f"they must be one integer for each of the {len(streamed.samples)} samples"
        )
    return labels_N


def _alone(tensors: Mapping[str, Tensor]) -> Inputs:
    return tensors.get(SINGLE, tensors)
