"""Who is shown how: a student has one color on the whole page; of many students only some have one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from distilljob.report.run import Run, Student
from distilljob.report.style import DASHES, SERIES, Look

MANY: Final = 8
"""With more students than this, a figure shows best, median and worst in color and the others in gray."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The looks of all students of a report, by name."""

    looks: Mapping[str, Look]
    roles: Mapping[tuple[str, str], str]
    """best, median or worst, by run and student; empty where all are shown."""

    def loud(self, run: Run) -> list[Student]:
        """List the students to be drawn in color, in spec order; of many, best to worst."""
        own = {student.name: student for student in run.students}
        return [own[name] for name, look in self.looks.items() if name in own and not look.is_quiet]

    def title(self, run: Run, student: str) -> str:
        """Name a student in a legend."""
        role = self.roles.get((run.label, student))
        return f"{student} ({role})" if role else student

    def stand_ins(self, run: Run) -> list[Student]:
        """List whom figures of one student each are made for."""
        loud = self.loud(run)
        return [student for student in loud if (run.label, student.name) in self.roles] or loud


def cast(runs: Sequence[Run]) -> Cast:
    """Give every student of some runs its look."""
    names = list(dict.fromkeys(student.name for run in runs for student in run.students))
    roles = {(run.label, name): role for run in runs if len(run.students) > MANY for name, role in _roles(run).items()}
    singled_out = list(dict.fromkeys(name for _, name in roles))
    loud = names if len(names) <= MANY else singled_out or names[:MANY]
    looks = {name: _look(index) for index, name in enumerate(loud)}
    looks |= {name: Look("", is_quiet=True) for name in names if name not in looks}
    return Cast(looks, roles)


def _look(index: int) -> Look:
    return Look(SERIES[index % len(SERIES)], DASHES[index % len(DASHES)])


def _roles(run: Run) -> dict[str, str]:
    """Name the best, the median and the worst student by final test accuracy; ties by spec order."""
    ranked = sorted(run.students, key=lambda student: -(student.final_accuracy() or 0.0))
    return {ranked[0].name: "best", ranked[len(ranked) // 2].name: "median", ranked[-1].name: "worst"}
