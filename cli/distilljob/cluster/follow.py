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
_AWAY: Final = (Unavailable, TooManyRequests)


async def follow_job(cluster: Cluster, name: str) -> AsyncGenerator[dict[str, Any]]:
    """Give a job as it is, then after every change, for ever; an API server that is away for a while is waited for.

    Raises:
        NotFound: there is no such job, or it was deleted.
        ApiError: the API server refuses, or the very first look at it failed.
    """
    body, version = await _look(cluster, name)
    while True:
        yield body
        try:
            async with aclosing(_changes(cluster, name, version)) as changes:
                async for body in changes:
                    yield body
        except Gone:
            pass
        except _AWAY as error:
            console.err.print(f"[dim]waiting for the API server: {error}[/]")
            await asyncio.sleep(error.retry_after_seconds or PAUSE_SECONDS)
        body, version = await _look_again(cluster, name, body["metadata"]["uid"])


async def _changes(cluster: Cluster, name: str, version: str) -> AsyncGenerator[dict[str, Any]]:
    """Give a job's changes for as long as the server keeps the watch open."""
    async with cluster.api.watch(cluster.jobs, version, name=name) as events:
        async for event in events:
            if event["type"] == "DELETED":
                raise _deleted(name)
            if event["type"] != "BOOKMARK":
                yield event["object"]


async def _look(cluster: Cluster, name: str) -> tuple[dict[str, Any], str]:
    """Give a job, and the version to watch from: the list's, since the job's own may be too old to be kept."""
    page = await cluster.api.get(cluster.jobs, fieldSelector=f"metadata.name={name}")
    if page["items"]:
        return page["items"][0], page["metadata"]["resourceVersion"]
    return await fetch(cluster, name), page["metadata"]["resourceVersion"]


async def _look_again(cluster: Cluster, name: str, uid: str) -> tuple[dict[str, Any], str]:
    """Look at this very job again, not at another one of its name, as soon as the server is back."""
    while True:
        try:
            body, version = await _look(cluster, name)
        except _AWAY as error:
            await asyncio.sleep(error.retry_after_seconds or PAUSE_SECONDS)
            continue
        if body["metadata"]["uid"] != uid:
            raise _deleted(name)
        return body, version


def _deleted(name: str) -> NotFound:
    return NotFound(f"{name} was deleted")
