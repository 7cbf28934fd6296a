"""Two ways to an aggregator's HTTP: its own address, or through the API server's pod proxy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from string import Formatter
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from distilljob_core import names
from distilljob_core.errors import DistillJobError
from distilljob_core.round_table import RoundTable
from distilljob_operator.connection import Connection
from distilljob_operator.errors import ApiError
from distilljob_operator.progress.look import Target, Unreadable
from distilljob_operator.setting_values import PLACES

TIMEOUT_SECONDS: Final = 3.0
MAXIMUM_TABLE_BYTES: Final = 8 << 20
"""64 students with the terminal records of many cycles."""
CHUNK_BYTES: Final = 64 << 10


class BadTemplate(DistillJobError):
    """An address template names something that there is not."""


class Fetch(Protocol):
    """Reads one page of an aggregator."""

    async def __call__(self, target: Target, path: str, maximum_bytes: int) -> bytes:
        """Get a page.

        Raises:
            Unreadable: no address, no answer in time, another status than 200, or too much of it.
        """


class Direct:
    """Goes to the aggregator itself.

    Args:
        session: makes the requests.
        template: its address, with {namespace}, {job}, {pod}, {pod_ip} and {service} filled in.

    Raises:
        BadTemplate: another word stands in braces.
    """

    def __init__(self, session: aiohttp.ClientSession, template: str) -> None:
        unknown = {name for _, name, _, _ in Formatter().parse(template) if name is not None} - PLACES
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in sorted(PLACES))
            raise BadTemplate(f"{template}: {{{unknown.pop()}}} is unknown; use {known}")
        self._session = session
        self._template = template

    async def __call__(self, target: Target, path: str, maximum_bytes: int) -> bytes:
        """Get a page; see Fetch."""
        url = self.url(target) + path
        with unreadable(url):
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                return await read_body(response, url, maximum_bytes)

    def url(self, target: Target) -> str:
        """Give the address of an aggregator; raises Unreadable while it has none."""
        ip = f"[{target.pod_ip}]" if ":" in target.pod_ip else target.pod_ip
        values: Mapping[str, str] = {
            "namespace": target.namespace,
            "job": target.job,
            "pod": target.pod_name,
            "pod_ip": ip,
            "service": names.aggregator(target.job),
        }
        missing = [name for name, value in values.items() if not value and f"{{{name}}}" in self._template]
        if missing:
            raise Unreadable("the aggregator has no pod with an address yet")
        return self._template.format_map(values)


class ThroughApiServer:
    """Goes through the API server to the aggregator's pod: from a laptop, or where no network leads to pods.

    Needs the right to get pods/proxy.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __call__(self, target: Target, path: str, maximum_bytes: int) -> bytes:
        """Get a page; see Fetch."""
        if not target.pod_name:
            raise Unreadable("the aggregator has no pod yet")
        pod = f"/api/v1/namespaces/{target.namespace}/pods/{target.pod_name}:{names.HTTP_PORT}/proxy"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        with unreadable(pod + path):
            headers = {"Accept": "*/*"}
            async with self._connection.request("GET", pod + path, headers, None, timeout) as response:
                return await read_body(response, pod + path, maximum_bytes)


@contextmanager
def unreadable(url: str) -> Iterator[None]:
    """Turn what goes wrong on the way into Unreadable."""
    try:
        yield
    except TimeoutError as error:
        raise Unreadable(f"{url}: no answer in time") from error
    except (aiohttp.ClientError, ApiError, OSError) as error:
        raise Unreadable(f"{url}: {type(error).__name__}: {error}") from error


async def read_body(response: aiohttp.ClientResponse, url: str, maximum_bytes: int) -> bytes:
    """Read an answer; what is too large is not read to its end.

    Raises:
        Unreadable: another status than 200, or too large.
    """
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > maximum_bytes:
            raise Unreadable(f"{url}: more than {maximum_bytes} bytes")
    if response.status != 200:
        words = bytes(body[:200]).decode(errors="replace").strip()
        raise Unreadable(f"{url}: status {response.status}: {words}")
    return bytes(body)


async def read_table(fetch: Fetch, target: Target) -> RoundTable:
    """Read the round table of this very job.

    Raises:
        Unreadable: it cannot be read, or at that address answers the aggregator of another job.
    """
    body = await fetch(target, "/v1/status", MAXIMUM_TABLE_BYTES)
    try:
        table = RoundTable.model_validate_json(body)
    except ValidationError as error:
        raise Unreadable(f"/v1/status is no round table of this version: {error.errors()[0]['msg']}") from error
    if table.uid != target.uid:
        raise Unreadable(f"at its address answers the aggregator of another job, {table.job} ({table.uid})")
    return table
