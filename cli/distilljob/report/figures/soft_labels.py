"""One sample through the eyes of a student and its teacher, at t = 1 and at t: the paper's figure 2."""

from collections.abc import Iterator
from typing import Any, Final

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run, Student
from distilljob.report.style import INK, PAPER
from distilljob.report.svg import draw
from distilljob.report.words import number, percent
from distilljob_core.measurements import SoftLabelMeasured

MANY_CLASSES: Final = 10
VISIBLE: Final = 0.01
"""From this probability on, a class counts as seen."""


def soft_labels(run: Run, cast: Cast, name: str) -> Iterator[Picture]:
    """Draw the last cycle's sample for each student that is shown."""
    found = [(student, measured[-1]) for student in cast.stand_ins(run) if (measured := student.of(SoftLabelMeasured))]
    top = max((max(*seen.student_sharp, *seen.teacher_soft) for _, seen in found), default=1.0)
    for student, seen in found:
        look, title = cast.looks[student.name], cast.title(run, student.name)
        yield _picture(student, title, look.color, seen, top, f"{name}-{student.name}")


def _picture(student: Student, who: str, color: str, seen: SoftLabelMeasured, top: float, name: str) -> Picture:
    classes = _most_probable(seen)
    named = [_class_name(student, one) for one in classes]
    temperature = f"t = {number(seen.temperature)}"

    def paint(axes: Axes) -> None:
        rows: tuple[tuple[list[float], float, dict[str, Any]], ...] = (
            (seen.student_sharp, -0.27, {"facecolor": PAPER, "edgecolor": color, "linewidth": 1.2}),
            (seen.student_soft, 0.0, {"facecolor": color, "edgecolor": color, "linewidth": 1.2}),
            (seen.teacher_soft, 0.27, {"facecolor": INK, "edgecolor": INK, "linewidth": 1.2}),
        )
        for values, offset, look in rows:
            axes.bar([at + offset for at in range(len(classes))], [100 * values[one] for one in classes], 0.25, **look)
        axes.set_xticks(range(len(classes)), named, rotation=0 if max(map(len, named)) <= 3 else 45)
        axes.set_xlabel("class")
        axes.set_ylabel("probability, %")
        axes.set_ylim(0, 105 * top)
        axes.grid(False, axis="x")

    sharp, soft = (sum(value >= VISIBLE for value in values) for values in (seen.student_sharp, seen.student_soft))
    title = (
        f"{who} gives at least 1 % to {sharp} of {len(seen.student_soft)} classes at t = 1, to {soft} at {temperature}"
    )
    left_out = len(seen.teacher_soft) - len(classes)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Bar chart of class probabilities for one sample. {title}", paint),
        caption=f"Training sample {seen.sample}, of class {_class_name(student, seen.label)}."
        + (f" The {len(classes)} most probable of {len(seen.teacher_soft)} classes." if left_out else ""),
        table=Table.of(
            ("class", "student, t = 1", f"student, {temperature}", f"teacher, {temperature}"),
            [
                (
                    _class_name(student, one),
                    percent(seen.student_sharp[one]),
                    percent(seen.student_soft[one]),
                    percent(seen.teacher_soft[one]),
                )
                for one in classes
            ],
        ),
        keys=(
            Key("student, t = 1", css(color), kind="outline"),
            Key(f"student, {temperature}", css(color), kind="patch"),
            Key(f"teacher, {temperature}", css(INK), kind="patch"),
        ),
    )


def _most_probable(seen: SoftLabelMeasured) -> list[int]:
    """Pick the classes to show, in their own order."""
    views = zip(seen.student_sharp, seen.student_soft, seen.teacher_soft, strict=False)
    highest = [max(values) for values in views]
    ranked = sorted(range(len(highest)), key=lambda one: (one != seen.label, -highest[one]))
    return sorted(ranked[:MANY_CLASSES])


def _class_name(student: Student, number: int) -> str:
    return student.classes[number] if number < len(student.classes) else str(number)
