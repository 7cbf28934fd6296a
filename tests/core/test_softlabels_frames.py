"""Frames are protobuf messages, and nothing damaged or malformed passes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from distilljob_core.errors import BadFrame, ChecksumMismatch
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.softlabels.frames import (
    MAXIMUM_FRAME_BYTES,
    TARGET_BYTES,
    FrameHeader,
    Split,
    pack,
    rows_per_frame,
    unpack,
)

ROWS = bytes(range(24))
FRAME = pack(ROWS, cycle=3, split=Split.TRAIN, first_row=1000, bytes_per_row=8)
ROWS_START = len(FRAME) - len(ROWS)


def frame_with(*, version: int = 1, split: int = 1, num_rows: int = 3, rows: bytes = ROWS) -> bytes:
    """A frame with a right checksum over whatever it says."""
    place = struct.pack("<HHIQQ", version, split, 3, 1000, num_rows)
    header = place + struct.pack("<Q", xxh3_64_intdigest(place + rows))
    return pb.Frame(header=header, rows=rows).SerializeToString()


@given(
    rows=st.binary(min_size=1, max_size=300).flatmap(lambda row: st.integers(1, 100).map(lambda times: row * times)),
    cycle=st.integers(0, 2**32 - 1),
    split=st.sampled_from(Split),
    first_row=st.integers(0, 2**64 - 1),
)
def test_frames_come_back_as_they_were_packed_and_are_protobuf_messages(rows, cycle, split, first_row):
    frame = pack(rows, cycle=cycle, split=split, first_row=first_row, bytes_per_row=1)
    header, unpacked = unpack(frame, 1)
    assert unpacked == rows
    assert header == FrameHeader(cycle, split, first_row, len(rows), header.checksum)
    message = pb.Frame.FromString(frame)
    assert message.rows == rows
    assert message.SerializeToString() == frame


def test_rows_may_be_an_encoded_array_or_a_view():
    array = np.frombuffer(ROWS, np.uint8).reshape(3, 8)
    for rows in (array, memoryview(ROWS), memoryview(array)):
        assert pack(rows, cycle=3, split=Split.TRAIN, first_row=1000, bytes_per_row=8) == FRAME


def test_unpacked_rows_are_a_view_into_the_frame():
    for frame in (FRAME, memoryview(FRAME)):
        _, rows = unpack(frame, 8)
        assert rows.obj is FRAME


def test_splits_have_the_numbers_of_the_contract():
    assert {split.name: split.value for split in Split} == {
        name.removeprefix("SPLIT_"): number for name, number in pb.Split.items() if number
    }


def test_fields_may_come_in_either_order():
    message = pb.Frame.FromString(FRAME)
    header, rows = (pb.Frame(header=message.header), pb.Frame(rows=message.rows))
    swapped = rows.SerializeToString() + header.SerializeToString()
    assert swapped != FRAME
    assert unpack(swapped, 8) == unpack(FRAME, 8)


@pytest.mark.parametrize("position", range(len(FRAME)))
def test_no_single_damaged_byte_passes(position):
    for value in set(range(256)) - {FRAME[position]}:
        damaged = bytearray(FRAME)
        damaged[position] = value
        with pytest.raises(BadFrame) as refusal:
            unpack(bytes(damaged), 8)
        if position >= ROWS_START:
            assert refusal.type is ChecksumMismatch


@pytest.mark.parametrize("length", range(len(FRAME)))
def test_no_frame_cut_short_passes(length):
    with pytest.raises(BadFrame):
        unpack(FRAME[:length], 8)


@given(st.binary(max_size=100), st.integers(1, 10))
def test_random_bytes_never_pass_and_raise_nothing_else(garbage, bytes_per_row):
    with pytest.raises(BadFrame):
        unpack(garbage, bytes_per_row)


@given(st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_a_frame(garbage):
    with pytest.raises(BadFrame):
        unpack(FRAME + garbage, 8)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(frame_with(version=2), "version 2; this side speaks version 1", id="other-version"),
        pytest.param(frame_with(split=0), r"split 0; known are 1 \(TRAIN\), 2 \(EVALUATION\)", id="no-split"),
        pytest.param(frame_with(split=3), "split 3", id="unknown-split"),
        pytest.param(frame_with(num_rows=4), "4 rows carries 24 bytes; a row of this split has 8", id="too-few-rows"),
        pytest.param(frame_with(num_rows=0, rows=b""), "without", id="no-rows-field"),
        pytest.param(frame_with(num_rows=2**61), "rows", id="row-count-that-overflows"),
        pytest.param(FRAME[ROWS_START - 2 :], "without", id="no-header"),
        pytest.param(FRAME + FRAME, "repeated", id="two-frames"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\x01", "does not end", id="endless-length"),
        pytest.param(b"\x0a", "does not end", id="no-length"),
    ],
)
def test_malformed_frames_are_refused_with_the_reason(frame, message):
    with pytest.raises(BadFrame, match=message):
        unpack(frame, 8)


def test_a_frame_of_no_rows_is_refused():
    empty = b"\x12\x00"
    with pytest.raises(BadFrame, match="0 rows"):
        unpack(frame_with(num_rows=0, rows=b"") + empty, 8)


def test_oversized_frames_are_refused_before_they_are_read():
    with pytest.raises(BadFrame, match="the limit is"):
        unpack(bytes(MAXIMUM_FRAME_BYTES + 1), 8)


@pytest.mark.parametrize("bytes_per_row", [1, 20, 2000, TARGET_BYTES - 1, TARGET_BYTES, TARGET_BYTES + 1])
def test_frames_are_about_a_mebibyte_and_never_empty(bytes_per_row):
    num_rows = rows_per_frame(bytes_per_row)
    assert num_rows == 1 or TARGET_BYTES - bytes_per_row < num_rows * bytes_per_row <= TARGET_BYTES


@pytest.mark.parametrize("num_bytes", [1, 127, 128, 2**14 - 1, 2**14, TARGET_BYTES, 2**21])
def test_frames_of_every_size_come_back(num_bytes):
    rows = np.arange(num_bytes).astype(np.uint8)
    frame = pack(rows, cycle=1, split=Split.EVALUATION, first_row=0, bytes_per_row=1)
    assert unpack(frame, 1)[1] == rows.tobytes()
    assert pb.Frame.FromString(frame).rows == rows.tobytes()


def test_equal_checksums_need_equal_places_and_bytes():
    frames = [
        pack(rows, cycle=cycle, split=split, first_row=first_row, bytes_per_row=8)
        for rows in (ROWS, ROWS[::-1])
        for cycle in (3, 4)
        for split in Split
        for first_row in (0, 1000)
    ]
    assert len({unpack(frame, 8)[0].checksum for frame in frames}) == len(frames)
