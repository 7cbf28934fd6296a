"""A TCP proxy between students and aggregator that can be told to misbehave towards one student.

Students find the aggregator by the file `grpc.address`, which each new aggregator writes. The proxy puts its own
address there and forwards to the one it found. Only loopback.
"""

import asyncio
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 65_536
SLOW_BYTES, SLOW_SECONDS = 512, 0.05
"""A slow connection passes so many bytes, so often: 10 KB/s."""
WATCH_SECONDS = 0.002

KINDS = ("reset", "half-open", "slowed", "duplicated", "corrupted")


@dataclass(slots=True)
class Trouble:
    """How the connections of one student misbehave, and what came of it."""

    kind: str
    student: str
    until_seconds: float
    chunks_left: int
    """How many pieces are duplicated or corrupted."""
    rng: random.Random
    num_bytes: int = 0
    num_connections: int = 0
    upstream: bool = field(init=False)
    """Which direction is duplicated or corrupted: from the student, or to it."""

    def __post_init__(self) -> None:
        self.upstream = self.rng.random() < 0.5

    @property
    def proof(self) -> str:
        """What was done to live connections."""
        if self.kind == "reset":
            return f"{self.num_connections} live connections reset"
        towards = {True: " from the student", False: " to the student"}[self.upstream]
        verb = {"half-open": "silently dropped"}.get(self.kind, self.kind)
        return f"{self.num_bytes} bytes {verb}{towards if self.kind in ('duplicated', 'corrupted') else ''}"

    @property
    def landed(self) -> bool:
        """Whether a live connection felt it."""
        return self.num_bytes + self.num_connections > 0


class _Link:
    """One connection of a student, and its way on to the aggregator."""

    def __init__(self, student: str, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.student = student
        self.ends = ends
        self.is_cut = False

    def suffer(self, trouble: Trouble) -> None:
        """Feel what is done to connections as a whole, not to single pieces."""
        if trouble.kind == "reset":
            self.reset()
            trouble.num_connections += 1
        if trouble.kind == "half-open":
            self.is_cut = True

    def reset(self) -> None:
        """End it so that both ends are told by RST."""
        for end in self.ends:
            with suppress(OSError):  # closed already
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class Proxy:
    """Stands between the students of one run and its aggregators.

    Args:
        address_file: where aggregators write their address and students look for it.
        owner: gives the student to whom a local TCP port belongs.
    """

    def __init__(self, address_file: Path, owner: Callable[[int], str]) -> None:
        self._file = address_file
        self._owner = owner
        self._target: tuple[str, int] | None = None
        self._links: set[_Link] = set()
        self._troubles: dict[str, Trouble] = {}
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self.address = ""
        """Of the proxy itself."""
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._listening.wait()

    def close(self) -> None:
        """Stop; all connections end."""
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def trouble(self, kind: str, student: str, seconds: float, *, chunks: int, seed: int) -> Trouble:
        """Misbehave towards one student for a while; the newest trouble replaces the one before."""
        trouble = Trouble(kind, student, time.monotonic() + seconds, chunks, random.Random(seed))
        asyncio.run_coroutine_threadsafe(self._begin(trouble), self._loop).result()
        return trouble

    async def _begin(self, trouble: Trouble) -> None:
        self._troubles[trouble.student] = trouble
        for link in [link for link in self._links if link.student == trouble.student]:
            link.suffer(trouble)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        watching = asyncio.ensure_future(self._watch())
        self._listening.set()
        await self._stop.wait()
        server.close()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        watching.cancel()
        for link in list(self._links):
            link.reset()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _watch(self) -> None:
        """Put our address where an aggregator has just put its own."""
        while True:
            with suppress(OSError, ValueError):
                found = self._file.read_text().strip()
                if found != self.address:
                    host, port = found.rsplit(":", 1)
                    self._target = host, int(port)
                    temporary = self._file.with_suffix(".proxy")
                    temporary.write_text(f"{self.address}\n")
                    os.replace(temporary, self._file)
            await asyncio.sleep(WATCH_SECONDS)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*(self._target or ("127.0.0.1", 1)))
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self._owner(writer.get_extra_info("peername")[1]), (writer, onward_writer))
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, onward_writer, upstream=True),
                self._pump(link, onward_reader, writer, upstream=False),
            )
        finally:
            self._links.discard(link)

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, upstream: bool
    ) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                await self._pass_on(link, data, sink, upstream=upstream)
        except OSError:
            pass
        finally:
            if not link.is_cut:  # the end of a half-open connection does not reach the other side either
                sink.close()

    async def _pass_on(self, link: _Link, data: bytes, sink: asyncio.StreamWriter, *, upstream: bool) -> None:
        trouble = self._current(link)
        if trouble is not None and not trouble.landed:
            link.suffer(trouble)
        if link.is_cut:
            if trouble is not None:
                trouble.num_bytes += len(data)
            return
        for piece in _treated(data, trouble, upstream):
            sink.write(piece)
            await sink.drain()
            if trouble is not None and trouble.kind == "slowed":
                await asyncio.sleep(SLOW_SECONDS)

    def _current(self, link: _Link) -> Trouble | None:
        trouble = self._troubles.get(link.student)
        return trouble if trouble is not None and time.monotonic() <= trouble.until_seconds else None


def _treated(data: bytes, trouble: Trouble | None, upstream: bool) -> list[bytes]:
    """Give the pieces to pass on."""
    if trouble is None or trouble.kind in ("reset", "half-open"):
        return [data]
    if trouble.kind == "slowed":
        trouble.num_bytes += len(data)
        return [data[start : start + SLOW_BYTES] for start in range(0, len(data), SLOW_BYTES)]
    if trouble.upstream is not upstream or trouble.chunks_left == 0:
        return [data]
    trouble.chunks_left -= 1
    if trouble.kind == "duplicated":
        trouble.num_bytes += len(data)
        return [data, data]
    spoiled = bytearray(data)
    spoiled[trouble.rng.randrange(len(data))] ^= trouble.rng.randrange(1, 256)
    trouble.num_bytes += 1
    return [bytes(spoiled)]
