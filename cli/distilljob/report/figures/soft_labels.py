"""One sample through the eyes of a student and its teacher, at t = 1 and at t: the paper's figure 2."""

from collections.abc import Iterator
from typing import Final

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run, Student
from distilljob.report.style import INK, PAPER
from distilljob.report.svg import draw
from distilljob.report.words import number, percent, short
from distilljob_core.measurements import SoftLabelMeasured

MANY_CLASSES: Final = 10
VISIBLE: Final = 0.01
"""From this probability on, a class counts as seen."""


def soft_labels(run: Run, cast: Cast, name: str) -> Iterator[Picture]:
    """Draw the last cycle's sample for each student that is shown."""
    found = [(student, seen) for student in cast.stand_ins(run) for seen in student.of(SoftLabelMeasured)[-1:]]
    top = max((max(seen.student_sharp + seen.teacher_soft, default=1.0) for _, seen in found), default=1.0)
    for student, seen in found:
        look, title = cast.looks[student.name], cast.title(run, student.name)
        yield _picture(student, title, look.color, seen, top, f"{name}-{student.name}")


def _picture(student: Student, who: str, color: str, seen: SoftLabelMeasured, top: float, name: str) -> Picture:
    classes = _most_probable(seen)
    temperature = f"t = {number(seen.temperature)}"

    def paint(axes: Axes) -> None:
        _paint_bars(axes, seen, classes, color)
        named = [short(_class_name(student, one)) for one in classes]
        axes.set_xticks(range(len(classes)), named, rotation=0 if max(map(len, named), default=0) <= 3 else 45)
        axes.set_xlabel("class")
        axes.set_ylabel("probability, %")
        axes.set_ylim(0, 105 * top)
        axes.grid(False, axis="x")

    title = _title(who, seen, temperature)
    left_out = len(seen.teacher_soft) - len(classes)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Bar chart of class probabilities for one sample. {title}", paint),
        caption=f"Training sample {seen.sample}, of class {_class_name(student, seen.label)}."
        + (f" The {len(classes)} most probable of {len(seen.teacher_soft)} classes." if left_out else ""),
        table=_table(student, seen, classes, temperature),
        keys=(
            Key("student, t = 1", css(color), kind="outline"),
            Key(f"student, {temperature}", css(color), kind="patch"),
            Key(f"teacher, {temperature}", css(INK), kind="patch"),
        ),
    )


def _paint_bars(axes: Axes, seen: SoftLabelMeasured, classes: list[int], color: str) -> None:
    rows = (
        (seen.student_sharp, -0.27, PAPER, color),
        (seen.student_soft, 0.0, color, color),
        (seen.teacher_soft, 0.27, INK, INK),
    )
    for values, offset, face, edge in rows:
        at = [place + offset for place in range(len(classes))]
        heights = [100 * values[one] for one in classes]
        axes.bar(at, heights, 0.25, facecolor=face, edgecolor=edge, linewidth=1.2)


def _title(who: str, seen: SoftLabelMeasured, temperature: str) -> str:
    sharp, soft = (sum(value >= VISIBLE for value in values) for values in (seen.student_sharp, seen.student_soft))
    num_classes = len(seen.student_soft)
    return f"{who} gives at least 1 % to {sharp} of {num_classes} classes at t = 1, to {soft} at {temperature}"


def _table(student: Student, seen: SoftLabelMeasured, classes: list[int], temperature: str) -> Table:
    views = (seen.student_sharp, seen.student_soft, seen.teacher_soft)
    return Table.of(
        ("class", "student, t = 1", f"student, {temperature}", f"teacher, {temperature}"),
        [(_class_name(student, one), *(percent(view[one]) for view in views)) for one in classes],
    )


def _most_probable(seen: SoftLabelMeasured) -> list[int]:
    """Pick the classes to show, in their own order."""
    views = zip(seen.student_sharp, seen.student_soft, seen.teacher_soft, strict=False)
    highest = [max(values) for values in views]
    ranked = sorted(range(len(highest)), key=lambda one: (one != seen.label, -highest[one]))
    return sorted(ranked[:MANY_CLASSES])


def _class_name(student: Student, number: int) -> str:
    return student.classes[number] if number < len(student.classes) else str(number)
