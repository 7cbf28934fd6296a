"""Wishes for restarts, as annotations of a DistillJob: one for each student, naming the attempt that is to be over.

They are levels, not edges: once a later attempt is there, the wish has come true and means nothing any more. They name
the job's UID too, so that a manifest that is copied and applied anew brings no old wishes along.
"""

from collections.abc import Mapping
from typing import Any

from distilljob_core.names import ANNOTATION_RESTART


def restart_wish(student: str, job_uid: str, attempt: int) -> dict[str, str]:
    """Write the wish that this attempt be over, and the next one come."""
    return {f"{ANNOTATION_RESTART}{student}": f"{job_uid}/{attempt}"}


def read_restart_wishes(annotations: Mapping[str, Any], job_uid: str) -> dict[str, int]:
    """Read the wishes for this very job: the newest unwanted attempt by student."""
    found = {}
    for name, value in annotations.items():
        uid, _, attempt = str(value).rpartition("/")
        if name.startswith(ANNOTATION_RESTART) and uid == job_uid and attempt.isascii() and attempt.isdecimal():
            found[name.removeprefix(ANNOTATION_RESTART)] = int(attempt)
    return found
