"""Whether this process does its work: what kubelet asks at /livez and /readyz, and /metrics."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from distilljob_core.errors import DistillJobError
from distilljob_operator.informer import Informer

Check = Callable[[], str | None]
"""Says what is wrong, or nothing."""

_TICK_SECONDS: Final = 1.0
_NUM_TICKS: Final = 60
_NUM_TICKS_OF_LIFE: Final = 15
"""Liveness gives up after three failures in 30 seconds: a loop that has recovered is seen to live before that."""
MAX_LAG_SECONDS: Final = 10.0
MAX_SILENCE_SECONDS: Final = 180.0
"""Three times the interval of bookmarks: a watch that lives has shown a sign."""


class LoopWatch:
    """Measures how late tasks of this process are, over the last minute."""

    def __init__(self, clock: Callable[[], float], on_lag: Callable[[float], None]) -> None:
        self._clock = clock
        self._on_lag = on_lag
        self._lags_seconds: deque[float] = deque([0.0], maxlen=_NUM_TICKS)

    @property
    def lag_seconds(self) -> float:
        """The longest wait of the last minute."""
        return max(self._lags_seconds)

    async def run(self) -> NoReturn:
        """Look at the clock once a second."""
        while True:
            asked_seconds = self._clock() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self._lags_seconds.append(max(0.0, self._clock() - asked_seconds))
            self._on_lag(self.lag_seconds)

    def problem(self) -> str | None:
        """Say if the loop was held up for longer than anything of ours may take."""
        lag_seconds = max(list(self._lags_seconds)[-_NUM_TICKS_OF_LIFE:])
        if lag_seconds <= MAX_LAG_SECONDS:
            return None
        return f"a task was kept waiting for {lag_seconds:.0f} s just now"


def silence_check(kind: str, informer: Informer[Any], clock: Callable[[], float]) -> Check:
    """Notice a watch that shows neither events nor bookmarks any more."""

    def problem() -> str | None:
        silent_seconds = clock() - informer.last_seen_seconds
        if silent_seconds <= MAX_SILENCE_SECONDS:
            return None
        return f"the watch on {kind} has shown no sign of life for {silent_seconds:.0f} s"

    return problem


async def start_web(
    registry: CollectorRegistry, live: Sequence[Check], ready: Sequence[Check], bind: str, port: int
) -> tuple[web.AppRunner, int]:
    """Listen; gives the runner and its port, which the system chooses when it is 0.

    Raises:
        DistillJobError: the port is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/livez", _answer("live", live)),
            web.get("/readyz", _answer("ready", ready)),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, bind, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise DistillJobError(f"cannot listen on {bind}:{port}: {error.strerror}; see --http-port") from error
    return runner, runner.addresses[0][1]


def _answer(word: str, checks: Sequence[Check]) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        problems = [problem for check in checks if (problem := check())]
        if problems:
            return web.Response(status=503, text="".join(f"{problem}\n" for problem in problems))
        return web.Response(text=f"{word}\n")

    return answer
