"""Metrics of single jobs and their students, read from the resource at each scrape: no series outlives its job."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from distilljob_core.conditions import ConditionType, Reason
from distilljob_core.lifecycle.hang import limit_seconds
from distilljob_core.lifecycle.model import Cause
from distilljob_core.phases import UNLIMITED_PHASES, StudentPhase
from distilljob_core.spec.policies import FailurePolicy
from distilljob_operator.jobs import JobRecord

_OF_JOB: Final = ("namespace", "distilljob")
_OF_STUDENT: Final = (*_OF_JOB, "student")
_ENDED: Final = frozenset({"Complete", "Failed", "Invalid"})
_OVER: Final = frozenset({StudentPhase.FINISHED, StudentPhase.DROPPED})
_BLIND: Final = frozenset({Reason.METRICS_UNAVAILABLE, Reason.METRICS_STALE})

Attempts = Collection[tuple[str, int]]
"""Students and the numbers of their attempts."""


def job_metrics(records: Iterable[JobRecord], running: Callable[[JobRecord], Attempts]) -> Iterator[Metric]:
    """Give all families, each with the series of all jobs; `running` names the attempts whose pods run."""
    families = _families()
    for record in records:
        status = record.body.get("status", {})
        phase = status.get("phase", "Pending")
        families["info"].add_metric([*record.key, record.uid], 1)
        families["phase"].add_metric([*record.key, phase], 1)
        _add_restarts(families, record, status)
        if phase not in _ENDED:
            _add_budgets(families, record, status)
            _add_running(families, record, status, running(record))
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
            "Share that is spent of the student's budget, of its hangs' or of the job's, whichever is the largest; of "
            "students that still have something to do.",
            _OF_STUDENT,
        ),
        "running": _family(
            "distilljob_student_running_attempt",
            "The attempt whose pod runs; 0 while it has none: in back-off, pending, waiting for its turn.",
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
    for row in status.get("students", ()):
        for cause in Cause:
            count = row.get("restarts", {}).get(cause, 0)
            families["restarts"].add_metric([*record.key, row["name"], cause], count)


def _add_budgets(families: Mapping[str, GaugeMetricFamily], record: JobRecord, status: Mapping[str, Any]) -> None:
    """Add the budget of each student that is nearest to its end; nobody has spent anything before the first restart."""
    students = status.get("students", ())
    policy = _policy(record)
    accounts = _accounts(status) if any(row.get("restarts") for row in students) else {}
    of_job = _share(sum(account.get("charged", 0) for account in accounts.values()), policy.max_restarts)
    for row in students:
        if row.get("phase") in _OVER:
            continue
        account = accounts.get(row["name"], {})
        own = _share(account.get("spent", 0), policy.max_restarts_per_student)
        hangs = _share(account.get("spent_hangs", 0), policy.hang.max_restarts_per_student)
        families["budget"].add_metric([*record.key, row["name"]], max(own, hangs, of_job))


def _accounts(status: Mapping[str, Any]) -> dict[str, Mapping[str, int]]:
    """Read what each student has used up from the operator's own memory."""
    students = json.loads(status.get("memory") or "{}").get("students", {})
    return {name: state.get("account", {}) for name, state in students.items()}


def _share(spent: int, budget: int) -> float:
    """Give what is spent of a budget; who allows no restart at all has nothing to watch run out."""
    return min(1.0, spent / budget) if budget else 0.0


def _add_running(
    families: Mapping[str, GaugeMetricFamily], record: JobRecord, status: Mapping[str, Any], running: Attempts
) -> None:
    for row in status.get("students", ()):
        attempt = row.get("attempt", 0)
        value = attempt if (row["name"], attempt) in running else 0
        families["running"].add_metric([*record.key, row["name"]], value)


def _add_limits(families: Mapping[str, GaugeMetricFamily], record: JobRecord) -> None:
    hang = _policy(record).hang
    for phase in StudentPhase:
        if phase not in UNLIMITED_PHASES:
            families["limits"].add_metric([*record.key, phase], limit_seconds(hang, phase))


def _add_sight(families: Mapping[str, GaugeMetricFamily], record: JobRecord, status: Mapping[str, Any]) -> None:
    """Say whether the operator sees; nothing where there is nothing to be seen, as while a job is suspended."""
    for condition in status.get("conditions", ()):
        if condition["type"] != ConditionType.PROGRESS_OBSERVABLE:
            continue
        if condition["status"] == "True" or condition.get("reason") in _BLIND:
            families["observable"].add_metric([*record.key], condition["status"] == "True")
