"""A panel of a dashboard: a title, why one looks at it, queries, a unit; and queries that several panels share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JOB: Final = 'namespace="$namespace",distilljob="$distilljob"'
RATE: Final = "$__rate_interval"

Steps = Sequence[tuple[float | None, str]]
"""From this value on, this color; the first one's value is None."""

GREEN_TO_RED_AT: Final = {
    "budget": ((None, "green"), (0.5, "yellow"), (0.8, "red")),
    "hang": ((None, "green"), (0.5, "yellow"), (0.9, "red")),
    "failed": ((None, "green"), (1, "red")),
    "watch": ((None, "green"), (90, "yellow"), (150, "red")),
    "progress": ((None, "green"), (120, "yellow"), (300, "red")),
    "gain": ((None, "red"), (0, "green")),
    "leading": ((None, "red"), (1, "green")),
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; queries by the legend that Grafana makes of their labels."""

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str
    width: int = 8
    kind: str = "timeseries"
    steps: Steps = ((None, "green"),)
    minimum: float | None = 0
    maximum: float | None = None


def at_work(scope: str) -> str:
    """Students whose newest attempt runs and has joined: what the aggregator says of others is of an earlier one."""
    runs = f"max by (namespace, distilljob, student) (distilljob_student_running_attempt{{{scope}}})"
    joined = f"max by (namespace, distilljob, student) (distilljob_student_attempt{{{scope}}})"
    return f"({runs} == on (namespace, distilljob, student) {joined})"


def silence(scope: str) -> str:
    """Seconds since each student's last step, by the phase that it is in; at the barrier it waits and is not silent."""
    clock = f"max by (namespace, distilljob) (distilljob_clock_timestamp_seconds{{{scope}}})"
    last = f"max by (namespace, distilljob, student) (distilljob_student_last_progress_timestamp_seconds{{{scope}}})"
    comma = "," if scope else ""
    phase = (
        "max by (namespace, distilljob, student, phase) "
        f'(distilljob_student_phase{{{scope}{comma}phase!~"Waiting|Finished|Dropped"}} == 1)'
    )
    age = f"({clock} - on (namespace, distilljob) group_right () {last})"
    return f"{phase} * on (namespace, distilljob, student) group_left () {age}"


def hang_share(scope: str) -> str:
    """How much of its limit each student at work has been silent for."""
    limit = f"max by (namespace, distilljob, phase) (distilljob_job_hang_limit_seconds{{{scope}}})"
    share = f"({silence(scope)}) / on (namespace, distilljob, phase) group_left () {limit}"
    of_students = f"max by (namespace, distilljob, student) ({share})"
    return f"{of_students} and on (namespace, distilljob, student) {at_work(scope)}"


def quantile(share: float, histogram: str, window: str = RATE) -> str:
    """A quantile of a histogram over all of its series."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket[{window}])))"


def share_of_steps(part: str) -> str:
    """How much of each student's steps is spent on a part of them."""
    spent, steps = f"{part}_sum{{{JOB}}}", f"distilljob_trainer_step_seconds_sum{{{JOB}}}"
    return f"sum by (student) (rate({spent}[{RATE}])) / sum by (student) (rate({steps}[{RATE}]))"
