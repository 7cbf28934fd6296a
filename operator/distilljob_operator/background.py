"""Tasks that run for as long as the process does its work: when one of them ends, so does the work."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from distilljob_core.errors import DistillJobError


class TaskEnded(DistillJobError):
    """A task that should never end did, without an error."""


class Background:
    """Runs tasks beside the main one: `async with Background(stop) as background`; all are cancelled at the end."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start one task."""
        self._tasks.append(asyncio.create_task(coroutine))

    async def during(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Await something; false if told to stop before it was done.

        Raises:
            Exception: that of the first background task that failed meanwhile.
        """
        main, stop = asyncio.create_task(coroutine), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({main, stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
                    raise TaskEnded(f"{task.get_coro()} ended")
            if main.done():
                main.result()
            return main.done() and not self.stop.is_set()
        finally:
            for task in (main, stop):
                task.cancel()
            await asyncio.gather(main, stop, return_exceptions=True)

    async def until_stopped(self) -> None:
        """Wait until told to stop; raises what `during` raises."""
        await self.during(self.stop.wait())
