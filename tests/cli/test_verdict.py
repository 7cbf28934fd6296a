import pytest

from distilljob.verdict import compare_accuracies


def test_a_difference_within_one_standard_error_is_called_so():
    # sqrt((0.97 * 0.03 + 0.965 * 0.035) / 797) = 0.0089
    assert compare_accuracies(0.97, 0.965, 797) == (
        "0.50 points more, within one binomial standard error (0.89 points, 797 test samples)"
    )


def test_a_larger_difference_is_called_so_in_both_directions():
    assert compare_accuracies(0.90, 0.95, 10_000) == (
        "5.00 points less, more than one binomial standard error (0.37 points, 10,000 test samples)"
    )


@pytest.mark.parametrize("num_samples", [None, 0])
def test_without_the_number_of_samples_no_error_is_claimed(num_samples):
    assert compare_accuracies(0.9, 0.9, num_samples) == "as much"


def test_perfect_scores_have_no_error():
    assert "within one binomial standard error (0.00 points" in compare_accuracies(1.0, 1.0, 10)
