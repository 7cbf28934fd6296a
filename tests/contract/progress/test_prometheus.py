"""The operator asks a real Prometheus server that scrapes real aggregators."""

import time

import pytest
from aiohttp import web

from distilljob_core.exchange import Report
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import CLOCK, INFO, PHASE, Sight, SightReason
from distilljob_operator.progress.look import Look
from distilljob_operator.progress.prometheus import Prometheus

HEARD = Report(StudentPhase.INDEPENDENT, cycle=1, step=5, progress=5)


@pytest.fixture
def source(session, prometheus, direct):
    """Ask the server, once in so many seconds."""

    def make(aggregator, poll_seconds=0.0, url=""):
        url = url or prometheus.url
        return Prometheus(session, url, direct(aggregator), poll_seconds, clock=time.monotonic)

    return make


@pytest.fixture
def trained(start_aggregator, spec, make_student):
    """Start an aggregator that has heard of its student a, and not of b."""

    def make(attempt=1):
        aggregator = start_aggregator(spec("a", "b"))
        student = make_student(aggregator, "a", attempt=attempt)
        student.join()
        student.client.heartbeat(HEARD)
        return aggregator

    return make


def at_an_age(text, seconds, **labels):
    """The aggregator's metrics, as Prometheus stored them so long ago."""
    more = ",".join(f'{name}="{value}"' for name, value in labels.items())
    scraped = time.time() - seconds
    lines = []
    for line in text.splitlines():
        if line.startswith("distilljob_") and ("clock" in line or "distilljob_student_" in line):
            head, _, value = line.rpartition(" ")
            name, _, inner = head.rstrip("}").partition("{")
            if name.endswith(("_total", "_created")):
                continue
            lines.append(f"{name}{{{','.join(filter(None, (inner, more)))}}} {value} {scraped:.3f}")
    return "\n".join(lines) + "\n"


async def test_progress_comes_from_the_server_and_the_table_from_the_aggregator(
    prometheus, source, trained, address, target
):
    aggregator = trained()
    prometheus.start({address(aggregator): "team"})
    prometheus.until(lambda: prometheus.query(INFO))
    found = await source(aggregator).find(target(aggregator))
    reading = found.progress.of("a", 1, "pod-a-1")
    assert (reading.reason, reading.phase) == (SightReason.FRESH, StudentPhase.INDEPENDENT)
    assert found.progress.of("b", 1, "pod-b-1").reason is SightReason.NOT_JOINED
    assert found.progress.of("a", 2, "pod-a-2").reason is SightReason.OLDER_ATTEMPT
    assert found.progress.of("a", 1, "another").reason is SightReason.OLDER_ATTEMPT
    assert [row.attempt for row in found.table.students] == [1, 0]


async def test_all_jobs_of_a_tick_share_its_queries(prometheus, source, trained, address, target):
    first, second = trained(), trained(attempt=2)
    prometheus.start({address(first): "one", address(second): "two"})
    prometheus.until(lambda: len(prometheus.query(INFO)) == 2)
    asked = source(first, poll_seconds=3600.0)
    before = prometheus.num_queries()
    one, two = await asked.find(target(first, "one")), await asked.find(target(second, "two"))
    assert prometheus.num_queries() == before + 6
    assert one.progress.of("a", 1, "pod-a-1").is_evidence
    assert two.progress.of("a", 2, "pod-a-2").is_evidence
    again = source(first)
    for _ in range(2):
        await again.find(target(first, "one"))
    assert prometheus.num_queries() == before + 6 + 12


async def test_an_aggregator_that_is_not_scraped_is_no_data_and_says_what_to_check(
    prometheus, source, trained, address, target
):
    aggregator = trained()
    prometheus.start({})
    found = await source(aggregator).find(target(aggregator))
    assert (found.progress.sight, found.progress.reason) == (Sight.NO_DATA, SightReason.SCRAPE_FAILED)
    assert f'no {CLOCK}{{namespace="team",distilljob="test"}}' in found.progress.message
    assert found.table is not None


async def test_an_aggregator_that_goes_down_takes_its_samples_with_it(prometheus, source, trained, address, target):
    aggregator = trained()
    where = target(aggregator)
    prometheus.start({address(aggregator): "team"})
    prometheus.until(lambda: prometheus.query(INFO))
    aggregator.kill()
    prometheus.until(lambda: not prometheus.query(CLOCK))
    found = await source(aggregator).find(where)
    assert (found.progress.sight, found.table) == (Sight.NO_DATA, None)
    assert CLOCK in found.progress.message


async def test_samples_of_the_past_are_stale(prometheus, source, trained, address, target):
    aggregator = trained()
    prometheus.start({}, at_an_age(aggregator.http("/metrics"), 200, namespace="team", distilljob="test") + "# EOF\n")
    prometheus.until(lambda: prometheus.query(CLOCK))
    asked = source(aggregator)
    found = await asked.find(target(aggregator))
    assert found.age_seconds >= 199
    assert found.progress.sight is Sight.VALUE
    look = Look(1000.0, found.progress, 1000.0, 1000.0 - found.age_seconds, asked.stale_after_seconds)
    assert look.progress_at(1000.0).sight is Sight.STALE
    assert not look.progress_at(1000.0).of("a", 1, "pod-a-1").is_evidence


async def test_what_a_replaced_aggregator_left_behind_is_not_read(prometheus, source, trained, address, target):
    old, new = trained(), trained(attempt=2)
    left = at_an_age(old.http("/metrics"), 100, namespace="team", distilljob="test", instance="10.1.0.9:8471")
    prometheus.start({address(new): "team"}, left + "# EOF\n")
    prometheus.until(lambda: len(prometheus.query(INFO)) == 2)
    found = await source(new).find(target(new))
    assert found.progress.of("a", 2, "pod-a-2").is_evidence


async def test_a_clock_that_is_no_number_is_no_data(prometheus, source, trained, address, target):
    aggregator = trained()
    text = at_an_age(aggregator.http("/metrics"), 20, namespace="team", distilljob="test")
    text = "\n".join(line if CLOCK not in line else line.replace(line.split()[1], "NaN") for line in text.splitlines())
    prometheus.start({}, text + "\n# EOF\n")
    prometheus.until(lambda: prometheus.query(CLOCK))
    found = await source(aggregator).find(target(aggregator))
    assert (found.progress.sight, found.progress.reason) == (Sight.NO_DATA, SightReason.CLOCK_MISSING)


async def test_a_phase_that_is_no_number_is_no_evidence(prometheus, source, trained, address, target):
    aggregator = trained()
    text = at_an_age(aggregator.http("/metrics"), 20, namespace="team", distilljob="test")
    lines = [line for line in text.splitlines() if PHASE not in line or "Independent" not in line]
    prometheus.start({}, "\n".join(lines) + "\n# EOF\n")
    prometheus.until(lambda: prometheus.query(CLOCK))
    found = await source(aggregator).find(target(aggregator))
    assert found.progress.of("a", 1, "pod-a-1").reason is SightReason.NOT_A_NUMBER


async def test_a_server_that_is_gone_makes_everybody_blind_and_no_table(prometheus, source, trained, address, target):
    aggregator = trained()
    found = await source(aggregator).find(target(aggregator))
    assert found.progress.reason is SightReason.SCRAPE_FAILED
    assert "/api/v1/query" in found.progress.message
    assert found.table is not None


async def test_whatever_is_no_prometheus_is_told_so(source, trained, address, target):
    aggregator = trained()
    found = await source(aggregator, url=f"http://{address(aggregator)}").find(target(aggregator))
    assert "status 404" in found.progress.message


@pytest.mark.parametrize("answer", ["hello", "{}", '{"data": {"result": [{"metric": {}}]}}', '{"data": null}'])
async def test_an_answer_of_another_shape_is_no_data(source, trained, target, answer):
    async def query(_):
        return web.Response(text=answer)

    application = web.Application()
    application.router.add_get("/api/v1/query", query)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    aggregator = trained()
    try:
        found = await source(aggregator, url=f"http://127.0.0.1:{runner.addresses[0][1]}").find(target(aggregator))
    finally:
        await runner.cleanup()
    assert "not the answer of a Prometheus server" in found.progress.message
