"""Our errors as gRPC statuses and back: one table for both ends.

Several errors share a status, so the error's own name travels in trailing metadata; the status is what tools and
clients in other languages see.
"""

from collections.abc import Iterable
from typing import Final

from grpc import StatusCode

from distilljob_core import errors

ERROR_METADATA: Final = "distilljob-error"

STATUS_OF: Final[dict[type[errors.DistillJobError], StatusCode]] = {
    errors.SpecError: StatusCode.INVALID_ARGUMENT,
    errors.DataError: StatusCode.DATA_LOSS,
    errors.ProtocolMismatch: StatusCode.FAILED_PRECONDITION,
    errors.FingerprintMismatch: StatusCode.FAILED_PRECONDITION,
    errors.Conflict: StatusCode.ALREADY_EXISTS,
    errors.Mismatch: StatusCode.FAILED_PRECONDITION,
    errors.Fenced: StatusCode.ABORTED,
    errors.TeacherGone: StatusCode.NOT_FOUND,
    errors.StateLost: StatusCode.DATA_LOSS,
    errors.ChecksumMismatch: StatusCode.INVALID_ARGUMENT,
    errors.RowsOutOfRange: StatusCode.OUT_OF_RANGE,
    errors.BadFrame: StatusCode.INVALID_ARGUMENT,
    errors.NotOpen: StatusCode.FAILED_PRECONDITION,
    errors.UnknownStudent: StatusCode.PERMISSION_DENIED,
    errors.TeacherNotReady: StatusCode.UNAVAILABLE,
    errors.Busy: StatusCode.RESOURCE_EXHAUSTED,
    errors.ResultsFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.StorageFull: StatusCode.RESOURCE_EXHAUSTED,
}
"""Every error that can cross the wire; a test holds it complete against the tree."""

NEVER_SENT: Final = frozenset(
    {errors.DistillJobError, errors.FactoryError, errors.Diverged, errors.DeviceError, errors.Retryable}
)
"""Errors that only a student's own process, or nobody, raises."""

_BY_NAME: Final = {error.__name__: error for error in STATUS_OF}


def error_metadata(error: errors.DistillJobError) -> tuple[tuple[str, str], ...]:
    """Name the error for the other end."""
    return ((ERROR_METADATA, type(error).__name__),)


def error_from(
    trailing: Iterable[tuple[str, str | bytes]] | None, details: str | None
) -> errors.DistillJobError | None:
    """Build the error that the other end raised; None when the status came from the network or from a bug."""
    for key, value in trailing or ():
        if key == ERROR_METADATA and value in _BY_NAME:
            return _BY_NAME[str(value)](details or "")
    return None
