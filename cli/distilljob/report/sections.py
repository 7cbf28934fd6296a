"""Which figures stand under which heading."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from distilljob.report.cast import Cast
from distilljob.report.figures.accuracy import accuracy
from distilljob.report.figures.calibration import calibration
from distilljob.report.figures.gain import gain
from distilljob.report.figures.logits import logits
from distilljob.report.figures.losses import losses
from distilljob.report.figures.soft_labels import soft_labels
from distilljob.report.figures.time_split import time_split
from distilljob.report.figures.timeline import timeline
from distilljob.report.picture import Picture
from distilljob.report.run import Run


@dataclass(frozen=True, slots=True)
class Section:
    """One heading with its figures, each with the run that it shows."""

    name: str
    title: str
    about: str
    rows: tuple[tuple[tuple[str, Picture], ...], ...]
    """One row for a single run; of several, one for each figure, so that its runs stand side by side."""


@dataclass(frozen=True, slots=True)
class _Heading:
    name: str
    title: str
    about: str
    draw: Callable[[Run, Cast, str], Iterator[Picture | None]]


def sections(runs: Sequence[Run], cast: Cast) -> list[Section]:
    """Draw everything, run by run under each heading."""
    return [_section(runs, cast, heading) for heading in _HEADINGS]


def _section(runs: Sequence[Run], cast: Cast, heading: _Heading) -> Section:
    rows: dict[str, list[tuple[str, Picture]]] = {}
    for index, run in enumerate(runs):
        prefix = f"{heading.name}-{index}"
        for picture in heading.draw(run, cast, prefix):
            if picture is not None:
                slot = picture.name.removeprefix(prefix) if len(runs) > 1 else ""
                rows.setdefault(slot, []).append((run.label, picture))
    return Section(heading.name, heading.title, heading.about, tuple(map(tuple, rows.values())))


def _learning(run: Run, cast: Cast, name: str) -> Iterator[Picture | None]:
    yield accuracy(run, cast, f"{name}-curve")
    yield gain(run, f"{name}-gain")


def _labels(run: Run, cast: Cast, name: str) -> Iterator[Picture | None]:
    yield from soft_labels(run, cast, name)
    yield logits(run, cast, f"{name}--logits")  # no student is called -logits


def _time(run: Run, cast: Cast, name: str) -> Iterator[Picture | None]:
    yield time_split(run, cast, f"{name}-split")
    yield timeline(run, cast, f"{name}-line")


_HEADINGS: Final = (
    _Heading("accuracy", "Accuracy and teacher", "", _learning),
    _Heading("losses", "Losses", "Means over an epoch's training samples.", losses),
    _Heading(
        "calibration",
        "Calibration",
        "On the test set, after the last epoch: how often a predictor is right when it says how sure it is. On the "
        "diagonal confidence is earned; below it the predictor is too sure.",
        calibration,
    ),
    _Heading(
        "labels",
        "Soft labels and logits",
        "One sample of the hold-out as students and teacher see it: the one that the last cycle's teacher is least "
        "sure of.",
        _labels,
    ),
    _Heading("time", "Time and faults", "", _time),
)
