"""An API server that misbehaves when a test says so: a reverse proxy in front of the real one, on loopback.

    async with FaultProxy(control_plane.kubeconfig(), tmp_path) as proxy:
        proxy.answer(429, of("POST", "/jobs"), retry_after_seconds=2, times=3)

Its kubeconfig is `proxy.kubeconfig`; whoever comes is the user of the kubeconfig that was given.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import load_kube_config

from rig.api import hang_up

T = TypeVar("T")

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REASONS = {
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})
_MOST_BYTES = 1 << 24
_LINE_BYTES = 1 << 21


@dataclass(frozen=True, slots=True)
class Call:
    """One request that came by."""

    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_mutating(self) -> bool:
        return self.verb in MUTATING

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in ("1", "true")

    @property
    def is_page(self) -> bool:
        """Whether it goes on with a list that was begun."""
        return "continue" in self.query

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


Match = Callable[[Call], bool]
_Misbehave = Callable[[web.Request, Call], Awaitable[web.StreamResponse]]


def of(verb: str = "", part: str = "") -> Match:
    """Match requests by verb, and by a part of the path."""
    return lambda call: verb in ("", call.verb) and part in call.path


def _everything(_: Call) -> bool:
    return True


def watches(part: str = "") -> Match:
    """Match watches by a part of the path."""
    return lambda call: call.is_watch and part in call.path


def lists(part: str = "") -> Match:
    """Match reads by a part of the path, watches excepted."""
    return lambda call: call.verb == "GET" and not call.is_watch and part in call.path


@dataclass(slots=True)
class _Fault:
    match: Match
    misbehave: _Misbehave
    times: int
    after: int
    """How many matching calls pass unharmed before."""

    def strikes(self, call: Call) -> bool:
        if not self.times or not self.match(call):
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True, eq=False)
class _Watch:
    call: Call
    request: web.Request
    response: web.StreamResponse
    is_silent: bool = False
    expired: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """The proxy; faults strike in the order in which they were asked for, each at its first matching calls.

    Attributes:
        calls: every request, in the order of arrival.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.calls: list[Call] = []
        self.kubeconfig = folder / "fault-proxy.kubeconfig"
        self._upstream_kubeconfig = kubeconfig
        self._faults: list[_Fault] = []
        self._watches: set[_Watch] = set()
        self._changed = asyncio.Condition()

    @property
    def mutations(self) -> list[Call]:
        """Every request that may change something, in the order of arrival."""
        return [call for call in self.calls if call.is_mutating]

    async def __aenter__(self) -> Self:
        self._upstream = Configuration()
        await load_kube_config(str(self._upstream_kubeconfig), None, self._upstream, persist_config=False)
        context = RESTClientObject(self._upstream).ssl_context
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context), auto_decompress=False, read_bufsize=_LINE_BYTES
        )
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.kubeconfig.write_text(json.dumps(_kubeconfig(f"http://{host}:{port}")))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in list(self._watches):
            _cut(watch.request)
        await self._runner.cleanup()
        await self._session.close()

    def answer(
        self,
        status: int,
        match: Match,
        *,
        retry_after_seconds: int | None = None,
        message: str = "the test wants it so",
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Answer with an error, and forward nothing."""
        headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
        body = {"kind": "Status", "status": "Failure", "code": status, "reason": REASONS[status], "message": message}

        async def misbehave(_: web.Request, __: Call) -> web.StreamResponse:
            return web.json_response(body, status=status, headers=headers)

        self._faults.append(_Fault(match, misbehave, times, after))

    def find_nothing(self, match: Match, *, times: int = 1) -> None:
        """Answer that there are no such objects, and forward nothing."""

        async def misbehave(_: web.Request, __: Call) -> web.StreamResponse:
            return web.json_response({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})

        self._faults.append(_Fault(match, misbehave, times, after=0))

    def say_nothing(self, match: Match, *, forward: bool = False, times: int = 1, after: int = 0) -> None:
        """Never answer, with or without having passed the request on."""

        async def misbehave(request: web.Request, call: Call) -> web.StreamResponse:
            if forward:
                await self._forward(request, call)
            return await asyncio.Future()

        self._faults.append(_Fault(match, misbehave, times, after))

    def cut(self, match: Match, *, forward: bool = False, times: int = 1, after: int = 0) -> None:
        """Break the connection instead of answering, with or without having passed the request on."""

        async def misbehave(request: web.Request, call: Call) -> web.StreamResponse:
            if forward:
                await self._forward(request, call)
            _cut(request)
            return await asyncio.Future()

        self._faults.append(_Fault(match, misbehave, times, after))

    def hold(self, match: Match, *, times: int = 1, after: int = 0) -> "Gate":
        """Let matching requests wait at a gate before they are passed on; the test opens it."""
        gate = Gate()

        async def misbehave(request: web.Request, call: Call) -> web.StreamResponse:
            gate.arrived.set()
            await gate.opened.wait()
            return await self._forward(request, call)

        self._faults.append(_Fault(match, misbehave, times, after))
        return gate

    def kill(self, pid: int, number: int, *, forward: bool, match: Match = _everything) -> "asyncio.Future[Call]":
        """SIGKILL a process at its n-th mutating request from now on, counted from 1.

        Args:
            pid: whom.
            number: at which one of the matching mutating requests.
            forward: pass that request on first; its answer never arrives.
            match: which mutating requests count.

        Returns:
            Done with the request at which it happened.
        """
        struck: asyncio.Future[Call] = asyncio.get_running_loop().create_future()

        async def misbehave(request: web.Request, call: Call) -> web.StreamResponse:
            if forward:
                await self._forward(request, call)
            os.kill(pid, signal.SIGKILL)
            struck.set_result(call)
            _cut(request)
            return await asyncio.Future()

        fault = _Fault(lambda call: call.is_mutating and match(call), misbehave, times=1, after=number - 1)
        self._faults.append(fault)
        return struck

    async def called(self, match: Match, count: int = 1, *, limit_seconds: float = 60.0) -> None:
        """Wait until so many matching calls have arrived."""
        await self._until(lambda: sum(map(match, self.calls)) >= count, limit_seconds)

    async def watching(self, match: Match, count: int = 1, *, limit_seconds: float = 60.0) -> None:
        """Wait until so many live watches match."""
        await self._until(lambda: len(self._matching(match)) >= count, limit_seconds)

    def drop(self, match: Match) -> int:
        """Break the connections of live watches; tell how many."""
        return sum(_cut(watch.request) for watch in self._matching(match))

    def silence(self, match: Match) -> int:
        """Let live watches bring nothing any more, not even bookmarks, and keep them open; tell how many."""
        matching = self._matching(match)
        for watch in matching:
            watch.is_silent = True
        return len(matching)

    def expire(self, match: Match) -> int:
        """End live watches with the event that says that their version is too old; tell how many."""
        matching = self._matching(match)
        for watch in matching:
            watch.expired.set()
        return len(matching)

    def _matching(self, match: Match) -> list[_Watch]:
        return [watch for watch in self._watches if match(watch.call) and not watch.is_silent]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, dict(request.query))
        await self._note(self.calls.append, call)
        # Every fault counts the call, so that `after` means the same whichever others there are.
        striking = [fault for fault in self._faults if fault.strikes(call)]
        if striking:
            return await striking[0].misbehave(request, call)
        return await self._forward(request, call)

    async def _forward(self, request: web.Request, call: Call) -> web.StreamResponse:
        async with self._ask(request) as answer:
            if call.is_watch and answer.status == 200:
                return await self._pass_events(request, call, answer)
            return web.Response(status=answer.status, headers=_kept(answer.headers), body=await answer.read())

    @asynccontextmanager
    async def _ask(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = _kept(request.headers)
        credential = await self._upstream.get_api_key_with_prefix("BearerToken", alias="authorization")
        if credential:
            headers["Authorization"] = credential
        url = self._upstream.host + request.raw_path
        limits = aiohttp.ClientTimeout(total=None)
        body = await request.read() or None  # aiohttp gives even an empty body a type, which the server refuses
        async with self._session.request(request.method, url, data=body, headers=headers, timeout=limits) as answer:
            try:
                yield answer
            finally:
                hang_up(answer)

    async def _pass_events(
        self, request: web.Request, call: Call, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_kept(answer.headers))
        await response.prepare(request)
        watch = _Watch(call, request, response)
        pump = asyncio.create_task(_pump(watch, answer))
        expiry = asyncio.create_task(watch.expired.wait())
        await self._note(self._watches.add, watch)
        try:
            await asyncio.wait((pump, expiry), return_when=asyncio.FIRST_COMPLETED)
            if watch.expired.is_set():
                await response.write(_EXPIRED)
        finally:
            self._watches.discard(watch)
            for task in (pump, expiry):
                task.cancel()
            await asyncio.gather(pump, expiry, return_exceptions=True)
        return response

    async def _note(self, take: Callable[[T], None], what: T) -> None:
        async with self._changed:
            take(what)
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool], limit_seconds: float) -> None:
        async with asyncio.timeout(limit_seconds), self._changed:
            await self._changed.wait_for(condition)


class Gate:
    """Where requests wait. `arrived` is set by the first one."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    def open(self) -> None:
        """Let through whoever waits, and whoever still comes."""
        self.opened.set()


_EXPIRED = (
    json.dumps(
        {
            "type": "ERROR",
            "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"},
        }
    ).encode()
    + b"\n"
)


async def _pump(watch: _Watch, answer: aiohttp.ClientResponse) -> None:
    async for line in answer.content:
        if not watch.is_silent:
            await watch.response.write(line)
    if watch.is_silent:
        await asyncio.Future()


def _cut(request: web.Request) -> bool:
    if request.transport is None:
        return False
    request.transport.abort()
    return True


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}


def _kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {"token": "the-proxy-has-its-own"}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
    }
