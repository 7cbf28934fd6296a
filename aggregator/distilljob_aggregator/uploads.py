"""One upload stream: takes frames, makes them durable in groups, and acknowledges what is durable."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc.aio import EOF  # type: ignore[attr-defined]

from distilljob_core.errors import Busy, DistillJobError

COMMIT_BYTES: Final = 64 * 2**20
COMMIT_SECONDS: Final = 0.2
STALL_SECONDS: Final = 300.0
"""A stream that brings nothing for this long gives its place to another."""


class UploadStream:
    """Group commit: after 64 MB, after 200 ms, and at the end of the stream.

    Args:
        take: checks and stores one frame; gives its size in bytes.
        sync: makes all rows durable; gives their number.
    """

    def __init__(self, take: Callable[[bytes], Awaitable[int]], sync: Callable[[], Awaitable[int]]) -> None:
        self._take = take
        self._sync = sync
        self._cut: asyncio.Future[DistillJobError] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        """Set by whoever runs the stream, once no more frames of it can come."""

    def cut(self, error: DistillJobError) -> None:
        """End the stream with this error as soon as the frame at hand is done."""
        if not self._cut.done():
            self._cut.set_result(error)

    async def run(self, read: Callable[[], Awaitable[Any]], acknowledge: Callable[[int], Awaitable[None]]) -> None:
        """Take frames until the student says that no more come."""
        clock = asyncio.get_running_loop().time
        pending_bytes, commit_at = 0, None
        reading = asyncio.ensure_future(read())
        try:
            while True:
                patience = STALL_SECONDS if commit_at is None else max(0.0, commit_at - clock())
                await asyncio.wait({reading, self._cut}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if self._cut.done():
                    raise self._cut.result()
                if not reading.done() and commit_at is None:
                    raise Busy(f"no rows came for {STALL_SECONDS:.0f} s; begin again when there are some")
                has_ended = reading.done() and reading.result() is EOF
                if reading.done() and not has_ended:
                    pending_bytes += await self._take(reading.result())
                    commit_at = commit_at or clock() + COMMIT_SECONDS
                    reading = asyncio.ensure_future(read())
                is_due = has_ended or pending_bytes >= COMMIT_BYTES or clock() >= (commit_at or math.inf)
                if is_due and commit_at is not None:
                    await acknowledge(await self._sync())
                    pending_bytes, commit_at = 0, None
                if has_ended:
                    return
        finally:
            reading.cancel()
            self._cut.cancel()
