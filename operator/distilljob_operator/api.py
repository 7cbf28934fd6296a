"""The verbs of the API server over plain JSON: no client models, one try each, and a time limit on everything."""

import json
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import aiohttp

from distilljob_operator.connection import CLIENT_NAME, Connection, unavailable_without_answer
from distilljob_operator.errors import ApiError, Conflict, NotFound, error_from

Json = dict[str, Any]

_METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_OTHER_UID: Final = re.compile("UID in (the )?precondition")
"""Said in two ways: when the object is looked at, and when it changes hands just before it goes."""
_NO_ANSWER: Final = 0
STRICT: Final = {"fieldValidation": "Strict"}
"""Refuse fields that are not known; the API server would drop them and say nothing."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long the API server may take."""

    connect_seconds: float = 5.0
    call_seconds: float = 30.0
    page_seconds: float = 60.0
    """One page of a list."""
    silence_seconds: float = 70.0
    """A watch brings a bookmark every minute; one that is silent for longer is dead."""
    watch_seconds: float = 300.0
    """How long the server keeps a watch open, at least; up to twice as long, so that they do not all end at once."""


class OnRequest(Protocol):
    """What is told of every request."""

    def __call__(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Hear of a request's end, of a watch's beginning; the code is 0 where there was no answer."""


class Api:
    """One API server; paths as in its reference, such as /api/v1/namespaces/NAME/pods.

    Every method raises an ApiError. Nothing is tried again here: whoever holds the queue knows when.
    """

    def __init__(
        self, connection: Connection, *, on_request: OnRequest | None = None, limits: TimeLimits | None = None
    ) -> None:
        self._connection = connection
        self._on_request = on_request
        self._limits = limits or TimeLimits()

    async def get(self, path: str, **query: str | int) -> Json:
        """Read one object, or one page of a list."""
        return await self._call("get", "GET", path, query)

    async def list_pages(
        self, path: str, *, selector: str = "", metadata_only: bool = False, limit: int = 500
    ) -> AsyncIterator[Json]:
        """Read a list page by page; all pages show the same moment, whose version stands in each one's metadata.

        Raises:
            Gone: it took so long that the server no longer keeps that moment; begin anew.
        """
        accept = _METADATA.format("List") if metadata_only else "application/json"
        query: dict[str, str | int] = {"limit": limit, **_selected(selector)}
        while True:
            page = await self._call("list", "GET", path, query, accept=accept, seconds=self._limits.page_seconds)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    @asynccontextmanager
    async def watch(
        self, path: str, resource_version: str, *, selector: str = "", name: str = "", metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """Follow what happens after a version; inside, the server has accepted and keeps the connection open.

        The events end when the server ends the watch. Bookmarks come as events of type BOOKMARK.

        Raises:
            Gone: the version is no longer kept; list anew.
            Unavailable: the connection broke, or was silent for longer than a watch is while it lives.
        """
        limits = self._limits
        seconds = limits.watch_seconds * random.uniform(1, 2)  # noqa: S311 - jitter
        query: dict[str, str | int] = {"watch": 1, "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        query |= {"timeoutSeconds": int(seconds), **_selected(selector)}
        if name:
            query["fieldSelector"] = f"metadata.name={name}"
        timeout = aiohttp.ClientTimeout(sock_connect=limits.connect_seconds, sock_read=limits.silence_seconds)
        headers = {"Accept": _METADATA.format("") if metadata_only else "application/json"}
        started_seconds = time.perf_counter()
        code = _NO_ANSWER
        asking = self._connection.request("GET", f"{path}?{urlencode(query)}", headers, None, timeout)
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(asking)
                code = response.status
            finally:
                self._report("watch", path, code, started_seconds)
            if code != 200:
                raise await read_error(response)
            yield _events(response)

    async def create(self, path: str, body: Json, **query: str) -> Json:
        """Create an object in the collection of that path.

        Raises:
            AlreadyExists: the name is taken.
        """
        return await self._call("create", "POST", path, query, body)

    async def apply(self, path: str, body: Json) -> Json:
        """Make the object's fields as they stand in the body, whoever else set them (server-side apply).

        Raises:
            Invalid: among others, a field that the server does not know.
        """
        query = {"fieldManager": CLIENT_NAME, "force": "true", **STRICT}
        return await self._call("apply", "PATCH", path, query, body, content="application/apply-patch+yaml")

    async def put(self, path: str, body: Json) -> Json:
        """Replace an object, or its sub-resource; metadata.uid and metadata.resourceVersion are preconditions.

        Raises:
            Conflict: it changed, or it is another object.
        """
        return await self._call("update", "PUT", path, {}, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge the body into an object; metadata.uid and metadata.resourceVersion in it are preconditions.

        Raises:
            Conflict: it changed, or it is another object.
        """
        return await self._call("patch", "PATCH", path, {}, body, content="application/merge-patch+json")

    async def delete(
        self, path: str, uid: str, *, propagation: str = "Background", grace_seconds: int | None = None
    ) -> None:
        """Delete the object with that UID; one that is gone, or whose name went to another one, is deleted."""
        body: Json = {"preconditions": {"uid": uid}, "propagationPolicy": propagation}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._call("delete", "DELETE", path, {}, body)
        except NotFound:
            return
        except Conflict as error:
            if not _OTHER_UID.search(error.message):
                raise

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: Json | None = None,
        *,
        accept: str = "application/json",
        content: str = "application/json",
        seconds: float | None = None,
    ) -> Json:
        timeout = aiohttp.ClientTimeout(
            total=seconds or self._limits.call_seconds, sock_connect=self._limits.connect_seconds
        )
        headers = {"Accept": accept, "Content-Type": content}
        started_seconds = time.perf_counter()
        code = _NO_ANSWER
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            async with self._connection.request(method, target, headers, body, timeout) as response:
                if response.status >= 400:
                    code = response.status
                    raise await read_error(response)
                with unavailable_without_answer():
                    answer: Json = json.loads(await response.read())
                    code = response.status
                return answer
        finally:
            self._report(verb, path, code, started_seconds)

    def _report(self, verb: str, path: str, code: int, started_seconds: float) -> None:
        if self._on_request:
            self._on_request(verb, resource_of(path), code, time.perf_counter() - started_seconds)


async def read_error(response: aiohttp.ClientResponse) -> ApiError:
    """Read what went wrong from an answer that says so."""
    with unavailable_without_answer():
        body = await response.read()
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a load balancer's page, or the server's own plain text
        answer = {"message": body[:200].decode(errors="replace").strip()}
    return error_from(response.status, answer, response.headers.get("Retry-After"))


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    with unavailable_without_answer():
        async for line in response.content:
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                raise error_from(event["object"].get("code", 500), event["object"])
            yield event


def _selected(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}


def resource_of(path: str) -> str:
    """Name the kind of thing a path leads to: /apis/batch/v1/namespaces/a/jobs/b/status gives jobs/status."""
    parts = path.strip("/").split("/")
    rest = parts[2 if parts[0] == "api" else 3 :] or parts[:1]
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    return "/".join((rest[0], *rest[2:3]))
