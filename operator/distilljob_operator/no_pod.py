"""Why a Job makes no pod: the Job controller says it in an Event, and nowhere else."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from distilljob_operator.api import Api
from distilljob_operator.children import JobChild

FAILED_CREATE: Final = "FailedCreate"
AGAIN_SECONDS: Final = 30.0
"""The controller's word may come later than the question: a busy one is slow, and one that is blocked seldom tries."""


@dataclass(slots=True)
class Reasons:
    """What is known of the Jobs of one DistillJob that make no pod, by their UID."""

    messages: dict[str, str] = field(default_factory=dict)
    again_seconds: dict[str, float] = field(default_factory=dict)
    """When to ask again, of those that had no event."""

    def next_question(self, jobs: Iterable[JobChild], now_seconds: float) -> tuple[float, JobChild] | None:
        """Tell when to ask about which of these Jobs; None = there is a word on every one."""
        untold = [(self.again_seconds.get(job.uid, now_seconds), job) for job in jobs if job.uid not in self.messages]
        return min(untold, key=lambda question: question[0], default=None)

    def take(self, job: JobChild, message: str | None, now_seconds: float) -> None:
        """Keep the answer on a Job; None = there was none."""
        if message is None:
            self.again_seconds[job.uid] = now_seconds + AGAIN_SECONDS
        else:
            self.messages[job.uid] = message


async def no_pod_message(api: Api, job: JobChild) -> str | None:
    """Give the newest word of the Job controller on a Job, as it is: quota, pod security, an admission webhook."""
    selector = f"involvedObject.uid={job.uid},reason={FAILED_CREATE}"
    found = await api.get(f"/api/v1/namespaces/{job.namespace}/events", fieldSelector=selector)
    events: list[dict[str, Any]] = found["items"]
    newest = max(events, key=lambda event: event.get("lastTimestamp") or "", default={})
    return newest.get("message") or None
