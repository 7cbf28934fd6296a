"""What an operator remembers between two looks at a job's pods, on its own clock. Pure.

None of it need survive the operator: a new one sees everything for the first time, and times nothing from before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from distilljob_operator.children import JobChildren, PodChild

DELETION_SLACK_SECONDS: Final = 2.0
"""How much clocks of nodes and API server may differ where nothing better than their timestamps is known."""


@dataclass(frozen=True, slots=True)
class PodSighting:
    """One pod of an attempt."""

    uid: str
    student: str
    attempt: int
    running_seconds: float | None = None
    """When it was first seen to run."""
    deleting_seconds: float | None = None
    """When it was first seen to be asked to go, while it had not ended."""
    over_seconds: float | None = None
    """When it was first seen to have ended, or else first missed."""
    is_disrupted: bool = False
    was_deleted: bool = False
    """Its deletion was asked for before it ended."""


@dataclass(frozen=True, slots=True)
class AggregatorSighting:
    """The newest run of the aggregator's container."""

    pod_uid: str
    num_restarts: int
    running_seconds: float


@dataclass(frozen=True, slots=True)
class Sightings:
    """All that is remembered of one job's children."""

    pods: Mapping[str, PodSighting] = field(default_factory=dict)
    """Those that are there, by UID."""
    gone: tuple[PodSighting, ...] = ()
    """Those that are there no more; until their student has a newer attempt."""
    podless_seconds: Mapping[tuple[str, bool], float] = field(default_factory=dict)
    """Since when a Job has been seen without a pod, by its UID and whether it is over."""
    aggregator: AggregatorSighting | None = None


def sight(children: JobChildren, before: Sightings, now_seconds: float) -> Sightings:
    """Bring what is remembered up to what is there now."""
    there = {pod.uid: _sight_pod(pod, before.pods.get(pod.uid), now_seconds) for pod in children.student_pods()}
    newest = _newest_attempts(children)
    missed = (_missed(sighting, now_seconds) for uid, sighting in before.pods.items() if uid not in there)
    gone = chain((sighting for sighting in before.gone if sighting.uid not in there), missed)
    with_pod = {pod.owner_uid for pod in children.student_pods()}
    podless = {
        (job.uid, job.is_over): before.podless_seconds.get((job.uid, job.is_over), now_seconds)
        for job in children.jobs
        if job.uid not in with_pod
    }
    current = tuple(sighting for sighting in gone if sighting.attempt >= newest.get(sighting.student, 0))
    return Sightings(there, current, podless, _sight_aggregator(children, before.aggregator, now_seconds))


def _newest_attempts(children: JobChildren) -> dict[str, int]:
    newest: dict[str, int] = {}
    for child in (*children.jobs, *children.student_pods()):
        newest[child.student] = max(child.attempt, newest.get(child.student, 0))
    return newest


def _sight_pod(pod: PodChild, before: PodSighting | None, now_seconds: float) -> PodSighting:
    sighting = before or PodSighting(pod.uid, pod.student, pod.attempt)
    sighting = replace(sighting, is_disrupted=sighting.is_disrupted or bool(pod.disruption))
    if pod.has_ended:
        if sighting.over_seconds is not None:
            return sighting
        # Between two looks a pod may have been both asked to go and gone.
        was_deleted = sighting.was_deleted or _ended_after_deletion(pod)
        return replace(sighting, over_seconds=now_seconds, was_deleted=was_deleted)
    return replace(
        sighting,
        running_seconds=_first(sighting.running_seconds, pod.phase == "Running", now_seconds),
        deleting_seconds=_first(sighting.deleting_seconds, pod.is_deleting, now_seconds),
        was_deleted=sighting.was_deleted or pod.is_deleting,
    )


def _first(before_seconds: float | None, holds: bool, now_seconds: float) -> float | None:
    return now_seconds if before_seconds is None and holds else before_seconds


def _ended_after_deletion(pod: PodChild) -> bool:
    """Tell by timestamps, where nobody watched, whether a pod's deletion came before its end."""
    asked, ended = pod.deletion_asked_seconds, pod.end.finished_seconds if pod.end else None
    if asked is None:
        return False
    return ended is None or ended >= asked - DELETION_SLACK_SECONDS


def _missed(sighting: PodSighting, now_seconds: float) -> PodSighting:
    return replace(sighting, over_seconds=_first(sighting.over_seconds, True, now_seconds))


def _sight_aggregator(
    children: JobChildren, before: AggregatorSighting | None, now_seconds: float
) -> AggregatorSighting | None:
    pod = children.aggregator_pod
    if pod is None or pod.phase != "Running":
        return before
    if before and (before.pod_uid, before.num_restarts) == (pod.uid, pod.num_restarts):
        return before
    return AggregatorSighting(pod.uid, pod.num_restarts, now_seconds)
