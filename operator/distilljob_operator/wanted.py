"""What a DistillJob asks for: its spec, checked; and once it has started, never more than may still be changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distilljob_core import names
from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import JobState
from distilljob_core.spec.frozen import LASTING_WISH, WISHES, Stage, frozen_changes
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import check_job
from distilljob_operator.api import Api
from distilljob_operator.children import CONFIG_MAPS
from distilljob_operator.errors import NotFound
from distilljob_operator.valid import validate_body


@dataclass(frozen=True, slots=True)
class Wanted:
    """One generation of a spec, read."""

    generation: int
    job: DistillJob | None
    """What is carried out; None where nothing can be."""
    valid: Condition
    """Whether that is what the resource says."""


async def read_wanted(
    body: Mapping[str, Any], before: Wanted | None, state: JobState, api: Api, now_seconds: float
) -> Wanted:
    """Read what is asked for, once for each generation.

    A job that has started goes on with what it started with, whatever has been done to its spec: the API server refuses
    such changes, but the CRD may be old.

    Args:
        body: the resource.
        before: what was asked for at the last look; None at the first one.
        state: says how far the job is.
        api: has the snapshot of the spec, for a spec that changed while nobody looked.
        now_seconds: the operator's clock.
    """
    generation = int(body["metadata"].get("generation", 1))
    if before is not None and before.generation == generation:
        return before
    job, valid = validate_body(body, now_seconds)
    wanted = Wanted(generation, job, valid)
    if state.started_seconds is None or (before is None and _was_observed(body, generation)):
        return wanted
    if before is not None:
        begun, stage = before.job, stage_of(state)
    else:  # the snapshot does not know how pods were changed since
        begun, stage = await _snapshot(body, api), Stage.SUSPENDED
    return wanted if begun is None else _held_to(begun, wanted, stage, now_seconds)


def stage_of(state: JobState) -> Stage:
    """Tell how far a started job is."""
    if state.outcome is not None:
        return Stage.ENDED
    holds = {condition.type for condition in state.conditions if condition.status == "True"}
    return Stage.SUSPENDED if ConditionType.SUSPENDED in holds else Stage.STARTED


def _held_to(begun: DistillJob, wanted: Wanted, stage: Stage, now_seconds: float) -> Wanted:
    if wanted.job is None:
        return Wanted(wanted.generation, begun, wanted.valid)
    changes = list(frozen_changes(begun.spec, wanted.job.spec, stage))
    if not changes:
        return wanted
    told = "; ".join(f"{problem.path} {problem.message} ({problem.hint})" for problem in changes)
    invalid = Condition(ConditionType.VALID, "False", Reason.SPEC_INVALID, f"not carried out: {told}", now_seconds)
    open_wishes = (LASTING_WISH,) if stage is Stage.ENDED else WISHES
    spec = begun.spec.model_copy(update={name: getattr(wanted.job.spec, name) for name in open_wishes})
    return Wanted(wanted.generation, begun.model_copy(update={"spec": spec}), invalid)


def _was_observed(body: Mapping[str, Any], generation: int) -> bool:
    """Whether an operator has found this very generation valid."""
    status = body.get("status") or {}
    is_valid = any(
        held["type"] == ConditionType.VALID and held["status"] == "True" for held in status.get("conditions", ())
    )
    return is_valid and status.get("observedGeneration") == generation


async def _snapshot(body: Mapping[str, Any], api: Api) -> DistillJob | None:
    """Read with what the job started; None if its snapshot is gone."""
    metadata = body["metadata"]
    name = names.spec_config_map(metadata["name"], metadata["uid"])
    try:
        found = await api.get(f"{CONFIG_MAPS.path(metadata['namespace'])}/{name}")
    except NotFound:
        return None
    kept = json.loads(found["data"][names.SPEC_FILE_NAME])
    return check_job(kept | {"metadata": metadata})
