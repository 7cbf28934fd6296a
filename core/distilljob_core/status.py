"""The status sub-resource: what people and tools read of a DistillJob, and the operator's own memory.

What is shown is derived from the memory and the round table at every write; a restarted operator goes on from `memory`,
and from conditions and last terminations, which are stored once. What the table says stays shown while no table can be
read, and is no ground to act on. Reasons and phases are plain text here, so that an older CRD
never refuses a newer word; nothing has a default in the CRD, so that what is stored is what was written.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from distilljob_core.spec.base import Part

Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=64)]


class Shown(Part):
    """One block of the status: read leniently, since an older or newer operator may have written it."""

    model_config = ConfigDict(
        extra="ignore",
        strict=False,
    )


class ShownCondition(Shown):
    """One condition, as metav1.Condition."""

    type: Word
    """Valid, AggregatorReady, StudentsReady, Progressing, ProgressObservable, Degraded, Suspended, Complete, Failed."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Word
    """Why, in one word; the reference lists them all."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people; the scheduler's and kubelet's own words are passed on."""
    last_transition_time: datetime
    """When the status last changed."""
    observed_generation: Count = 0
    """The generation of the spec that this speaks of."""


class ShownRestarts(Shown):
    """Replaced attempts by cause; parking, suspension and release are none."""

    crash: Count = 0
    """Ended with an error."""
    hang: Count = 0
    """Made no step beyond its phase's limit."""
    early: Count = 0
    """Exited 0 without a terminal record."""
    node: Count = 0
    """Evicted, preempted, drained or lost with its node."""
    deleted: Count = 0
    """Gone before its end was seen."""


class ShownEnding(Shown):
    """An ending of the operator's own that is under way; it never counts against the student."""

    attempt: Count
    """Which attempt."""
    reason: Word
    """Why it is ended."""
    time: datetime
    """When it was last asked for."""


class ShownTermination(Shown):
    """How the last attempt ended."""

    attempt: Count
    """Which attempt."""
    exit_code: int | None = None
    """None if nobody saw it."""
    reason: Word = ""
    """Kubelet's word, such as OOMKilled."""
    time: datetime
    """When it ended."""
    message: Annotated[str, Field(max_length=256)] = ""
    """Its last words."""


class ShownStudent(Shown):
    """One student."""

    name: Word
    """Its name."""
    phase: Word = "Queued"
    """Queued, Starting, Independent, Distilling, Evaluating, Labeling, Uploading, Waiting, Fetching, Publishing,
    Checkpointing, Ending, BackOff, Parked, NeedsRows, Finished or Dropped."""
    attempt: Count = 0
    """Newest attempt, from 1; 0 = none yet."""
    pod_uid: Annotated[Word, Field(alias="podUID")] = ""
    """The pod of that attempt."""
    cycle: Count = 0
    """The cycle it works on."""
    last_progress_time: datetime | None = None
    """Its last step, to the minute."""
    restarts: ShownRestarts = Field(default_factory=ShownRestarts)
    """Its replaced attempts."""
    backoff_until: datetime | None = None
    """Its next attempt waits for this time."""
    ending: ShownEnding | None = None
    """An ending that is under way."""
    last_termination: ShownTermination | None = None
    """How its last attempt ended."""
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    """On the hold-out, at the last epoch that was measured; on the test set once it has finished."""


class ShownResult(Shown):
    """What came out of it."""

    best_student: Word
    """The student with the best final hold-out accuracy."""
    accuracy: Annotated[float, Field(ge=0, le=1)]
    """Its test accuracy after the last epoch."""
    ensemble_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    """Test accuracy of the weighted ensemble."""
    teacher_gain: float | None = None
    """What the last teacher was worth over the best of its students."""
    exact: bool
    """Every cycle was closed by all students, under one numeric identity."""
    volume_claim_name: Annotated[str, Field(max_length=253)] = ""
    """The claim that holds the results."""


class DistillJobStatus(Shown):
    """What has become of a DistillJob."""

    observed_generation: Count = 0
    """The generation of the spec that was last acted on."""
    phase: Word = "Pending"
    """Invalid, Pending, Starting, Training, Suspending, Suspended, Complete or Failed: one word for the column, derived
    from the conditions; tools should read those."""
    conditions: Annotated[list[ShownCondition], Field(max_length=16)] = Field(default_factory=list)
    """What holds, what does not, and why."""
    cycle: Count = 0
    """The open cycle."""
    cycles: Count = 0
    """Planned cycles."""
    start_time: datetime | None = None
    """First start of anything; from here on the spec is frozen."""
    completion_time: datetime | None = None
    """When it completed or failed."""
    active_seconds: Count = 0
    """Time it was active, without suspensions; folded at suspend and end."""
    restarts: ShownRestarts = Field(default_factory=ShownRestarts)
    """Replaced attempts of all students."""
    estimated_completion_time: datetime | None = None
    """When the slowest student will be through, at the pace it has kept so far."""
    result: ShownResult | None = None
    """Once it is complete."""
    students: Annotated[list[ShownStudent], Field(max_length=64)] = Field(default_factory=list)
    """Every student, by name."""
    cycle_column: Word = ""
    """Such as 2/4."""
    students_column: Word = ""
    """At work or finished, of all that were not dropped, such as 7/8."""
    accuracy_column: Word = ""
    """Best accuracy on the hold-out so far, the result's on the test set in the end."""
    restarts_total: Count = 0
    """All restarts."""
    slowest_student: Word = ""
    """The student that the others wait for."""
    memory: Annotated[str, Field(max_length=262144)] = ""
    """What a restarted operator goes on from, as JSON in one text: one line in `kubectl describe`, one entry in the
    managed fields. Not an interface: it changes with the operator's version."""
