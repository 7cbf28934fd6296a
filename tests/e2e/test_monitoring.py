"""A real Prometheus that scraped a real run: every query of the dashboards has data, and the right alert fires."""

import math
from collections.abc import Iterator

import pytest

from real import faults
from real.jobs import applied, digits
from real.pictures import draw
from real.prometheus import DASHBOARDS, Prometheus, queries, start_prometheus
from real.site import Site, until

pytestmark = pytest.mark.timeout(900)
NAMES = ("fleet", "job")
OBSERVED = "observed"
PATIENCE_SECONDS = 40


@pytest.fixture(scope="module")
def prometheus(site: Site, team: str) -> Iterator[Prometheus]:
    """Start it before the run that it is to see."""
    with start_prometheus(site) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def alerts(site: Site, team: str, prometheus: Prometheus) -> dict[str, list[str]]:
    """Run a job whose student freezes once; give the students that each alert fired for."""
    hang = {"hang": {"steadySeconds": PATIENCE_SECONDS}}
    alert = "DistillJobHangSuspected"
    with applied(site, team, digits(OBSERVED, failurePolicy=hang)) as job:
        job.until_at_work(faults.STUDENT)
        pod = faults.stop_pod(job)
        fired = until(lambda: [each["student"] for each in prometheus.firing(alert)], alert, PATIENCE_SECONDS)
        faults.end_of(job, pod)
        job.until_complete()
        assert job.restarts() == {"hang": 1}
        until(lambda: not prometheus.firing(alert), f"end of {alert}", 30)
    return {alert: fired}


def test_the_alert_of_a_hang_fires_for_the_student_that_was_frozen(alerts: dict[str, list[str]]):
    assert set(alerts["DistillJobHangSuspected"]) == {faults.STUDENT}


@pytest.mark.parametrize("dashboard", NAMES)
def test_every_query_of_a_dashboard_has_data(
    prometheus: Prometheus, alerts: dict[str, list[str]], team: str, tmp_path, dashboard: str
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
