"""The Python door: the same as `distilljob run` and `submit`, with a value in place of what they print."""

import json
import os
import signal
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import Field
from rich.console import Console

from distilljob.cluster.place import Place
from distilljob.cluster.submission import Submission
from distilljob.console import Output
from distilljob.errors import BadInput, MissingPart, NotFound, Stopped
from distilljob.job_file import JobFile, read_job, read_mapping
from distilljob.local.outcome import result_table
from distilljob.local.picture import Picture
from distilljob.local.run import run_folder, run_job
from distilljob.local.settings import Device
from distilljob.local.view import PlainView
from distilljob.run_directory.find import find_run
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.result import LocalResult, read_result
from distilljob_core.artifacts import ENSEMBLE_FILE, last_weights_file, selected_weights_file
from distilljob_core.measurements import EpochMeasured, read_merged_measurements
from distilljob_core.spec.base import dump
from distilljob_core.spec.job import DistillJob

if TYPE_CHECKING:
    import pandas
    from torch import nn

AnyPath = str | os.PathLike[str]

_UNCHANGED: Final[Mapping[str, Any]] = MappingProxyType({})


class Result(LocalResult):
    """What a finished run measured, and where it is.

    Every key of result.json is an attribute in Python's spelling: `result.best`, `result.verdict`,
    `result.students[0].accuracy.last`, `result.ensemble.accuracy`, `result.teacher_gain`. `print(result)` shows the
    table that the command shows.
    """

    folder: Path = Field(exclude=True)
    """The run directory, absolute."""

    def weights(self, student: str, *, selected: bool = False) -> Path:
        """Name the file of a student's weights, for `load`.

        Args:
            student: for example `result.best`.
            selected: of the epoch that was best on the hold-out, in place of the last one.

        Raises:
            NotFound: the run has no such student, or its file is gone.
        """
        names = [result.name for result in self.students]
        if student not in names:
            raise NotFound(f"{self.folder} has no student {student!r}; its students are {', '.join(names)}")
        return self._published(selected_weights_file(student) if selected else last_weights_file(student))

    @property
    def ensemble_file(self) -> Path:
        """The ensemble of the last round, for `load`.

        Raises:
            NotFound: the run has none.
        """
        return self._published(ENSEMBLE_FILE)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Give the curves in tidy form: one row an epoch and student, students in the order of the job.

        Columns: run (the folder's name), student, model, cycle, stage (Independent or Distill), epoch (from 1, over all
        cycles), step, learning_rate, loss, cross_entropy, divergence (nats, on training samples), holdout_accuracy,
        test_accuracy, test_cross_entropy, timestamp_seconds.

        Raises:
            MissingPart: pandas is not installed.
            NotFound: metrics.jsonl is gone.
        """
        _check_installed("to_dataframe", "pandas", "notebook")
        import pandas

        path = RunFolder(self.folder).metrics
        if not path.exists():
            raise NotFound(f"{path}: no such file")
        known, unreadable = read_merged_measurements(path.read_bytes())
        if unreadable:
            warnings.warn(f"{path}: {len(unreadable)} lines are damaged and left out", stacklevel=2)
        rows = [
            {"run": self.folder.name, "student": student.name, "model": student.model}
            | measured.model_dump(exclude={"kind", "timestamp_seconds"})
            | {"timestamp_seconds": measured.timestamp_seconds}
            for student in self.students
            for measured in known.get(student.name, [])
            if isinstance(measured, EpochMeasured)
        ]
        return pandas.DataFrame(rows)

    def _published(self, name: str) -> Path:
        path = RunFolder(self.folder).results / name
        if not path.exists():
            raise NotFound(f"{path}: no such file")
        return path

    def __repr__(self) -> str:
        return f"<distilljob.Result of {self.name} in {self.folder}: best student {self.best}>"

    def __str__(self) -> str:
        plain = Console(file=StringIO(), width=100, color_system=None, force_jupyter=False)
        with plain.capture() as shown:
            plain.print(result_table(self, RunFolder(self.folder)))
        return "\n".join(line.rstrip() for line in shown.get().splitlines())


class _Events(PlainView):
    """A line when something happens, and none for every epoch: a notebook keeps what is printed."""

    def show(self, picture: Picture) -> None:
        """Leave the curves to `to_dataframe`, and the sight of them to `distilljob top`."""


def run(
    job: AnyPath | Mapping[str, Any] | DistillJob,
    output: AnyPath | None = None,
    *,
    set: Mapping[str, Any] = _UNCHANGED,  # noqa: A002 - the command's own word
    data: AnyPath | None = None,
    device: Device | None = None,
    fresh: bool = False,
) -> Result:
    """Run a job on this machine, or go on with it: the same processes and run directory as `distilljob run`.

    A finished run gives its result at once. Ctrl-C, or a notebook's stop button, saves, stops and raises
    KeyboardInterrupt; the same call goes on. In another thread than the main one nothing can interrupt it. Standard
    output gets one plain line for each event: starts, restarts, closed cycles.

    Args:
        job: a file, the whole resource as a mapping, or a model of it.
        output: the run directory; by default runs/NAME.
        set: fields to change, such as {"method.cycles": 2, "students[vgg].gpus": 0}.
        data: the folder that stands for /data; by default DISTILLJOB_DATA_DIR, or ./data.
        device: auto, cpu or cuda; by default as the run began, or auto.
        fresh: remove the run that is in `output` and begin again.

    Raises:
        BadInput: the job, an argument or the run directory is wrong; `problems` has every one. Nothing was started.
        NotFound: there is no such file.
        MissingPart: the trainer or the aggregator is not installed.
        JobFailed: the job ended without a result; `reason`, `log`, `lines` and `fix` say why and what to change.
        distilljob.errors.CommandError: the root of these; by itself it says that the disk is full.
    """
    if device is not None and device not in get_args(Device):
        raise BadInput(f"device is {device!r}; choose one of {', '.join(get_args(Device))}")
    given = _read(job, [_setting(path, value) for path, value in set.items()])
    folder = None if output is None else _path(output)
    told = Output(color_system=None, emoji=False, force_jupyter=False)
    try:
        result = run_job(
            given,
            folder,
            fresh=fresh,
            data=_path(data or os.environ.get("DISTILLJOB_DATA_DIR") or "data"),
            device=device,
            told=told,
            open_view=_Events,
        )
    except Stopped as stopped:
        told.print("stopped, everything is saved; the same call goes on from here")
        # For whoever listened before: Python raises KeyboardInterrupt for SIGINT and ends for SIGTERM.
        signal.raise_signal(stopped.signal_number)
        raise KeyboardInterrupt from None
    return _result(result, run_folder(given, folder))


def read(folder: AnyPath) -> Result:
    """Read the result of a finished run, wherever it was made.

    Raises:
        NotFound: there is no finished run in this folder.
        BadInput: its result is damaged.
    """
    found = find_run(_path(folder))
    try:
        return _result(read_result(found), found)
    except FileNotFoundError:
        raise NotFound(f"{found.root}: this run has not finished; run its job again, and it goes on") from None


def submit(
    job: AnyPath | Mapping[str, Any] | DistillJob, namespace: str | None = None, context: str | None = None
) -> Submission:
    """Give a job to a cluster, as `distilljob submit` does: the same one again changes nothing.

    Args:
        job: a file, the whole resource as a mapping, or a model of it.
        namespace: where; by default what the resource says, or the kubeconfig's context.
        context: of the kubeconfig; by default the current one.

    Raises:
        BadInput: the job is wrong, or would change what can no longer change; `problems` has every one.
        NotFound: there is no such file or namespace, or distilljob is not installed in that cluster.
        MissingPart: the Kubernetes client is not installed.
        distilljob.errors.CommandError: the cluster refuses, or does not answer.
    """
    given = _read(job, [])
    from distilljob.cluster import submit as cluster

    with ThreadPoolExecutor(1) as beside:  # a notebook has an event loop of its own in this thread
        return beside.submit(cluster.submit, given, Place(namespace, context)).result()


def load(path: AnyPath) -> "nn.Module":
    """Load a student, which gives logits, or an ensemble, which gives probabilities.

    The network is in evaluation mode and on the CPU. It wants inputs as the student's JSON file describes them.

    Args:
        path: a student's .safetensors file or ensemble.json, as `Result.weights` and `Result.ensemble_file` name them.

    Raises:
        NotFound: there is no such file.
        BadInput: it is a folder.
        MissingPart: torch is not installed.
        distilljob_core.errors.DataError: the file, or one that it needs, is damaged or missing.
        distilljob_core.errors.FactoryError: the model's own factory cannot be imported here.
    """
    path = _path(path)
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name results/STUDENT.safetensors or results/{ENSEMBLE_FILE} in it")
    if not path.exists():
        raise NotFound(f"{path}: no such file")
    _check_installed("load", "torch", "trainer")
    from distilljob_trainer import export

    return export.load(path)


def _read(job: AnyPath | Mapping[str, Any] | DistillJob, settings: list[str]) -> JobFile:
    if isinstance(job, DistillJob):
        return read_mapping(dump(job), settings)
    return read_mapping(job, settings) if isinstance(job, Mapping) else read_job(_path(job), settings)


def _setting(path: str, value: Any) -> str:
    """Write one change as the command line takes it; JSON is YAML."""
    try:
        return f"{path}={json.dumps(value, ensure_ascii=False, allow_nan=False)}"
    except (TypeError, ValueError) as error:
        raise BadInput(f"set {path}: the value is more than JSON can say: {error}") from None


def _result(result: LocalResult, folder: RunFolder) -> Result:
    return Result(**dict(result), folder=folder.root)


def _path(path: AnyPath) -> Path:
    return Path(path).expanduser()


def _check_installed(what: str, module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise MissingPart(f"{what} needs {module}: pip install 'distilljob[{extra}]'")
