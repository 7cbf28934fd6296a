"""Several runs on one page: side by side, and no claim that n does not carry."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from distilljob.report.configuration import differences
from distilljob.report.load import load_run
from distilljob.report.run import Run
from distilljob.report.verdicts import comparison

Maker = Callable[..., Any]
Page = Callable[..., str]


@pytest.fixture
def run(run_maker: Maker) -> Callable[..., Run]:
    """Make a run and read it."""

    def make(name: str, **spec: Any) -> Run:
        return load_run(run_maker(name, spec=spec).make(), name)

    return make


@pytest.fixture(scope="module")
def two(run_maker: Maker, page: Page) -> str:
    return page(run_maker("first").make(), run_maker("second", spec={"training": {"seed": 1}}).make())


def test_every_figure_and_row_of_several_runs_names_its_run(two: str) -> None:
    together = two[two.index('id="together"') : two.index('id="accuracy"')]
    apart = two[two.index('id="accuracy"') :]
    for figure in re.findall(r"<figure>.*?</figure>", together, flags=re.DOTALL):
        assert "first" in figure
        assert "second" in figure
    figures = re.findall(r"<figure>.*?</figure>", apart, flags=re.DOTALL)
    assert len(figures) >= 24
    assert all(re.search(r'<h3><span class="run">(first|second)</span>', figure) for figure in figures)
    results = two[two.index('id="results"') : two.index('id="differences"')]
    assert results.count("<td>first</td>") == results.count("<td>second</td>") == 3


def test_the_same_figure_of_several_runs_stands_side_by_side(two: str) -> None:
    losses = two[two.index('id="losses"') : two.index('id="calibration"')]
    rows = losses.split('<div class="figures">')[1:]
    assert len(rows) == 3
    assert all(re.findall(r'class="run">(\w+)<', row) == ["first", "second"] for row in rows)


def test_what_differs_between_the_jobs_is_listed_and_nothing_else(run: Callable[..., Run]) -> None:
    runs = [run("first"), run("second", method={"temperature": 5.0}, training={"seed": 4})]
    table = differences(runs)
    assert table.columns == ("field", "first", "second")
    assert sorted(table.rows) == [("method.temperature", "3.0", "5.0"), ("training.seed", "0", "4")]


def test_a_page_of_equal_jobs_with_an_unfinished_run_says_both(run_maker: Maker, page: Page) -> None:
    written = page(run_maker("done").make(), run_maker("open", accuracies=[(0.5,), (0.4,)]).make(finished=False))
    top = written[: written.index("<main>")]
    assert '<span class="run">open</span> This run has not finished.' in top
    assert "not finished</td>" in top
    assert "the jobs are equal in every field" in written


def test_runs_of_different_jobs_claim_nothing(run: Callable[..., Run]) -> None:
    told = comparison([run("md"), run("other", method={"temperature": 5.0})])
    assert told.startswith("2 runs of 2 configurations, n = 1 each. Numbers side by side are no test")


def test_groups_of_different_size_say_each_n(run: Callable[..., Run]) -> None:
    seeds = [run(f"seed-{seed}", training={"seed": seed}) for seed in range(2)]
    assert comparison([*seeds, run("other", method={"temperature": 5.0})]).startswith(
        "3 runs of 2 configurations, n = 2 and 1."
    )


def test_seeds_of_one_configuration_are_counted_as_n(run: Callable[..., Run]) -> None:
    assert comparison([run(f"seed-{seed}", training={"seed": seed}) for seed in range(3)]) == (
        "3 runs of one configuration, 3 seeds (n = 3): the ensemble reaches 93.00 % to 93.00 % on the test set."
    )


def test_one_seed_run_twice_counts_once(run: Callable[..., Run]) -> None:
    assert comparison([run("first"), run("second")]).endswith("They count as one: n = 1.")
