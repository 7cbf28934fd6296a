"""A run directory holds one job: what may change from one start to the next, and what makes it another job."""

import json

from distilljob_core.spec.base import Problem
from distilljob_core.spec.frozen import Stage, frozen_changes
from distilljob_core.spec.job import DistillJob


def differences(before: DistillJob, now: DistillJob) -> list[Problem]:
    """Name every frozen field in which two jobs differ, defaults counted."""
    changes = [*frozen_changes(before.spec, now.spec, Stage.STARTED)]
    if before.metadata.name != now.metadata.name:
        values = f"is {json.dumps(now.metadata.name)}, was {json.dumps(before.metadata.name)}"
        changes.insert(0, Problem("metadata.name", "", values))
    return [Problem(change.path, f"{change.hint} when the run began") for change in changes]
