"""When objects appear, by the watch events that reach this process; metadata only, and across reconnects."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench_operator.client import Client

_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
GONE = 410


class _Gone(Exception):
    """The server no longer knows that version."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One object, when it was first seen."""

    seconds: float
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]


class Watch:
    """Follows one collection from now on.

    Args:
        client: of the administrator.
        path: of the collection.
        on_seen: told of every object that comes into sight, once.
        on_gone: told when one goes out of sight, by its UID.
        selectors: labelSelector, fieldSelector.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        on_seen: Callable[[Seen], None],
        on_gone: Callable[[str], None] = lambda _: None,
        **selectors: str,
    ) -> None:
        self._client = client
        self._path = path
        self._on_seen = on_seen
        self._on_gone = on_gone
        self._selectors = selectors
        self._known: set[str] = set()
        self._present: set[str] = set()
        self._version = ""
        self.num_reconnects = -1
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the server streams what happens from now on."""
        self._version = (await self._list(limit="1"))["metadata"]["resourceVersion"]
        opened = asyncio.Event()
        self.task = asyncio.create_task(self._run(opened))
        await asyncio.wait([self.task, asyncio.ensure_future(opened.wait())], return_when=asyncio.FIRST_COMPLETED)

    async def _run(self, opened: asyncio.Event) -> None:
        while True:
            self.num_reconnects += 1
            try:
                await self._follow(opened)
            except _Gone:
                await self._catch_up()
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)  # the server has closed a watch that fell behind

    async def _follow(self, opened: asyncio.Event) -> None:
        query = {**self._selectors, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        headers = {"Accept": _METADATA.format("")}
        async with self._client.session.get(self._path, params=query, headers=headers) as answer:
            if answer.status == GONE:
                raise _Gone
            answer.raise_for_status()
            opened.set()
            async for line in answer.content:
                self._take(json.loads(line))

    async def _list(self, **query: str) -> dict[str, Any]:
        headers = {"Accept": _METADATA.format("List")}
        path, params = self._path, {**self._selectors, **query}
        async with self._client.session.get(path, params=params, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None)

    async def _catch_up(self) -> None:
        """List, where the server has forgotten how far the watch had come."""
        listed = await self._list()
        self._version = listed["metadata"]["resourceVersion"]
        items = {item["metadata"]["uid"]: item["metadata"] for item in listed["items"] or ()}
        for uid in self._present - items.keys():
            self._go(uid)
        for metadata in items.values():
            self._come(metadata)

    def _take(self, event: dict[str, Any]) -> None:
        kind, shown = event["type"], event["object"]
        if kind == "ERROR":
            raise _Gone if shown.get("code") == GONE else RuntimeError(f"the watch on {self._path} failed: {shown}")
        self._version = shown["metadata"]["resourceVersion"]
        if kind == "DELETED":
            self._go(shown["metadata"]["uid"])
        elif kind == "ADDED":
            self._come(shown["metadata"])

    def _come(self, metadata: dict[str, Any]) -> None:
        self._present.add(metadata["uid"])
        if metadata["uid"] not in self._known:
            self._known.add(metadata["uid"])
            labels = metadata.get("labels") or {}
            self._on_seen(Seen(time.monotonic(), metadata["namespace"], metadata["name"], metadata["uid"], labels))

    def _go(self, uid: str) -> None:
        self._present.discard(uid)
        self._on_gone(uid)
