"""Exit codes of distilljob's processes: what a dead process says to whoever decides about the next attempt."""

from enum import IntEnum


class ExitCode(IntEnum):
    """80 to 89 are fatal: a restart cannot cure them. Everything not listed may be retried."""

    DONE = 0
    """Finished. On its own it proves nothing: only a terminal record does."""
    CRASH = 1
    """Something unforeseen; the next attempt may succeed."""
    PARKED = 75
    """Left on the aggregator's directive to free its GPU; comes back when it is its turn."""
    SPEC = 80
    """The DistillJob is wrong in a way only this process could see: unknown model, a factory that fails."""
    DATA = 81
    """The dataset is missing, damaged or not what the job describes."""
    MISMATCH = 82
    """This process disagrees with the aggregator: protocol version, dataset fingerprint, shape."""
    FENCED = 83
    """A newer attempt of this student exists; this one must never write again."""
    TEACHER_GONE = 84
    """The student needs the teacher of a cycle that is no longer kept."""
    DIVERGED = 85
    """The loss is not finite; an exact resume would diverge exactly."""
    DEVICE = 86
    """The device or precision the job asks for does not exist here."""
    STATE_LOST = 87
    """The aggregator's durable state is behind what this student has seen."""
    TERMINATED = 143
    """Ended by SIGTERM after saving; always this code, never 0."""


FATAL_CODES = range(80, 90)


def is_fatal(exit_code: int) -> bool:
    """Say whether a restart could not cure what this code reports."""
    return exit_code in FATAL_CODES
