"""What the operator has told about a job: its Events in Kubernetes, as lines like those of a local run."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from distilljob.cluster.access import Cluster
from distilljob.run_directory.events import RunEvent
from distilljob_operator.errors import ApiError


async def read_events(cluster: Cluster, uid: str) -> list[RunEvent]:
    """Read a job's events, oldest first; none where that is not allowed: the status says what matters."""
    try:
        page = await cluster.api.get(cluster.core("events"), fieldSelector=f"involvedObject.uid={uid}")
    except ApiError:
        return []
    return sorted(map(_event, page["items"]), key=lambda event: event.timestamp_seconds)


def _event(body: Mapping[str, Any]) -> RunEvent:
    stamp = body.get("lastTimestamp") or body.get("eventTime") or body["metadata"]["creationTimestamp"]
    return RunEvent(
        timestamp_seconds=datetime.fromisoformat(stamp).timestamp(),
        reason=body.get("reason", ""),
        message=body.get("message", ""),
        warning=body.get("type") == "Warning",
    )
