"""The running sum is exact: no order, no withdrawn student, no thread shows in the teacher's bits.

The reference is plain integers and fractions. Shapes: M students, N rows, K classes.
"""

import tracemalloc
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilljob_aggregator.accumulator import SCRATCH_VALUES, Accumulator
from distilljob_aggregator.ensemble import MAXIMUM_WEIGHT_SUM
from distilljob_core.errors import RowsOutOfRange
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.grid import GRID

FLOAT16 = codec("Float16")
NUM_ROWS, NUM_CLASSES = 50, 7


def labels_of(num_students: int, seed: int, num_rows: int = NUM_ROWS, num_classes: int = NUM_CLASSES):
    """Decoded soft labels of a group, [M, N, K], and accuracies as weights."""
    rng = np.random.default_rng(seed)
    weights = [int(weight) for weight in rng.integers(1, 65_537, num_students)]
    rows = [rng.dirichlet(np.full(num_classes, 0.3), num_rows).astype(np.float32) for _ in range(num_students)]
    return [FLOAT16.decode(FLOAT16.encode(p_NK).tobytes(), num_classes) for p_NK in rows], weights


def blocks_of(labels, rng) -> list[tuple[int, int, int]]:
    """Student, first row and row behind the last of every block, in any order."""
    blocks = []
    for student, u_NK in enumerate(labels):
        cuts = [0, *sorted({int(cut) for cut in rng.integers(1, len(u_NK), 4)}), len(u_NK)]
        blocks += [(student, first, last) for first, last in pairwise(cuts)]
    rng.shuffle(blocks)
    return [tuple(int(number) for number in block) for block in blocks]


def teacher_of(labels, weights, blocks) -> bytes:
    accumulator = Accumulator(*labels[0].shape)
    for student, first, last in blocks:
        accumulator.add(first, labels[student][first:last], weights[student])
    return accumulator.teacher_rows(0, len(labels[0]), sum(weights), FLOAT16).tobytes()


def in_order(labels) -> list[tuple[int, int, int]]:
    return [(student, 0, len(u_NK)) for student, u_NK in enumerate(labels)]


def reference_teacher(labels, weights) -> bytes:
    """acc / W in fractions, rounded to float64 by definition, then to the nearest code, ties to even."""
    halves = np.arange(0x7801, dtype=np.uint16)
    exact = [Fraction(float(half)) * 2**16 for half in halves.view(np.float16)]
    codes = {int(u): int(code) for u, code in zip(exact, halves, strict=True) if u.denominator == 1}
    grid = sorted(codes)

    def nearest(u: float) -> int:
        after = bisect_left(grid, u)
        around = grid[max(0, after - 1) : after + 1]
        return min(around, key=lambda candidate: (abs(candidate - Fraction(u)), is_odd(candidate)))

    def is_odd(u: int) -> int:
        return u >> max(0, u.bit_length() - 11) & 1

    sums = sum(np.vectorize(int, otypes=[object])(u_NK) * weight for u_NK, weight in zip(labels, weights, strict=True))
    means = [float(Fraction(total, sum(weights))) for total in sums.flat]
    return np.array([codes[nearest(mean)] for mean in means], "<u2").tobytes()


@pytest.mark.parametrize("num_students", [1, 2, 3, 64])
def test_teacher_is_the_weighted_mean_in_integers_and_fractions(num_students):
    labels, weights = labels_of(num_students, seed=num_students)
    assert teacher_of(labels, weights, in_order(labels)) == reference_teacher(labels, weights)


def test_teacher_of_64_students_is_independent_of_arrival_order():
    labels, weights = labels_of(64, seed=1)
    expected = teacher_of(labels, weights, in_order(labels))
    for seed in range(20):
        assert teacher_of(labels, weights, blocks_of(labels, np.random.default_rng(seed))) == expected


def test_sums_of_plain_float32_probabilities_would_depend_on_the_order():
    """Shows that the test above can fail."""
    labels, weights = labels_of(64, seed=1)

    def teacher(order) -> bytes:
        total = sum((labels[i] / GRID * np.float32(weights[i]) for i in order), np.zeros_like(labels[0]))
        return (total / np.float32(sum(weights))).tobytes()

    assert teacher(range(64)) != teacher(reversed(range(64)))


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.data())
def test_teacher_shows_no_trace_of_withdrawn_students(num_students, seed, data):
    labels, weights = labels_of(num_students, seed)
    stays = data.draw(st.lists(st.booleans(), min_size=num_students, max_size=num_students).filter(any))
    kept_labels = [u_NK for u_NK, here in zip(labels, stays, strict=True) if here]
    kept_weights = [weight for weight, here in zip(weights, stays, strict=True) if here]
    expected = teacher_of(kept_labels, kept_weights, in_order(kept_labels))

    rng = np.random.default_rng(seed)
    accumulator = Accumulator(NUM_ROWS, NUM_CLASSES)
    blocks = blocks_of(labels, rng)
    events = [(1, block) for block in blocks]
    for block in blocks:
        if not stays[block[0]]:
            behind = next(i for i, event in enumerate(events) if event[1] == block) + 1
            events.insert(int(rng.integers(behind, len(events) + 1)), (-1, block))
    for sign, (student, first, last) in events:
        accumulator.add(first, labels[student][first:last], sign * weights[student])
    assert accumulator.teacher_rows(0, NUM_ROWS, sum(kept_weights), FLOAT16).tobytes() == expected


def test_the_largest_sum_is_exact_to_the_last_unit():
    accumulator = Accumulator(1, 2)
    accumulator.add(0, np.array([[0, 1]], np.float32), 1)
    for _ in range(64):
        accumulator.add(0, np.array([[GRID, 0]], np.float32), MAXIMUM_WEIGHT_SUM // 64)
    accumulator.add(0, np.array([[1, 0]], np.float32), -1)
    accumulator.add(0, np.array([[GRID, 0]], np.float32), 1 - MAXIMUM_WEIGHT_SUM)
    accumulator.add(0, np.array([[GRID - 2, 0]], np.float64), -1)
    teacher = accumulator.teacher_rows(0, 1, 1, FLOAT16)
    assert np.array_equal(teacher, FLOAT16.encode_grid(np.array([[1.0, 1.0]])))


def test_any_range_of_teacher_rows_is_a_part_of_the_whole():
    labels, weights = labels_of(3, seed=2)
    accumulator = Accumulator(NUM_ROWS, NUM_CLASSES)
    for u_NK, weight in zip(labels, weights, strict=True):
        accumulator.add(0, u_NK, weight)
    parts = [accumulator.teacher_rows(first, 7, sum(weights), FLOAT16) for first in range(0, NUM_ROWS, 7)]
    assert b"".join(part.tobytes() for part in parts) == teacher_of(labels, weights, in_order(labels))


def test_large_blocks_are_summed_like_small_ones():
    labels, weights = labels_of(3, seed=8, num_rows=SCRATCH_VALUES // 10, num_classes=25)
    sums = sum(u_NK.astype(np.int64) * weight for u_NK, weight in zip(labels, weights, strict=True))
    expected = FLOAT16.encode_grid(sums / sum(weights))
    assert teacher_of(labels, weights, in_order(labels)) == expected.tobytes()


def test_threads_may_share_the_sum():
    labels, weights = labels_of(32, seed=3, num_rows=2000, num_classes=50)
    accumulator = Accumulator(2000, 50)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda student: accumulator.add(0, labels[student], weights[student]), range(32)))
    expected = teacher_of(labels, weights, in_order(labels))
    assert accumulator.teacher_rows(0, 2000, sum(weights), FLOAT16).tobytes() == expected


@pytest.mark.parametrize(
    ("first_row", "shape"),
    [(-1, (2, NUM_CLASSES)), (NUM_ROWS - 1, (2, NUM_CLASSES)), (0, (NUM_ROWS + 1, NUM_CLASSES)), (0, (2, 1))],
)
def test_rows_that_the_split_does_not_have_are_refused_and_change_nothing(first_row, shape):
    labels, weights = labels_of(1, seed=4)
    accumulator = Accumulator(NUM_ROWS, NUM_CLASSES)
    accumulator.add(0, labels[0], weights[0])
    with pytest.raises(RowsOutOfRange, match=f"this split has {NUM_ROWS} rows of {NUM_CLASSES}"):
        accumulator.add(first_row, np.zeros(shape, np.float32), 1)
    expected = teacher_of(labels, weights, in_order(labels))
    assert accumulator.teacher_rows(0, NUM_ROWS, weights[0], FLOAT16).tobytes() == expected


def test_memory_stays_at_eight_bytes_a_value_however_many_blocks_arrive():
    num_rows, num_classes = 20_000, 100
    block = labels_of(1, seed=6, num_rows=5000, num_classes=num_classes)[0][0]
    tracemalloc.start()
    try:
        accumulator = Accumulator(num_rows, num_classes)
        for first_row in [*range(0, num_rows, 5000)] * 5:
            accumulator.add(first_row, block, 3)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * num_rows * num_classes + 2**20
