"""Training losses per epoch, a figure for each term."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from distilljob.report.cast import Cast
from distilljob.report.figures.phases import Value, epoch_keys, epoch_table, plot_epochs, with_epochs
from distilljob.report.picture import Picture
from distilljob.report.run import Run, Student
from distilljob.report.svg import draw
from distilljob.report.words import nats, number
from distilljob_core.measurements import EpochMeasured


@dataclass(frozen=True, slots=True)
class _Term:
    name: str
    axis: str
    value: Value
    caption: str
    title: Callable[[list[Student]], str]


def losses(run: Run, cast: Cast, name: str) -> Iterator[Picture]:
    """Draw each term that the method has."""
    students = with_epochs(run)
    for term in _TERMS if run.has_teacher else _TERMS[:1]:
        if any(_values(student, term.value) for student in students):
            yield _picture(run, cast, term, students, f"{name}-{term.name}")


def _picture(run: Run, cast: Cast, term: _Term, students: list[Student], name: str) -> Picture:
    def paint(axes: Axes) -> None:
        plot_epochs(axes, run, cast, term.value)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel(term.axis)

    title = term.title(students)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Line chart, {term.axis} per epoch. {title}", paint),
        caption=term.caption,
        table=epoch_table(run, term.value, nats),
        keys=epoch_keys(run, cast),
    )


def _values(student: Student, value: Value) -> list[float]:
    """List what can stand on a logarithmic axis."""
    return [shown for epoch in student.of(EpochMeasured) if (shown := value(epoch)) is not None]


def _positive(value: float) -> float | None:
    return value if value > 0 else None


def _divergence(epoch: EpochMeasured) -> float | None:
    return _positive(epoch.divergence) if epoch.stage == "Distill" else None


def _fits_closest(students: list[Student]) -> str:
    ends = {student.name: student.of(EpochMeasured)[-1] for student in students}
    closest = min(ends, key=lambda name: ends[name].cross_entropy)
    value = number(ends[closest].cross_entropy)
    return f"{closest} fits its training set closest: cross-entropy {value} nats after epoch {ends[closest].epoch}"


def _spread(students: list[Student]) -> str:
    ends = {student.name: student.of(EpochMeasured)[-1].loss for student in students}
    (low, least), *rest = sorted(ends.items(), key=lambda end: end[1])
    if not rest:
        return f"{low}'s total loss comes to {number(least)} nats"
    high, most = rest[-1]
    return f"Total losses come to between {number(least)} ({low}) and {number(most)} nats ({high})"


def _follows(students: list[Student]) -> str:
    """Compare the first and the last epoch that had a teacher, over all students."""
    tracks = [track for student in students if (track := _values(student, _divergence))]
    begin, end = (sum(track[at] for track in tracks) / len(tracks) for at in (0, -1))
    verb = "closer to" if end < begin else "no closer to"
    return f"Students come {verb} their teacher: mean divergence {number(begin)} nats at first, {number(end)} at last"


_TERMS = (
    _Term(
        "cross-entropy",
        "cross-entropy, nats (log)",
        lambda epoch: _positive(epoch.cross_entropy),
        "L_C: mean cross-entropy with the labels over an epoch's training samples.",
        _fits_closest,
    ),
    _Term(
        "divergence",
        "KL divergence, nats (log)",
        _divergence,
        "L_KL: mean divergence from the teacher's soft labels; it exists in the Distill phases only.",
        _follows,
    ),
    _Term(
        "loss",
        "total loss, nats (log)",
        lambda epoch: _positive(epoch.loss),
        "L = α L_C + β L_KL, as it was minimized; α falls and β rises over each Distill phase.",
        _spread,
    ),
)
