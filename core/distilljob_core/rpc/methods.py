"""The calls of the exchange: paths, kinds and serializers, once for client and server.

Soft-label frames pass through as bytes: they are valid `Frame` messages already (softlabels/frames.py), and
parsing them as messages would cost another copy of every row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from distilljob_core.rpc import aggregator_pb2 as pb

SERVICE: Final = "distilljob.v1alpha1.Aggregator"
TOKEN_METADATA: Final = "distilljob-token"  # noqa: S105 - a key, not a secret


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()


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
    return _unchanged if message is None else _to_bytes


def deserializer(message: type[Message] | None) -> Callable[[bytes], Any]:
    """Turn bytes into a message; None stands for frames."""
    return _unchanged if message is None else message.FromString


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
