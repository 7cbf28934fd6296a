"""What the API server answers when it does not do what was asked.

ApiError                      any other answer
├── NotFound                  404
├── AlreadyExists             409: the name is taken
├── Conflict                  409: the object, or its UID, is no longer the one that was read
├── Gone                      410: that version, or that page, is no longer kept
├── Forbidden                 403: terminating namespace, quota, or rights
├── Invalid                   422 and 400: the object is wrong; asking again is useless
├── TooManyRequests           429
└── Unavailable               5xx, a time-out, or no connection: it may have been done, or not
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from distilljob_core.errors import DistillJobError

_TERMINATING: Final = "NamespaceTerminating"
_QUOTA: Final = re.compile(r"(exceeded|failed|status unknown for) quota\b")


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong: of an object that breaks rules, each field."""

    reason: str
    message: str
    field: str


class ApiError(DistillJobError):
    """One call that failed.

    Args:
        status: HTTP status; 0 where there was no answer.
        reason: the machine-readable word of the answer.
        message: the text of the answer.
        retry_after_seconds: how long the server wants to be left alone, where it says so.
        causes: what exactly is wrong, where the answer says so.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        causes: Sequence[Cause] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.causes = tuple(causes)

    @classmethod
    def silence(cls, message: str) -> Self:
        """Make the error of a call that got no answer."""
        return cls(0, "NoAnswer", message)


class NotFound(ApiError):
    """There is no such object, kind or namespace."""


class AlreadyExists(ApiError):
    """An object of that name is there."""


class Conflict(ApiError):
    """The object changed since it was read, or it is another one of the same name."""


class Gone(ApiError):
    """The version to go on from is no longer kept; list anew."""


class Forbidden(ApiError):
    """The server understood and refuses."""

    @property
    def is_terminating_namespace(self) -> bool:
        """Whether the namespace is being deleted: nothing can ever be created in it again."""
        return any(cause.reason == _TERMINATING for cause in self.causes)

    @property
    def is_quota(self) -> bool:
        """Whether a ResourceQuota refuses. The server marks this in its text only."""
        return _QUOTA.search(self.message) is not None


class Invalid(ApiError):
    """The object breaks its schema or a rule."""


class TooManyRequests(ApiError):
    """The server asks to be left alone for a while."""


class Unavailable(ApiError):
    """The server failed, or did not answer in time; what was asked may have been done."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def error_from(code: int, answer: dict[str, Any], retry_after: str | None = None) -> ApiError:
    """Read a `Status` object, as an answer's body or as an ERROR event of a watch.

    Args:
        code: HTTP status of the answer.
        answer: its body; whatever stands between us and the server may have sent something else than a `Status`.
        retry_after: the header of that name. The server sends seconds, never a date.
    """
    details = answer.get("details") or {}
    seconds = retry_after if retry_after is not None and retry_after.isdecimal() else details.get("retryAfterSeconds")
    reason = answer.get("reason") or f"Status{code}"
    causes = [_cause(found) for found in details.get("causes") or ()]
    return _kind(code, reason, {cause.field for cause in causes})(
        code,
        reason,
        answer.get("message") or f"status {code}",
        retry_after_seconds=float(seconds) if seconds else None,
        causes=causes,
    )


def _cause(found: dict[str, str]) -> Cause:
    return Cause(found.get("reason", ""), found.get("message", ""), found.get("field", ""))


def _kind(code: int, reason: str, fields: set[str]) -> type[ApiError]:
    if reason == "AlreadyExists":
        return AlreadyExists
    if "metadata.uid" in fields:
        return Conflict  # a merge patch for another object of that name is called invalid, a replacement is not
    return Unavailable if code >= 500 else _BY_STATUS.get(code, ApiError)
