"""What happens when something fails, hangs, is late, or must wait."""

from typing import Annotated, Literal

from pydantic import Field

from distilljob_core.spec.base import Part, Text

Seconds = Annotated[int, Field(ge=1, le=31_536_000)]


class Backoff(Part):
    """Waiting time before attempt n + 1: initial, then base x factor^(n - 1), at most max."""

    initial_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    """Wait before the first restart."""
    base_seconds: Annotated[int, Field(ge=0, le=86_400)] = 10
    """Wait before the second restart."""
    factor: Annotated[float, Field(ge=1, le=100)] = 2
    """Growth from one restart to the next."""
    max_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Longest wait."""


class Hang(Part):
    """A student without progress for this long is ended and replaced, if the aggregator can be observed at all."""

    startup_seconds: Seconds = 1800
    """Limit until it has joined."""
    steady_seconds: Seconds = 600
    """Limit between two training steps."""
    evaluation_seconds: Seconds = 1800
    """Limit between two batches of evaluation or labeling."""
    exchange_seconds: Seconds = 900
    """Limit between two signs of progress while uploading, waiting or fetching."""
    checkpoint_seconds: Seconds = 900
    """Limit while writing a checkpoint."""
    max_restarts_per_student: Annotated[int, Field(ge=0, le=1000)] = 2
    """Restarts for hanging; fewer, since a hang often repeats."""


class NodeLost(Part):
    """What to do with a pod on a node that nobody hears from."""

    force_delete_after_seconds: Seconds | None = None
    """Delete the pod by force after this long; null = wait. Only safe when the node is really off."""


class FailurePolicy(Part):
    """How often and how fast failed students are replaced."""

    max_restarts_per_student: Annotated[int, Field(ge=0, le=1000)] = 6
    """Budget of one student; refilled after `refillCycles` closed cycles without a failure."""
    max_restarts: Annotated[int, Field(ge=0, le=100_000)] = 30
    """Budget of the whole job; never refilled."""
    refill_cycles: Annotated[int, Field(ge=1, le=1000)] = 2
    """Closed cycles without a failure that refill a student's budget."""
    backoff: Backoff = Field(default_factory=Backoff)
    """Waiting times before restarts."""
    hang: Hang = Field(default_factory=Hang)
    """Limits of patience, by what the student is doing."""
    node_lost: NodeLost = Field(default_factory=NodeLost)
    """What to do when a node is lost."""
    on_divergence: Literal["Fail", "DropStudent"] = "Fail"
    """A student whose loss is not finite fails the job, or leaves the group. Never a retry: it would diverge again."""
    on_budget_exhausted: Literal["Fail", "DropStudent"] = "Fail"
    """A student without restarts left fails the job, or leaves the group."""


class Quorum(Part):
    """How many students a cycle needs."""

    minimum_students: Annotated[int, Field(ge=1, le=64)] | None = None
    """Least number of students whose labels make a teacher; null = every student."""
    cycle_deadline_seconds: Seconds | None = None
    """Time from the first durable row of a round until it closes with the quorum; null = never close short."""
    on_loss: Literal["Wait", "Fail"] = "Wait"
    """Deadline passed without a quorum: wait until there is one, or fail the job."""


class Placement(Part):
    """Fewer GPUs than students."""

    maximum_concurrent_students: Annotated[int, Field(ge=1, le=64)] | None = None
    """Students take turns; the result is bit-identical to all at once. null = all at once."""


class Security(Part):
    """Who may speak to whom."""

    tls: Literal["OperatorManaged", "Secret", "Disabled"] = "OperatorManaged"
    """OperatorManaged: one certificate per student. Secret: your own. On one machine only loopback is used."""
    tls_secret_name: Text | None = None
    """Your Secret, for tls Secret: ca.crt, and .crt and .key of aggregator and of student-NAME for each student."""
    network_policy: bool = True
    """Make a NetworkPolicy that lets only this job's students reach its aggregator."""
