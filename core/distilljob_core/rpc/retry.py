"""Which failed calls are made again, and when."""

import threading
from collections.abc import Callable
from typing import Final

import grpc
from tenacity import RetryCallState, Retrying, sleep_using_event, stop_when_event_set, wait_random_exponential

from distilljob_core.errors import Busy, ChecksumMismatch, Retryable
from distilljob_core.rpc.status import error_from

LONGEST_PAUSE_SECONDS: Final = 5.0
_MOST_DAMAGED: Final = 3
_NETWORK_CODES: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)
_pause = wait_random_exponential(multiplier=0.1, max=LONGEST_PAUSE_SECONDS)


def translate(error: grpc.RpcError) -> Exception:
    """Give the error that the aggregator raised, or the status itself when it came from the network or a bug."""
    if isinstance(error, grpc.Call):
        ours = error_from(error.trailing_metadata(), error.details())
        if ours is not None:
            return ours
    return error


def is_network_failure(error: BaseException | None) -> bool:
    """Say whether the call may never have reached the aggregator, or its answer not the caller."""
    return isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call) and error.code() in _NETWORK_CODES


def retrying(stopping: threading.Event, on_retry: Callable[[], None]) -> Retrying:
    """Make calls again after network failures and Retryable errors, for as long as it takes.

    Args:
        stopping: ends all pauses and retries when set; the last error is raised.
        on_retry: called before every pause; waiting for an aggregator that is away is progress, not a hang.
    """
    return Retrying(
        retry=_may_succeed_later,
        wait=_pause_seconds,
        stop=stop_when_event_set(stopping),
        sleep=sleep_using_event(stopping),
        before_sleep=lambda _: on_retry(),
        reraise=True,
    )


def _may_succeed_later(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    damaged = is_damage(error) and state.attempt_number <= _MOST_DAMAGED
    return isinstance(error, Retryable) or is_network_failure(error) or damaged


def is_damage(error: BaseException | None) -> bool:
    """Say whether something arrived that could not be read; gRPC calls it INTERNAL where it was the answer."""
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return error.code() is grpc.StatusCode.INTERNAL
    return isinstance(error, ChecksumMismatch)


def _pause_seconds(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    pushback = error.retry_after_seconds if isinstance(error, Busy) else 0.0
    return pushback + _pause(state)
