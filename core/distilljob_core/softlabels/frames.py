"""Frames: about 1 MiB of encoded rows with a header that says which ones, and a checksum over both.

A frame's bytes are the message `Frame{bytes header = 1; bytes rows = 2}` of aggregator.proto, written by hand so that
rows are copied once and never parsed. The header is 32 bytes, little-endian:

    version u16 | split u16 | cycle u32 | first row u64 | rows u64 | xxh3_64 of the 24 bytes before and the rows, u64
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64

from distilljob_core.errors import BadFrame, ChecksumMismatch

FRAME_VERSION: Final = 1
TARGET_BYTES: Final = 2**20
MAXIMUM_FRAME_BYTES: Final = 4 * TARGET_BYTES
"""A frame above this is refused unread; also the limit for messages on the wire."""

Rows = bytes | memoryview | NDArray[np.uint8]
"""Encoded rows: contiguous bytes."""

_PLACE = struct.Struct("<HHIQQ")
_CHECKSUM = struct.Struct("<Q")
_HEADER_BYTES: Final = _PLACE.size + _CHECKSUM.size
_HEADER_TAG: Final = 0x0A
_ROWS_TAG: Final = 0x12


class Split(IntEnum):
    """Which rows a round is about; the numbers are those of aggregator.proto."""

    TRAIN = 1
    EVALUATION = 2


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Which rows a frame carries. Equal checksums mean equal headers and equal bytes."""

    cycle: int
    split: Split
    first_row: int
    num_rows: int
    checksum: int


def rows_per_frame(bytes_per_row: int) -> int:
    """Whole rows that make a frame of about 1 MiB; at least one."""
    return max(1, TARGET_BYTES // bytes_per_row)


def pack(rows: Rows, *, cycle: int, split: Split, first_row: int, bytes_per_row: int) -> bytes:
    """Make the frame of these encoded rows; copies them once."""
    view = np.frombuffer(rows, np.uint8).data
    place = _PLACE.pack(FRAME_VERSION, split, cycle, first_row, view.nbytes // bytes_per_row)
    header = place + _CHECKSUM.pack(_checksum(place, view))
    prefix = (bytes((_HEADER_TAG, _HEADER_BYTES)), header, bytes((_ROWS_TAG,)), _encode_varint(view.nbytes))
    return b"".join((*prefix, view))


def unpack(frame: bytes | memoryview, bytes_per_row: int) -> tuple[FrameHeader, memoryview]:
    """Read a frame; the rows are a view into it.

    Both fields must be there once, in either order, and nothing else.

    Raises:
        BadFrame: no such message, another version, an unknown split, too large, or not `num_rows` rows of that size.
        ChecksumMismatch: header or rows were damaged.
    """
    if len(frame) > MAXIMUM_FRAME_BYTES:
        raise BadFrame(f"frame of {len(frame)} bytes; the limit is {MAXIMUM_FRAME_BYTES}")
    fields = _fields(memoryview(frame))
    if fields.keys() != {_HEADER_TAG, _ROWS_TAG} or len(fields[_HEADER_TAG]) != _HEADER_BYTES:
        raise BadFrame(f"frame without a {_HEADER_BYTES}-byte header or without rows")
    header, rows = fields[_HEADER_TAG], fields[_ROWS_TAG]
    (checksum,) = _CHECKSUM.unpack_from(header, _PLACE.size)
    if checksum != _checksum(header[: _PLACE.size], rows):
        raise ChecksumMismatch("a frame was damaged on its way; send it again")
    version, split, cycle, first_row, num_rows = _PLACE.unpack_from(header)
    if version != FRAME_VERSION:
        raise BadFrame(f"frame of version {version}; this side speaks version {FRAME_VERSION}")
    if split not in tuple(Split):
        raise BadFrame(f"frame of split {split}; known are {', '.join(f'{known} ({known.name})' for known in Split)}")
    if not num_rows or len(rows) != num_rows * bytes_per_row:
        raise BadFrame(f"frame of {num_rows} rows carries {len(rows)} bytes; a row of this split has {bytes_per_row}")
    return FrameHeader(cycle, Split(split), first_row, num_rows, checksum), rows


def _checksum(place: bytes | memoryview, rows: memoryview) -> int:
    digest = xxh3_64(place)
    digest.update(rows)
    return digest.intdigest()


def _fields(frame: memoryview) -> dict[int, memoryview]:
    """Split a message into its length-delimited fields, by tag."""
    fields: dict[int, memoryview] = {}
    position = 0
    while position < len(frame):
        tag = frame[position]
        length, start = _decode_varint(frame, position + 1)
        position = start + length
        if tag in fields or position > len(frame):
            raise BadFrame(f"frame with a repeated or overlong field, tag {tag:#04x}")
        fields[tag] = frame[start:position]
    return fields


def _encode_varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _decode_varint(frame: memoryview, position: int) -> tuple[int, int]:
    """Read the number at this position; gives it and the position behind it."""
    value = 0
    for shift, byte in zip(range(0, 35, 7), frame[position : position + 5], strict=False):
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise BadFrame("frame with a field whose length does not end")
