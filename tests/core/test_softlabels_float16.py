"""The Float16 codec: every code, the stated error bound, and what it refuses.

Shapes: N rows, K classes.
"""

from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from distilljob_core.errors import RowsOutOfRange, SpecError
from distilljob_core.softlabels.codecs import CODECS, codec
from distilljob_core.softlabels.grid import GRID

FLOAT16 = codec("Float16")


def grid_integers_of_all_codes() -> dict[int, int]:
    """By IEEE 754: the 16-bit codes whose value times 2^16 is an integer in [0, 2^31], and that integer."""
    codes = np.arange(2**16, dtype=np.uint16)
    values = {int(code): float(half) for code, half in zip(codes, codes.view(np.float16), strict=True)}
    exact = {code: Fraction(value) * 2**16 for code, value in values.items() if np.isfinite(value)}
    return {
        code: int(u) for code, u in exact.items() if u.denominator == 1 and 0 <= u <= GRID and not code >> 15
    }  # -0.0 is no code


VALID = grid_integers_of_all_codes()
SORTED = sorted(VALID.values())


def encode_one(p: float) -> int:
    return int(FLOAT16.encode(np.array([[p]], np.float32)).view("<u2")[0, 0])


def rows_around(code: int) -> bytes:
    """One row of two classes that sums to 1 as closely as codes allow, and holds this code."""
    other = FLOAT16.encode_grid(np.array([[GRID - VALID[code]]], np.float64)).view("<u2")[0, 0]
    return np.array([code, other], "<u2").tobytes()


def softmax(z_NK: NDArray[np.float64]) -> NDArray[np.float32]:
    e_NK = np.exp(z_NK - z_NK.max(axis=1, keepdims=True))
    return (e_NK / e_NK.sum(axis=1, keepdims=True)).astype(np.float32)


def test_every_valid_code_decodes_to_its_grid_integer_and_back_to_itself():
    for code, u in VALID.items():
        u_NK = FLOAT16.decode(rows_around(code), 2)
        assert u_NK[0, 0] == u
    u_NK = np.array([list(VALID.values())], np.float64)
    codes_NK = np.array([list(VALID)], "<u2")
    assert np.array_equal(FLOAT16.encode((u_NK / GRID).astype(np.float32)).view("<u2"), codes_NK)
    assert np.array_equal(FLOAT16.encode_grid(u_NK).view("<u2"), codes_NK)


def test_every_other_code_is_refused():
    for code in set(range(2**16)) - VALID.keys():
        with pytest.raises(RowsOutOfRange, match="row 1 of the block, class 0"):
            FLOAT16.decode(np.array([0x7400, 0x7400, code, 0x7800], "<u2").tobytes(), 2)  # 1/2, 1/2, ?, 1


@given(st.floats(0, 1, width=32))
def test_error_stays_within_the_stated_bound(p: float):
    u = VALID[encode_one(p)]
    assert abs(Fraction(u, GRID) - Fraction(p)) <= Fraction(p) / 2**11 + Fraction(1, 2**32)


def test_error_stays_within_the_stated_bound_beside_every_rounding_edge():
    edges = (np.array(SORTED[:-1]) + np.array(SORTED[1:])) / (2 * GRID)
    for toward in (0.0, 0.5, 1.0):
        p_NK = np.nextafter(edges.astype(np.float32), np.float32(toward))[np.newaxis]
        decoded = np.array([VALID[int(code)] for code in FLOAT16.encode(p_NK).view("<u2")[0]]) / GRID
        assert (np.abs(decoded - p_NK[0].astype(np.float64)) <= p_NK[0] * 2.0**-11 + 2.0**-32).all()


@given(st.floats(0, 1, width=32))
def test_encode_is_the_published_recipe(p: float):
    x = (np.float32(p) * np.float32(2**15) + np.float32(192)) - np.float32(192)
    assert encode_one(p) == int(np.float16(x).view(np.uint16))


@given(st.floats(0, GRID))
def test_encode_grid_rounds_once_to_the_nearest_code(u: float):
    after = bisect_left(SORTED, u)
    candidates = SORTED[max(0, after - 1) : after + 1]
    distances = [abs(Fraction(candidate) - Fraction(u)) for candidate in candidates]
    encoded = VALID[int(FLOAT16.encode_grid(np.array([[u]])).view("<u2")[0, 0])]
    assert encoded in candidates
    assert abs(Fraction(encoded) - Fraction(u)) == min(distances)


@pytest.mark.parametrize("shift", [0, 1, 10, 20])
def test_encode_grid_rounds_ties_to_even(shift: int):
    ties = np.array([[1024.5, 1025.5, 1026.5, 1027.5]]) * 2**shift
    encoded = FLOAT16.encode_grid(ties).view("<u2")[0]
    assert [VALID[int(code)] // 2**shift for code in encoded] == [1024, 1026, 1026, 1028]


def test_softmax_rows_survive_the_codec_at_every_temperature():
    rng = np.random.default_rng(7)
    for num_classes in (2, 10, 1000):
        for temperature in (0.5, 1.0, 3.0, 9.0):
            p_NK = softmax(rng.normal(size=(64, num_classes)) * 10 / temperature)
            encoded = FLOAT16.encode(p_NK)
            assert encoded.shape == (64, FLOAT16.bytes_per_row(num_classes))
            u_NK = FLOAT16.decode(encoded.tobytes(), num_classes)
            assert np.array_equal(u_NK, np.rint(u_NK))
            assert (np.abs(u_NK / GRID - p_NK) <= p_NK * 2.0**-11 + 2.0**-32).all()


def test_small_codes_survive_a_library_that_flushes_subnormals():
    """Codes of u = 1, 2, 3 are subnormal halves; no step may pass through a subnormal float."""
    import torch

    u_NK = np.array([[GRID, 1, 2, 3]], np.float64)
    assert torch.set_flush_denormal(True)
    try:
        assert np.float32(1e-38) * np.float32(0.1) == 0
        codes = FLOAT16.encode((u_NK / GRID).astype(np.float32))
        assert np.array_equal(FLOAT16.encode_grid(u_NK), codes)
        assert np.array_equal(FLOAT16.decode(codes.tobytes(), 4), u_NK)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-3, 1.001, 3e38])
def test_encode_refuses_what_is_no_probability_and_names_it(bad: float):
    p_NK = np.full((3, 4), 0.25, np.float32)
    p_NK[1, 2] = bad
    for encode in (lambda: FLOAT16.encode(p_NK), lambda: FLOAT16.encode_grid(p_NK.astype(np.float64) * GRID)):
        with pytest.raises(RowsOutOfRange, match="row 1 of the block, class 2"):
            encode()


@pytest.mark.parametrize("payload_bits", [0x7FFFFFFF, 0xFFFFFFFF, 0xFFC00000])
def test_encode_refuses_nan_of_any_payload(payload_bits: int):
    p_NK = np.array([[payload_bits]], np.uint32).view(np.float32)
    with pytest.raises(RowsOutOfRange):
        FLOAT16.encode(p_NK)


@pytest.mark.parametrize("total", [0.0, 0.5, 0.998, 1.002, 2.0])
def test_decode_refuses_rows_that_do_not_sum_to_one(total: float):
    p_NK = np.array([[0.5, 0.5], [total / 2, total / 2]], np.float32)
    with pytest.raises(RowsOutOfRange, match=r"row 1 of the block sums to"):
        FLOAT16.decode(FLOAT16.encode(p_NK).tobytes(), 2)


def test_decode_refuses_a_part_of_a_row():
    with pytest.raises(RowsOutOfRange, match="7 bytes"):
        FLOAT16.decode(bytes(7), 2)


@given(st.binary(max_size=64), st.integers(1, 8))
def test_decode_of_garbage_never_raises_anything_else(rows: bytes, num_classes: int):
    try:
        u_NK = FLOAT16.decode(rows, num_classes)
    except RowsOutOfRange:
        return
    assert np.array_equal(u_NK, np.rint(u_NK))
    assert (np.abs(u_NK.sum(axis=1, dtype=np.float64) / GRID - 1) <= 1e-3).all()


def test_decode_leaves_its_input_alone_and_takes_views_at_odd_offsets():
    rows = FLOAT16.encode(np.full((5, 4), 0.25, np.float32)).tobytes()
    shifted = memoryview(b"x" + rows)[1:]
    assert np.array_equal(FLOAT16.decode(shifted, 4), FLOAT16.decode(rows, 4))
    assert shifted == rows


def test_encode_leaves_its_input_alone():
    p_NK = np.full((2, 3), 1 / 3, np.float32)
    u_NK = np.full((2, 3), GRID / 3)
    FLOAT16.encode(p_NK)
    FLOAT16.encode_grid(u_NK)
    assert (p_NK == np.float32(1 / 3)).all()
    assert (u_NK == GRID / 3).all()


def test_codecs_are_found_by_the_name_in_the_resource():
    assert all(codec(name).name == name for name in CODECS)
    with pytest.raises(SpecError, match="'Log8' is not supported; use one of Float16"):
        codec("Log8")
