"""The table of calls says what the contract for other languages says."""

from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc.methods import METHODS, SERVICE, deserializer, serializer


def test_the_table_of_calls_is_the_service_of_the_proto_file():
    service = pb.DESCRIPTOR.services_by_name["Aggregator"]
    assert service.full_name == SERVICE
    assert set(METHODS) == {method.name for method in service.methods}
    for method in service.methods:
        ours = METHODS[method.name]
        assert (ours.client_streams, ours.server_streams) == (method.client_streaming, method.server_streaming)
        assert _name(ours.request) == method.input_type.name
        assert _name(ours.reply) == method.output_type.name
        assert ours.path == f"/{service.full_name}/{method.name}"


def _name(message):
    return "Frame" if message is None else message.DESCRIPTOR.name


def test_kinds_are_spelled_as_grpc_spells_them():
    kinds = {name: method.kind for name, method in METHODS.items()}
    assert kinds["Join"] == "unary_unary"
    assert kinds["Upload"] == "stream_stream"
    assert kinds["Result"] == "unary_stream"
    assert kinds["Publish"] == "stream_unary"


def test_frames_pass_through_and_messages_are_encoded():
    frame = b"\x0a\x01x"
    assert serializer(None)(frame) is frame
    assert deserializer(None)(frame) is frame
    message = pb.WaitRequest(token=3)
    assert deserializer(pb.WaitRequest)(serializer(pb.WaitRequest)(message)) == message
