"""Streams that can be given up: each is read by a thread of its own, so that a stalled peer blocks nobody for ever."""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import BadFrame, DistillJobError, Retryable
from distilljob_core.exchange import RoundKey
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc.retry import translate
from distilljob_core.softlabels.codecs import Codec
from distilljob_core.softlabels.frames import unpack
from distilljob_core.softlabels.grid import renormalize

STALL_SECONDS: Final = 60.0
"""A stream that brings or takes nothing for this long is given up and begun again."""

_FRAMES_AHEAD: Final = 4
_CHUNK_BYTES: Final = 2**20
_END: Final = object()

T = TypeVar("T")


class Inbox(Generic[T]):
    """What a stream brings, in order, at most a few messages ahead of the reader."""

    def __init__(self, call: Any, messages_ahead: int = 0, on_message: Callable[[], None] = lambda: None) -> None:
        self._call = call
        self._on_message = on_message
        self._messages: queue.Queue[Any] = queue.Queue(messages_ahead)
        threading.Thread(target=self._read, name="distilljob-inbox", daemon=True).start()

    def next(self, stall_seconds: float = STALL_SECONDS) -> T | None:
        """Wait for the next message; None at the end of the stream.

        Raises:
            grpc.RpcError: the stream broke.
            Retryable: nothing came for this long; the stream is cancelled.
        """
        try:
            message = self._messages.get(timeout=stall_seconds)
        except queue.Empty as error:
            self.cancel()
            raise Retryable(f"the aggregator sent nothing for {stall_seconds:.0f} s") from error
        if isinstance(message, grpc.RpcError):
            raise message
        return None if message is _END else message

    def cancel(self) -> None:
        """End the stream and its thread, whoever waits."""
        self._call.cancel()
        _drain(self._messages)

    def _read(self) -> None:
        try:
            for message in self._call:
                self._messages.put(message)
                self._on_message()
            self._messages.put(_END)
        except grpc.RpcError as error:
            self._messages.put(error)


class UploadStream:
    """Frames out, acknowledgements in. Frames are sent by gRPC's own thread while the caller computes the next rows."""

    def __init__(
        self, start: Callable[[Iterator[bytes]], Any], on_durable: Callable[[], None], stall_seconds: float
    ) -> None:
        self._stall_seconds = stall_seconds
        self._frames: queue.Queue[bytes | None] = queue.Queue(_FRAMES_AHEAD)
        self._ended = threading.Event()
        self._call = start(iter(self._frames.get, None))
        self._acks: Inbox[pb.UploadAck] = Inbox(self._call, on_message=on_durable)
        if not self._call.add_callback(self._release):
            self._release()

    def send(self, frame: bytes) -> None:
        """Queue one frame; waits while the window is full.

        Raises:
            grpc.RpcError: the stream broke.
            Retryable: the aggregator took nothing for too long, or ended the stream too early.
        """
        self._put(frame)
        if self._ended.is_set():
            self.finish()
            raise Retryable("the aggregator ended the upload before its last row")

    def finish(self) -> None:
        """Say that no more rows come, and wait until all are durable. Errors: see `send`."""
        self._put(None)
        while self._acks.next(self._stall_seconds) is not None:
            pass

    def close(self) -> None:
        """End the stream, finished or not."""
        self._acks.cancel()
        self._release()

    def _put(self, frame: bytes | None) -> None:
        try:
            self._frames.put(frame, timeout=self._stall_seconds)
        except queue.Full as error:
            raise Retryable(f"the aggregator took nothing for {self._stall_seconds:.0f} s") from error

    def _release(self) -> None:
        """Unblock whoever fills or empties the queue of frames."""
        self._ended.set()
        _drain(self._frames)
        self._frames.put(None)


class TeacherStream:
    """The teacher's rows, block by block; begins again at the next row after a failure."""

    def __init__(
        self,
        start: Callable[[int], Any],
        key: RoundKey,
        num_classes: int,
        encoding: Codec,
        first_row: int,
        stall_seconds: float,
    ) -> None:
        self.next_row = first_row
        self._start = start
        self._key = key
        self._num_classes = num_classes
        self._encoding = encoding
        self._stall_seconds = stall_seconds
        self._inbox: Inbox[bytes] | None = None

    def next_block(self) -> tuple[int, NDArray[np.float32]]:
        """Give the next rows and where they begin.

        Raises:
            DistillJobError: as the aggregator raised it; ChecksumMismatch for a frame damaged on the way.
            grpc.RpcError: the stream broke.
        """
        try:
            return self._read_block()
        except grpc.RpcError as error:
            self.close()
            raise translate(error) from error
        except DistillJobError:
            self.close()
            raise

    def close(self) -> None:
        """End the stream; `next_block` begins another."""
        if self._inbox is not None:
            self._inbox.cancel()
            self._inbox = None

    def _read_block(self) -> tuple[int, NDArray[np.float32]]:
        if self._inbox is None:
            self._inbox = Inbox(self._start(self.next_row), _FRAMES_AHEAD)
        frame = self._inbox.next(self._stall_seconds)
        if frame is None:
            raise Retryable("the aggregator ended the teacher before its last row")
        header, rows = unpack(frame, self._encoding.bytes_per_row(self._num_classes))
        if (header.cycle, header.split, header.first_row) != (self._key.cycle, self._key.split, self.next_row):
            raise BadFrame(
                f"got row {header.first_row} of cycle {header.cycle}, asked for {self.next_row} of {self._key}"
            )
        probs_NK = renormalize(self._encoding.decode(rows, self._num_classes))
        self.next_row += header.num_rows
        return header.first_row, probs_NK


def publish_file(
    start: Callable[[Iterator[pb.PublishRequest]], Any],
    path: Path,
    header: pb.PublishHeader,
    on_chunk: Callable[[], None],
    stall_seconds: float,
) -> None:
    """Send one file and wait until it is durable.

    Raises:
        DistillJobError: as the aggregator raised it; ResultsFull when there is no room.
        Retryable: no chunk was taken for too long.
        grpc.RpcError: the stream broke.
    """
    num_taken = 0

    def parts() -> Iterator[pb.PublishRequest]:
        nonlocal num_taken
        yield pb.PublishRequest(header=header)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield pb.PublishRequest(chunk=chunk)
                num_taken += 1
                on_chunk()

    call = start(parts())
    num_seen = -1
    while num_taken > num_seen:
        num_seen = num_taken
        try:
            call.result(timeout=stall_seconds)
        except grpc.FutureTimeoutError:
            continue
        except grpc.RpcError as error:
            raise translate(error) from error
        return
    call.cancel()
    raise Retryable(f"the aggregator took nothing of {path.name} for {stall_seconds:.0f} s")


def _drain(messages: queue.Queue[Any]) -> None:
    while True:
        try:
            messages.get_nowait()
        except queue.Empty:
            return
