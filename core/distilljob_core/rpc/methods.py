"""The calls of the exchange: paths, kinds and serializers, once for client and server.

Soft-label frames pass through as bytes: they are valid `Frame` messages already (softlabels/frames.py), and
parsing them as messages would cost another copy of every row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from xxhash import xxh3_64_intdigest, xxh32_hexdigest

from distilljob_core.errors import ChecksumMismatch
from distilljob_core.rpc import aggregator_pb2 as pb

SERVICE: Final = "distilljob.v1alpha1.Aggregator"
TOKEN_METADATA: Final = "distilljob-token"  # noqa: S105 - a key, not a secret
_CHECKSUM_TAG: Final = b"\xf9\xff\xff\xff\x0f"
"""Field 536870911, the highest there is, eight bytes wide: no message ends like this by chance."""
_SEAL_BYTES: Final = len(_CHECKSUM_TAG) + 8


def _seal(content: bytes) -> bytes:
    return _CHECKSUM_TAG + xxh3_64_intdigest(content).to_bytes(8, "little")


def _sealed(message: Message) -> bytes:
    content = message.SerializeToString()
    return content + _seal(content)


def _unchanged(frame: bytes) -> bytes:
    return frame


@dataclass(frozen=True, slots=True)
class Method:
    """One call: how its two directions become bytes, and whether they are streams."""

    name: str
    request: type[Message] | None
    reply: type[Message] | None
    client_streams: bool = False
    server_streams: bool = False

    @property
    def path(self) -> str:
        """The call's full name on the wire."""
        return f"/{SERVICE}/{self.name}"

    @property
    def kind(self) -> str:
        """The name that grpc gives to this combination of streams, such as `unary_stream`."""
        sides = ("stream" if streams else "unary" for streams in (self.client_streams, self.server_streams))
        return "_".join(sides)


def serializer(message: type[Message] | None) -> Callable[[Any], bytes]:
    """Turn a message into bytes; None stands for frames, which are bytes already."""
    return _unchanged if message is None else _sealed


def deserializer(message: type[Message] | None) -> Callable[[bytes], Any]:
    """Turn bytes into a message; None stands for frames.

    What it gives raises ChecksumMismatch for a message that was damaged on the way; one without a checksum is taken.
    """
    return _unchanged if message is None else partial(_unsealed, message)


def _unsealed(kind: type[Message], data: bytes) -> Message:
    content, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    if not seal.startswith(_CHECKSUM_TAG):
        content = data
    elif seal != _seal(content):
        raise ChecksumMismatch(f"{kind.DESCRIPTOR.name} was damaged on the way")
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise ChecksumMismatch(f"{kind.DESCRIPTOR.name} is no such message, or was damaged on the way") from error


def token_to_metadata(token: int) -> tuple[str, str]:
    """Write a token as call metadata: the number, and what shows that it arrived as it was sent."""
    number = str(token)
    return TOKEN_METADATA, f"{number}-{xxh32_hexdigest(number.encode())}"


def token_from_metadata(text: str) -> int:
    """Read a token; the number alone will do.

    Raises:
        ChecksumMismatch: it was damaged on the way, or never was one.
    """
    number, has_checksum, checksum = text.partition("-")
    if not number.isdecimal() or (has_checksum and checksum != xxh32_hexdigest(number.encode())):
        raise ChecksumMismatch(f"call metadata {TOKEN_METADATA} is not the token that Join gave, as it gave it")
    return int(number)


METHODS: Final = {
    method.name: method
    for method in (
        Method("Join", pb.JoinRequest, pb.JoinReply),
        Method("Heartbeat", pb.HeartbeatRequest, pb.HeartbeatReply),
        Method("Open", pb.OpenRequest, pb.OpenReply),
        Method("Upload", None, pb.UploadAck, client_streams=True, server_streams=True),
        Method("Wait", pb.WaitRequest, pb.WaitReply),
        Method("Result", pb.ResultRequest, None, server_streams=True),
        Method("Publish", pb.PublishRequest, pb.PublishReply, client_streams=True),
        Method("Finish", pb.FinishRequest, pb.FinishReply),
    )
}
