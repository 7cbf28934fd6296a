"""What of a job's children is of no more use to anybody: old attempts, and what an ended job lets go of. Pure."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from distilljob_core.exit_codes import ExitCode
from distilljob_core.lifecycle.model import Decision, JobState, Standing
from distilljob_core.spec.job import DistillJobSpec
from distilljob_operator.children import CLAIMS, DEPLOYMENTS, JOBS, OTHERS, Child, JobChild, JobChildren, Kind

KEPT_ATTEMPTS: Final = 3
"""Ended attempts of each student that stay, newest first, with their logs."""


def clear(children: JobChildren, spec: DistillJobSpec, decision: Decision) -> Iterator[tuple[Kind[Any], Child]]:
    """Find what can go."""
    found: list[tuple[Kind[Any], Child]] = [(JOBS, job) for job in _old_attempts(children, decision.state)]
    has_ended = decision.state.outcome is not None
    if not decision.aggregator_wanted and not (has_ended and spec.cleanup_policy == "Nothing"):
        found += [(DEPLOYMENTS, deployment) for deployment in children.deployments]
    if has_ended and spec.cleanup_policy == "All" and not children.deployments and not _lives(children):
        found += [(kind, other) for kind in OTHERS if kind is not CLAIMS for other in children.others_of(kind)]
    return ((kind, child) for kind, child in found if not child.is_deleting)


def _old_attempts(children: JobChildren, state: JobState) -> Iterator[JobChild]:
    """Find Jobs of judged attempts: all that left only to come back, and all but the newest of the others."""
    judged = [job for job in children.jobs if _is_judged(job, state) and not _lives(children, job)]
    judged.sort(key=lambda job: (job.student, -job.attempt))
    for _, jobs in groupby(judged, key=lambda job: job.student):
        num_kept = 0
        for job in jobs:
            if num_kept == KEPT_ATTEMPTS or _exit_code(children, job) == ExitCode.PARKED:
                yield job
            else:
                num_kept += 1


def _is_judged(job: JobChild, state: JobState) -> bool:
    student = state.students.get(job.student)
    if student is None:
        return False
    return job.attempt < student.attempt or (job.attempt == student.attempt and student.standing is not Standing.LIVE)


def _lives(children: JobChildren, job: JobChild | None = None) -> bool:
    """Whether a pod is left that may still do something, of one attempt or of any."""
    return any(not pod.has_ended and (job is None or pod.owner_uid == job.uid) for pod in children.pods)


def _exit_code(children: JobChildren, job: JobChild) -> int | None:
    ends = (pod.end.exit_code for pod in children.pods if pod.owner_uid == job.uid and pod.end is not None)
    return next(ends, None)
