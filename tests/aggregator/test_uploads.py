"""Group commit of one stream, and its end."""

import asyncio

import pytest
from grpc.aio import EOF

from distilljob_aggregator import uploads
from distilljob_aggregator.uploads import UploadStream
from distilljob_core.errors import Busy, Fenced


class Sink:
    """Takes frames, and remembers what was asked in which order."""

    def __init__(self):
        self.log = []
        self.acknowledged = asyncio.Event()

    async def take(self, frame):
        self.log.append("take")
        return len(frame)

    async def sync(self):
        self.log.append("sync")
        return self.log.count("take")

    async def acknowledge(self, num_rows):
        self.log.append(num_rows)
        self.acknowledged.set()


def run(frames, *, sink=None, cut=None):
    """Run a stream of these frames; an awaitable among them is awaited before the next."""
    sink = sink or Sink()

    async def main():
        stream = UploadStream(sink.take, sink.sync)
        left = list(frames)

        async def read():
            while left and not isinstance(left[0], bytes):
                await left.pop(0)(sink, stream)
            return left.pop(0) if left else EOF

        await stream.run(read, sink.acknowledge)

    asyncio.run(main())
    return sink.log


async def until_acknowledged(sink, _):
    await sink.acknowledged.wait()


def test_nothing_is_acknowledged_before_it_is_durable():
    assert run([b"1", b"2"]) == ["take", "take", "sync", 2]


def test_an_empty_stream_syncs_nothing():
    assert run([]) == []


def test_rows_are_committed_while_the_student_computes_the_next():
    assert run([b"1", until_acknowledged, b"2"]) == ["take", "sync", 1, "take", "sync", 2]


def test_rows_are_committed_when_there_are_many(monkeypatch):
    monkeypatch.setattr(uploads, "COMMIT_BYTES", 4)
    assert run([b"12", b"34", b"5"]) == ["take", "take", "sync", 2, "take", "sync", 3]


def test_a_stream_that_stands_still_gives_its_place_away(monkeypatch):
    monkeypatch.setattr(uploads, "STALL_SECONDS", 0.01)

    async def forever(_, __):
        await asyncio.Event().wait()

    with pytest.raises(Busy, match="no rows came"):
        run([forever])


def test_a_cut_ends_the_stream_with_the_error_it_was_cut_with():
    async def cut(_, stream):
        stream.cut(Fenced("a newer attempt"))
        stream.cut(Busy("too late"))
        await asyncio.Event().wait()

    sink = Sink()
    with pytest.raises(Fenced, match="newer"):
        run([b"1", cut], sink=sink)
    assert sink.log == ["take"]
