"""The table of calls says what the contract for other languages says."""

from itertools import product

import pytest

from distilljob_core.errors import ChecksumMismatch
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc.methods import (
    METHODS,
    SERVICE,
    TOKEN_METADATA,
    deserializer,
    serializer,
    token_from_metadata,
    token_to_metadata,
)


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


OFFER = pb.OpenRequest(
    token=3,
    round=pb.Round(cycle=1, split=pb.SPLIT_TRAIN),
    weight=153,
    holdout_size=160,
    codec="Float16",
    source_digest="0123456789abcdef",
    cross_entropy=0.4,
    num_correct=153,
)


def test_no_damaged_byte_makes_another_message():
    sent = serializer(pb.OpenRequest)(OFFER)
    for position, flip in product(range(len(sent)), range(1, 256)):
        damaged = bytearray(sent)
        damaged[position] ^= flip
        try:
            assert deserializer(pb.OpenRequest)(bytes(damaged)).weight == OFFER.weight
        except ChecksumMismatch:
            continue


@pytest.mark.parametrize("bits", [0x01, 0x10])
def test_a_damaged_number_is_refused_with_words(bits):
    sent = bytearray(serializer(pb.OpenRequest)(OFFER))
    sent[1] ^= bits  # the token
    with pytest.raises(ChecksumMismatch, match="OpenRequest was damaged"):
        deserializer(pb.OpenRequest)(bytes(sent))


def test_clients_in_other_languages_may_leave_checksums_out():
    assert deserializer(pb.OpenRequest)(OFFER.SerializeToString()) == OFFER
    assert token_from_metadata("17") == 17


def test_tokens_travel_with_a_checksum():
    key, text = token_to_metadata(17)
    assert key == TOKEN_METADATA
    assert token_from_metadata(text) == 17
    for damaged in (text.replace("17", "16", 1), text.replace("-", "m"), text[:-1], f"{text}0", ""):
        with pytest.raises(ChecksumMismatch, match="not the token that Join gave"):
            token_from_metadata(damaged)
