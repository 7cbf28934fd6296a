"""DistillJobs as an API server gives them."""

from collections.abc import Callable
from typing import Any

import pytest

Body = dict[str, Any]
STARTED = "2026-01-02T03:00:00Z"


@pytest.fixture
def make_body() -> Callable[..., Body]:
    """Make the resource of a job with the students mlp and cnn; keywords are fields of its status."""

    def make(*, spec: Body | None = None, **status: Any) -> Body:
        students = [{"name": name, "gpus": 0, "model": {"name": "mlp_small"}} for name in ("mlp", "cnn")]
        metadata = {"name": "tiny", "namespace": "here", "uid": "u-1", "creationTimestamp": STARTED}
        base = {"dataset": {"name": "digits"}, "method": {"cycles": 4}, "students": students, **(spec or {})}
        body: Body = {"apiVersion": "distilljob.dev/v1alpha1", "kind": "DistillJob", "metadata": metadata, "spec": base}
        return body | ({"status": status} if status else {})

    return make


@pytest.fixture
def condition() -> Callable[..., Body]:
    """Make a condition."""

    def make(type_: str, status: str, reason: str = "Because", message: str = "", time: str = STARTED) -> Body:
        return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time}

    return make
