"""Metrics of single jobs and their students, read from the resource at each scrape: no series outlives its job."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from distilljob_core.lifecycle.hang import limit_seconds
from distilljob_core.lifecycle.model import Cause
from distilljob_core.phases import UNLIMITED_PHASES, StudentPhase
from distilljob_core.spec.policies import FailurePolicy
from distilljob_operator.jobs import JobRecord

_OF_JOB: Final = ("namespace", "distilljob")
_OF_STUDENT: Final = (*_OF_JOB, "student")
_ENDED: Final = frozenset({"Complete", "Failed", "Invalid"})
_OBSERVABLE: Final = {"True": 1.0, "False": 0.0}


def job_metrics(records: Iterable[JobRecord]) -> Iterator[Metric]:
    """Give all families, each with the series of all jobs."""
    families = _families()
    for record in records:
        status = record.body.get("status", {})
        phase = status.get("phase", "Pending")
        families["info"].add_metric([*record.key, record.uid], 1)
        families["phase"].add_metric([*record.key, phase], 1)
        _add_restarts(families, record, status)
        if phase not in _ENDED:
            _add_limits(families, record)
            _add_sight(families, record, status)
    yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        "info": _family("distilljob_job_info", "1 for each DistillJob that there is.", (*_OF_JOB, "uid")),
        "phase": _family("distilljob_job_phase", "1 for the phase of each DistillJob.", (*_OF_JOB, "phase")),
        "restarts": _family(
            "distilljob_student_restarts", "Replaced attempts of each student, by cause.", (*_OF_STUDENT, "reason")
        ),
        "budget": _family(
            "distilljob_student_restart_budget_used_ratio",
            "Share of failurePolicy.maxRestartsPerStudent that is spent; closed cycles refill it.",
            _OF_STUDENT,
        ),
        "limits": _family(
            "distilljob_job_hang_limit_seconds",
            "How long a student may go without a step in each phase, of jobs that have not ended.",
            (*_OF_JOB, "phase"),
        ),
        "observable": _family(
            "distilljob_job_progress_observable",
            "1 while the progress of a job at work can be read, 0 while the operator is blind for it.",
            _OF_JOB,
        ),
    }


def _family(name: str, documentation: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)


def _policy(record: JobRecord) -> FailurePolicy:
    """Read the policy alone, and what is wrong in it as its defaults: such a job is Invalid and never at work."""
    try:
        return FailurePolicy.model_validate(record.body.get("spec", {}).get("failurePolicy", {}))
    except ValueError:
        return FailurePolicy()


def _add_restarts(families: Mapping[str, GaugeMetricFamily], record: JobRecord, status: Mapping[str, Any]) -> None:
    students = status.get("students", ())
    if not students:
        return
    budget = _policy(record).max_restarts_per_student
    spent = _spent(status) if any(row.get("restarts") for row in students) else {}
    for row in students:
        who = [*record.key, row["name"]]
        for cause in Cause:
            families["restarts"].add_metric([*who, cause], row.get("restarts", {}).get(cause, 0))
        families["budget"].add_metric(who, spent.get(row["name"], 0) / max(1, budget))


def _spent(status: Mapping[str, Any]) -> dict[str, int]:
    """Read what is spent of each student's budget from the operator's own memory."""
    students = json.loads(status.get("memory") or "{}").get("students", {})
    return {name: state.get("account", {}).get("spent", 0) for name, state in students.items()}


def _add_limits(families: Mapping[str, GaugeMetricFamily], record: JobRecord) -> None:
    hang = _policy(record).hang
    for phase in StudentPhase:
        if phase not in UNLIMITED_PHASES:
            families["limits"].add_metric([*record.key, phase], limit_seconds(hang, phase))


def _add_sight(families: Mapping[str, GaugeMetricFamily], record: JobRecord, status: Mapping[str, Any]) -> None:
    for condition in status.get("conditions", ()):
        if condition["type"] == "ProgressObservable" and condition["status"] in _OBSERVABLE:
            families["observable"].add_metric([*record.key], _OBSERVABLE[condition["status"]])
