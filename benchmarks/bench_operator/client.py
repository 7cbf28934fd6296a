"""A bare client of the API server: aiohttp and nothing else, so that it stands for what is possible."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

import aiohttp

from bench_operator.plane import Plane

Object = dict[str, Any]
CONCURRENCY = 96
"""As many connections as the operator opens at most."""
NAME = "bench"
"""User agent: what the audit log knows it by."""
_MERGE_PATCH = "application/merge-patch+json"


class Client:
    """`async with Client(plane) as client`; errors are ClientResponseError with the server's words."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._plane.keys.path("ca.crt"))
        self.session = aiohttp.ClientSession(
            f"https://127.0.0.1:{self._plane.port}",
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            headers={"Authorization": f"Bearer {self._plane.keys.tokens['admin']}", "User-Agent": NAME},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=1 << 20,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    async def get(self, path: str, **query: str) -> Object:
        """Read an object or a list."""
        return json.loads(await self._send("GET", path, params=query))

    async def post(self, path: str, body: bytes) -> bytes:
        """Create an object; the answer as it came."""
        return await self._send("POST", path, data=body, headers={"Content-Type": "application/json"})

    async def patch(self, path: str, change: Object) -> None:
        """Merge a change into an object."""
        await self._send("PATCH", path, data=json.dumps(change).encode(), headers={"Content-Type": _MERGE_PATCH})

    async def _send(self, method: str, path: str, **how: Any) -> bytes:
        async with self.session.request(method, path, **how) as answer:
            body = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {body[:300].decode()}")
            return body


async def at_once(
    calls: Iterable[Callable[[], Coroutine[Any, Any, Any]]], concurrency: int = CONCURRENCY
) -> list[tuple[float, Any]]:
    """Make calls in their order, so many at a time; when each ended, and what it gave, in order of their ends."""
    waiting, ended = iter(calls), []

    async def work() -> None:
        for call in waiting:
            given = await call()
            ended.append((time.monotonic(), given))

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return ended


async def make_namespaces(client: Client, num: int) -> list[str]:
    """Make namespaces, and wait until pods may be made there."""
    names = [f"bench-{number}" for number in range(num)]
    bodies = [json.dumps({"metadata": {"name": name}}).encode() for name in names]
    await at_once([lambda body=body: client.post("/api/v1/namespaces", body) for body in bodies], 16)
    while True:
        accounts = await client.get("/api/v1/serviceaccounts", fieldSelector="metadata.name=default")
        if {account["metadata"]["namespace"] for account in accounts["items"]}.issuperset(names):
            return names
        await asyncio.sleep(0.1)
