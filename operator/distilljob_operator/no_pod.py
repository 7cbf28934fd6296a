"""Why a Job makes no pod: the Job controller says it in an Event, and nowhere else."""

from typing import Any, Final

from distilljob_operator.api import Api
from distilljob_operator.children import JobChild

FAILED_CREATE: Final = "FailedCreate"
UNTOLD: Final = "the Job makes no pod, and has no event that says why"


async def no_pod_message(api: Api, job: JobChild) -> str:
    """Give the newest word of the Job controller on a Job, as it is: quota, pod security, an admission webhook."""
    selector = f"involvedObject.uid={job.uid},reason={FAILED_CREATE}"
    found = await api.get(f"/api/v1/namespaces/{job.namespace}/events", fieldSelector=selector)
    events: list[dict[str, Any]] = found["items"]
    newest = max(events, key=lambda event: event.get("lastTimestamp") or "", default={})
    return newest.get("message") or UNTOLD
