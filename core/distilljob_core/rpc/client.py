"""A student's side of the exchange: numpy and gRPC only, for trainers in any framework.

Shapes: N rows of a block, K classes.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import ChecksumMismatch, Conflict, NotOpen, Retryable, RowsOutOfRange
from distilljob_core.exchange import (
    CloseRecord,
    Directive,
    Identity,
    Joined,
    NeedRows,
    NotYet,
    Offer,
    Report,
    RoundKey,
    SplitShape,
)
from distilljob_core.results import StudentSummary
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc import messages
from distilljob_core.rpc.channel import Connection
from distilljob_core.rpc.methods import METHODS, deserializer, serializer, token_to_metadata
from distilljob_core.rpc.retry import is_damage, is_network_failure, retrying, translate
from distilljob_core.rpc.streams import STALL_SECONDS, TeacherStream, UploadStream, publish_file
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split, pack, rows_per_frame

UNARY_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 30.0
"""The aggregator answers Wait within 20 s."""

Probabilities = NDArray[np.float32]
"""One block of rows, [N, K]; each row sums to 1."""
LabelSource = Callable[[int], Iterator[Probabilities]]
"""Gives the soft labels of a split from a row on, block by block, always the same for the same weights."""


class AggregatorClient:
    """Speaks for one attempt of one student. Calls may be made from several threads at once.

    Every call but `heartbeat` is made again until it succeeds, with pauses of at most 5 s, when the aggregator cannot
    be reached or answers with a Retryable error; `close` ends that. All other errors of distilljob_core.errors are
    raised as the aggregator raised them: one of exit codes 80 to 89 means that this process must stop.

    Args:
        address: host:port, or file:PATH of a file that holds it; read again before every new connection.
        tls_dir: holds tls.crt, tls.key and ca.crt; the certificate's only URI SAN is names.student_identity().
        on_progress: called at every acknowledgement, fetched block, published chunk and retry, from any thread:
            signs that nothing hangs.
        stall_seconds: a stream without progress for this long is begun again.
    """

    def __init__(
        self,
        address: str,
        *,
        tls_dir: Path | None = None,
        on_progress: Callable[[], None] = lambda: None,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._connection = Connection(address, tls_dir)
        self._on_progress = on_progress
        self._stall_seconds = stall_seconds
        self._stopping = threading.Event()
        self._retry = retrying(self._stopping, on_progress)
        self._splits: Mapping[Split, SplitShape] = {}
        self._joined: Joined | None = None

    def join(self, who: Identity, splits: Mapping[Split, SplitShape], *, closed_seen: int = 0) -> Joined:
        """Introduce this attempt; the first call to make.

        Args:
            who: this attempt.
            splits: size and fingerprint of the training and the evaluation set.
            closed_seen: the newest cycle whose close record this student has seen; 0 = none.
        """
        request = messages.join_to_message(who, splits, closed_seen)
        self._splits = dict(splits)
        self._joined = messages.joined_from_message(self._retry(self._unary, "Join", request))
        return self._joined

    def heartbeat(self, report: Report) -> Directive:
        """Say where this student is. Made once: when the aggregator is away, the next heartbeat is the retry."""
        try:
            reply = self._unary("Heartbeat", messages.report_to_message(self._token, report))
        except (Retryable, ChecksumMismatch, grpc.RpcError) as error:
            if isinstance(error, Retryable) or is_network_failure(error) or is_damage(error):
                return Directive.GO_ON
            raise
        return Directive(reply.directive)

    def open(self, offer: Offer) -> int | CloseRecord:
        """Announce soft labels; gives the next row wanted, or the record of a round that is closed already."""
        return messages.open_from_message(self._retry(self._unary, "Open", self._open_request(offer)))

    def upload(self, offer: Offer, labels: LabelSource) -> CloseRecord | None:
        """Bring all rows of a round; returns when they are durable, or with its record when the round is closed.

        Frames travel while the next block is computed. After a broken stream the aggregator is asked again from which
        row on it wants them, and `labels` begins anew there.

        Raises:
            Conflict: the same source digest gave other bytes, twice.
            RowsOutOfRange: `labels` gave rows that are no distributions.
        """
        try:
            return self._retry(self._upload_once, offer, labels)
        except Conflict:
            fresh = replace(offer, source_digest=f"{offer.source_digest}-{secrets.token_hex(4)}")
            return self._retry(self._upload_once, fresh, labels)

    def wait(self, key: RoundKey) -> CloseRecord | NeedRows | NotYet:
        """Wait up to 20 s for a round to be closed and its teacher stored."""
        request = pb.WaitRequest(token=self._token, round=messages.round_to_message(key))
        return messages.wait_from_message(self._retry(self._unary, "Wait", request, WAIT_SECONDS))

    def teacher(self, key: RoundKey, first_row: int = 0) -> Iterator[tuple[int, Probabilities]]:
        """Fetch the teacher of a closed round from a row on, as (first row, rows [N, K]) without gaps.

        A broken stream goes on at the next row. The rows are what every other student gets, bit for bit.
        """
        shape = self._splits[key.split]
        start = partial(self._start_result, key)
        stream = TeacherStream(start, key, shape.num_classes, codec(self._plan.codec), first_row, self._stall_seconds)
        try:
            while stream.next_row < shape.num_rows:
                yield self._retry(stream.next_block)
                self._on_progress()
        finally:
            stream.close()

    def publish(self, path: Path, name: str) -> None:
        """Bring one file into the results volume; waits while that is full. The name begins with the student's."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        header = pb.PublishHeader(token=self._token, name=name, size_bytes=path.stat().st_size, sha256=digest)
        self._retry(self._publish_once, path, header)

    def finish(self, summary: StudentSummary) -> None:
        """Leave the terminal record; the process may exit after this."""
        text = summary.model_dump_json(by_alias=True)
        self._retry(self._unary, "Finish", pb.FinishRequest(token=self._token, summary_json=text))

    def close(self) -> None:
        """End all calls and retries, in all threads."""
        self._stopping.set()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _plan(self) -> Joined:
        if self._joined is None:
            raise RuntimeError("call join() first")
        return self._joined

    @property
    def _token(self) -> int:
        return self._plan.token

    def _call(self, name: str) -> Any:
        method = METHODS[name]
        make = getattr(self._connection.channel(), method.kind)
        return make(method.path, serializer(method.request), deserializer(method.reply))

    def _unary(self, name: str, request: Any, timeout_seconds: float = UNARY_SECONDS) -> Any:
        try:
            return self._call(name)(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise translate(error) from error

    def _open_request(self, offer: Offer) -> pb.OpenRequest:
        return messages.offer_to_message(self._token, offer)

    def _upload_once(self, offer: Offer, labels: LabelSource) -> CloseRecord | None:
        answer = messages.open_from_message(self._unary("Open", self._open_request(offer)))
        if isinstance(answer, CloseRecord):
            return answer
        if answer < self._splits[offer.round.split].num_rows:
            self._stream_rows(offer, answer, labels(answer))
        return None

    def _stream_rows(self, offer: Offer, first_row: int, blocks: Iterator[Probabilities]) -> None:
        stream = UploadStream(self._start_upload, self._on_progress, self._stall_seconds)
        try:
            for frame in self._frames(offer, first_row, blocks):
                stream.send(frame)
            stream.finish()
        except grpc.RpcError as broken:
            error = translate(broken)
            if isinstance(error, NotOpen):
                raise Retryable("the round was closed during the upload") from broken
            raise error from broken
        finally:
            stream.close()

    def _frames(self, offer: Offer, first_row: int, blocks: Iterator[Probabilities]) -> Iterator[bytes]:
        encoding = codec(offer.codec)
        shape = self._splits[offer.round.split]
        bytes_per_row = encoding.bytes_per_row(shape.num_classes)
        num_rows = rows_per_frame(bytes_per_row)
        cycle, split = offer.round.cycle, offer.round.split
        for block_NK in blocks:
            rows = encoding.encode(block_NK)
            for start in range(0, len(rows), num_rows):
                piece = rows[start : start + num_rows]
                yield pack(piece, cycle=cycle, split=split, first_row=first_row, bytes_per_row=bytes_per_row)
                first_row += len(piece)
        if first_row != shape.num_rows:
            raise RowsOutOfRange(f"labels ended at row {first_row} of {shape.num_rows} of {offer.round}")

    def _start_upload(self, frames: Iterator[bytes]) -> Any:
        return self._call("Upload")(frames, metadata=(token_to_metadata(self._token),))

    def _start_result(self, key: RoundKey, first_row: int) -> Any:
        request = pb.ResultRequest(token=self._token, round=messages.round_to_message(key), first_row=first_row)
        return self._call("Result")(request)

    def _publish_once(self, path: Path, header: pb.PublishHeader) -> None:
        publish_file(self._call("Publish").future, path, header, self._on_progress, self._stall_seconds)
