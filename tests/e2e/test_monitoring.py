"""A real Prometheus that scraped a real run: every query of the dashboards has data, and the right alert fires."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from real import faults
from real.jobs import applied, digits
from real.pictures import draw
from real.prometheus import DASHBOARDS, Prometheus, queries, start_prometheus
from real.site import Site, until

pytestmark = pytest.mark.timeout(900)
NAMES = ("fleet", "job")
OBSERVED, FROZEN = "observed", "cnn"
ALERT = "DistillJobHangSuspected"
PATIENCE_SECONDS = 40


@pytest.fixture(scope="module")
def prometheus(site: Site, team: str) -> Iterator[Prometheus]:
    """Start it before the run that it is to see."""
    with start_prometheus(site) as prometheus:
        yield prometheus


@dataclass(frozen=True)
class Observed:
    """What was seen of a job whose student froze once."""

    fired: set[str]
    exit_code: int
    restarts: dict[str, dict[str, int]]
    weights: dict[str, str]


@pytest.fixture(scope="module")
def observed(site: Site, team: str, prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Freeze a student until the alert fires and it is replaced; wait for the alert's end and the job's."""
    hang = {"hang": {"steadySeconds": PATIENCE_SECONDS}}
    with applied(site, team, digits(OBSERVED, failurePolicy=hang)) as job:
        job.until_at_work(FROZEN)
        pod = faults.stop_pod(job, FROZEN)
        fired = until(lambda: {each["student"] for each in prometheus.firing(ALERT)}, ALERT, PATIENCE_SECONDS)
        ended = faults.end_of(job, pod)
        job.until_complete()
        assert job.restarts() == {"hang": 1}
        until(lambda: not prometheus.firing(ALERT), f"end of {ALERT}", 30)
        weights = job.weights(tmp_path_factory.mktemp(OBSERVED))
        return Observed(fired, ended["exitCode"], job.restarts_of_students(), weights)


def test_the_alert_of_a_hang_fires_for_the_student_that_was_frozen(observed: Observed):
    assert observed.fired == {FROZEN}


def test_a_frozen_student_is_replaced_and_counted_and_no_weight_changes(
    observed: Observed, undisturbed: dict[str, str]
):
    assert observed.exit_code == 137, "only SIGKILL ends a frozen process"
    assert observed.restarts == {FROZEN: {"hang": 1}}
    assert observed.weights == undisturbed


@pytest.mark.parametrize("dashboard", NAMES)
def test_every_query_of_a_dashboard_has_data(
    prometheus: Prometheus, observed: Observed, team: str, tmp_path: Path, dashboard: str
):
    asked = queries(dashboard)
    found = prometheus.ranges(asked, team, OBSERVED)
    empty = [
        query.panel["title"] for query, series in zip(asked, found, strict=True) if not any(map(_has_data, series))
    ]
    assert empty == []
    draw(dashboard, asked, found, tmp_path / f"{dashboard}.png")
    assert (tmp_path / f"{dashboard}.png").stat().st_size > 50_000


def test_both_dashboards_are_looked_at():
    assert {path.stem for path in DASHBOARDS.glob("*.json")} == set(NAMES)


def _has_data(series) -> bool:
    return any(not math.isnan(float(value)) for _, value in series["values"])
