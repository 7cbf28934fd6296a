"""A job, again whenever it changes: from a watch, through whatever interrupts it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from distilljob import console
from distilljob.cluster.access import Cluster
from distilljob.cluster.jobs import fetch
from distilljob.errors import NotFound
from distilljob_operator.errors import Gone, TooManyRequests, Unavailable

PAUSE_SECONDS: Final = 2.0
_PASSING: Final = (Unavailable, TooManyRequests, Gone)


async def follow_job(cluster: Cluster, name: str) -> AsyncGenerator[dict[str, Any]]:
    """Give a job as it is, then after every change, for ever; an API server that is away for a while is waited for.

    Raises:
        NotFound: there is no such job, or it was deleted.
        ApiError: the API server refuses, or the very first look at it failed.
    """
    body = await fetch(cluster, name)
    while True:
        yield body
        try:
            async with aclosing(_changes(cluster, body)) as changes:
                async for body in changes:
                    yield body
            body = await _same(cluster, body)
        except _PASSING as error:
            console.err.print(f"[dim]waiting for the API server: {error}[/]")
            await asyncio.sleep(error.retry_after_seconds or PAUSE_SECONDS)
            body = await _when_back(cluster, body)


async def _changes(cluster: Cluster, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Give a job's changes for as long as the server keeps the watch open."""
    name = body["metadata"]["name"]
    async with cluster.api.watch(cluster.jobs, body["metadata"]["resourceVersion"], name=name) as events:
        async for event in events:
            if event["type"] == "DELETED":
                raise _deleted(name)
            if event["type"] != "BOOKMARK":
                yield event["object"]


async def _when_back(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    while True:
        try:
            return await _same(cluster, body)
        except _PASSING as error:
            await asyncio.sleep(error.retry_after_seconds or PAUSE_SECONDS)


async def _same(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    """Read this very job again, not another one of its name."""
    name = body["metadata"]["name"]
    now = await fetch(cluster, name)
    if now["metadata"]["uid"] != body["metadata"]["uid"]:
        raise _deleted(name)
    return now


def _deleted(name: str) -> NotFound:
    return NotFound(f"{name} was deleted")
