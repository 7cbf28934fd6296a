"""Sums of rows are exact, and receivers agree on the renormalized rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from distilljob_core.errors import RowsOutOfRange
from distilljob_core.softlabels.grid import GRID, check_row_sums, renormalize, row_sums

ROWS = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(1, GRID).map(float))


@given(ROWS)
def test_row_sums_are_exact(u_NK):
    assert [int(total) for total in row_sums(u_NK)] == [sum(int(u) for u in row) for row in u_NK]


@given(ROWS)
def test_renormalized_entries_are_one_division_by_the_rounded_exact_sum(u_NK):
    u_NK = u_NK.astype(np.float32)
    for row, quotients in zip(u_NK, renormalize(u_NK), strict=True):
        total = np.float32(sum(int(u) for u in row))
        assert quotients.dtype == np.float32
        assert [float(p) for p in quotients] == [float(u / total) for u in row]


def test_renormalized_rows_sum_to_one_in_float32():
    rng = np.random.default_rng(3)
    for num_classes in (2, 10, 100, 1000):
        u_NK = np.rint(rng.dirichlet(np.full(num_classes, 0.1), size=50) * GRID * (1 + 9e-4))
        assert np.abs(renormalize(u_NK).sum(axis=1) - 1).max() <= 4 * np.finfo(np.float32).eps


def test_row_sums_may_be_off_by_a_thousandth_and_no_more():
    check_row_sums(np.array([[GRID * 1.0009, 0.0], [GRID * 0.9991, 0.0]]))
    with pytest.raises(RowsOutOfRange, match=r"row 1 of the block sums to 1\.0011"):
        check_row_sums(np.array([[GRID * 1.0, 0.0], [GRID * 1.0011, 0.0]]))


def test_an_infinite_or_missing_entry_is_no_distribution():
    for bad in (np.inf, np.nan):
        with pytest.raises(RowsOutOfRange):
            check_row_sums(np.array([[bad, 0.0]]))
