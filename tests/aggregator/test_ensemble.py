"""The combination rule: integer weights, exact limits, one division."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_aggregator.ensemble import (
    MAXIMUM_WEIGHT_SUM,
    check_weight,
    check_weight_sum,
    mean_rows,
)
from distilljob_core.errors import Mismatch, SpecError
from distilljob_core.softlabels.grid import GRID


@pytest.mark.parametrize(
    ("rule", "weight", "num_correct"),
    [("Accuracy", 0, 0), ("Accuracy", 500, 500), ("Accuracy", 1000, 1000), ("Uniform", 1, 0), ("Uniform", 1, 1000)],
)
def test_weights_of_the_rule_pass(rule, weight, num_correct):
    check_weight(rule, weight, num_correct=num_correct, holdout_size=1000)


@pytest.mark.parametrize(
    ("rule", "weight", "demanded"),
    [("Accuracy", 0, 500), ("Accuracy", 501, 500), ("Uniform", 0, 1), ("Uniform", 500, 1)],
)
def test_a_weight_that_the_rule_cannot_give_is_refused(rule, weight, demanded):
    with pytest.raises(Mismatch, match=f"weight {weight} is not {demanded}, as spec.method.teacher.weights: {rule}"):
        check_weight(rule, weight, num_correct=500, holdout_size=1000)


@pytest.mark.parametrize(("rule", "weight"), [("Accuracy", -1), ("Accuracy", 1001), ("Uniform", 1)])
@pytest.mark.parametrize("num_correct", [-1, 1001])
def test_more_right_answers_than_samples_are_refused(rule, weight, num_correct):
    with pytest.raises(Mismatch, match=f"{num_correct} right answers cannot come from a hold-out of 1000 samples"):
        check_weight(rule, weight, num_correct=num_correct, holdout_size=1000)


def test_a_hold_out_of_no_samples_weighs_nobody():
    with pytest.raises(Mismatch, match="a hold-out of 0 samples"):
        check_weight("Accuracy", 0, num_correct=0, holdout_size=0)


def test_weights_may_sum_to_what_float64_counts_exactly_and_no_more():
    full_group = {f"student-{i}": 65_536 for i in range(64)}
    check_weight_sum(full_group)
    assert sum(full_group.values()) * GRID == 2**53
    with pytest.raises(SpecError, match=f"sum to 4194305, more than {MAXIMUM_WEIGHT_SUM}; lower spec.dataset.holdout"):
        check_weight_sum({**full_group, "student-0": 65_537})


@given(st.integers(0, 2**53), st.integers(1, MAXIMUM_WEIGHT_SUM))
def test_mean_is_the_correctly_rounded_quotient(total, weight_sum):
    mean = mean_rows(np.array([[float(total)]]), weight_sum)[0, 0]
    assert mean == float(Fraction(total, weight_sum))
