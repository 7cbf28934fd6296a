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
        self._version = ""
        self.num_reconnects = -1
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the server streams what happens from now on."""
        query = {**self._selectors, "limit": "1"}
        headers = {"Accept": _METADATA.format("List")}
        async with self._client.session.get(self._path, params=query, headers=headers) as answer:
            self._version = (await answer.json(content_type=None))["metadata"]["resourceVersion"]
        opened = asyncio.Event()
        self.task = asyncio.create_task(self._run(opened))
        await asyncio.wait([self.task, asyncio.ensure_future(opened.wait())], return_when=asyncio.FIRST_COMPLETED)

    async def _run(self, opened: asyncio.Event) -> None:
        while True:
            self.num_reconnects += 1
            query = {
                **self._selectors,
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": self._version,
            }
            headers = {"Accept": _METADATA.format("")}
            try:
                async with self._client.session.get(self._path, params=query, headers=headers) as answer:
                    opened.set()
                    async for line in answer.content:
                        self._take(json.loads(line))
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)  # the server has closed a watch that fell behind

    def _take(self, event: dict[str, Any]) -> None:
        kind, metadata = event["type"], event["object"].get("metadata", {})
        if kind == "ERROR":
            raise RuntimeError(f"the watch on {self._path} was lost: {event['object']}")
        self._version = metadata["resourceVersion"]
        if kind == "DELETED":
            self._on_gone(metadata["uid"])
        elif kind == "ADDED" and metadata["uid"] not in self._known:
            self._known.add(metadata["uid"])
            labels = metadata.get("labels") or {}
            self._on_seen(Seen(time.monotonic(), metadata["namespace"], metadata["name"], metadata["uid"], labels))
