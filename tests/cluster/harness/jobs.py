"""DistillJobs for tests: small, without TLS, and fast to give up."""

from typing import Any

from rig.api import DISTILLJOBS, Api, Object

STORAGE = {"storage": {"size": "1Gi"}}


def distilljob(name: str, *students: str, **spec: Any) -> Object:
    """Make one; what is given replaces whole blocks of the spec."""
    networks = [{"name": student, "model": {"name": "mlp_small"}, "gpus": 1} for student in students or ("a", "b")]
    whole = {
        "dataset": {"name": "digits"},
        "method": {"cycles": 1, "independentEpochs": 1, "distillEpochs": 1},
        "students": networks,
        "aggregator": STORAGE,
        "checkpoints": STORAGE,
        "results": STORAGE,
        "security": {"tls": "Disabled"},
    }
    return {
        "apiVersion": "distilljob.dev/v1alpha1",
        "kind": "DistillJob",
        "metadata": {"name": name},
        "spec": whole | spec,
    }


def condition(job: Object, kind: str) -> tuple[str, str, str]:
    """Give status, reason and message of one condition; empty while it is not there."""
    found = [one for one in job.get("status", {}).get("conditions", []) if one["type"] == kind]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")


def student(job: Object, name: str) -> Object:
    """Give a student's row of the status; empty while there is none."""
    return next((row for row in job.get("status", {}).get("students", []) if row["name"] == name), {})


async def until_job(api: Api, namespace: str, name: str, holds: Any, limit_seconds: float = 60.0) -> Object:
    """Wait until something holds of a DistillJob; the job as it is then."""
    found = await api.until(
        DISTILLJOBS, lambda jobs: jobs and holds(jobs[0]), namespace, name=name, limit_seconds=limit_seconds
    )
    return found[0]
