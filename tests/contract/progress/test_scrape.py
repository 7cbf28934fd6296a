"""The operator looks at a real aggregator: what it learns, and how it takes silence, lies and noise."""

import asyncio
import signal
import time

import pytest
from aiohttp import web

from distilljob_core.exchange import Report
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import Sight, SightReason
from distilljob_operator.progress.fetch import BadTemplate, Direct, read_table
from distilljob_operator.progress.look import Look, Target, Unreadable
from distilljob_operator.progress.poller import Poller
from distilljob_operator.progress.scrape import Scrape

HEARD = Report(StudentPhase.INDEPENDENT, cycle=1, step=5, progress=5)


async def test_a_look_brings_progress_and_table_of_the_students_that_joined(
    start_aggregator, spec, make_student, direct, target
):
    aggregator = start_aggregator(spec("a", "b"))
    student = make_student(aggregator, "a")
    student.join()
    student.client.heartbeat(HEARD)
    found = await Scrape(direct(aggregator), 10.0).find(target(aggregator))
    reading = found.progress.of("a", 1, "pod-a-1")
    assert (reading.reason, reading.phase) == (SightReason.FRESH, StudentPhase.INDEPENDENT)
    assert found.progress.of("b", 1, "pod-b-1").reason is SightReason.NOT_JOINED
    assert [row.attempt for row in found.table.students] == [1, 0]
    assert found.message == ""


async def test_samples_belong_to_one_attempt_and_one_pod(start_aggregator, spec, make_student, direct, target):
    aggregator = start_aggregator(spec("a"))
    student = make_student(aggregator, "a", attempt=2)
    student.join()
    student.client.heartbeat(HEARD)
    progress = (await Scrape(direct(aggregator), 10.0).find(target(aggregator))).progress
    assert progress.of("a", 2, "pod-a-2").is_evidence
    assert progress.of("a", 3, "pod-a-3").reason is SightReason.OLDER_ATTEMPT
    assert progress.of("a", 2, "another").reason is SightReason.OLDER_ATTEMPT
    assert progress.of("a", 1, "pod-a-1").reason is SightReason.NEWER_ATTEMPT


async def test_an_aggregator_that_is_gone_is_no_data(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    fetch, where = direct(aggregator), target(aggregator)
    aggregator.kill()
    found = await Scrape(fetch, 10.0).find(where)
    assert (found.progress.sight, found.progress.reason) == (Sight.NO_DATA, SightReason.SCRAPE_FAILED)
    assert found.table is None
    assert "/v1/status" in found.message


async def test_a_frozen_aggregator_is_given_up_after_three_seconds(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    fetch, where = direct(aggregator), target(aggregator)
    aggregator.process.send_signal(signal.SIGSTOP)
    try:
        found = await Scrape(fetch, 10.0).find(where)
    finally:
        aggregator.process.send_signal(signal.SIGCONT)
    assert found.progress.reason is SightReason.SCRAPE_FAILED
    assert "no answer in time" in found.message


async def test_whoever_answers_for_another_job_is_not_believed(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    found = await Scrape(direct(aggregator), 10.0).find(target(aggregator, uid="another"))
    assert found.table is None
    assert not found.progress.of("a", 1, "pod-a-1").is_evidence
    assert "the aggregator of another job, test" in found.message


async def test_too_much_is_not_read_to_its_end(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    with pytest.raises(Unreadable, match="more than 100 bytes"):
        await direct(aggregator)(target(aggregator), "/metrics", 100)


async def test_a_page_that_is_not_there_says_its_status(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    with pytest.raises(Unreadable, match="status 404: 404: Not Found"):
        await direct(aggregator)(target(aggregator), "/v2", 1000)


@pytest.mark.parametrize(
    ("template", "where"),
    [
        ("http://{pod_ip}:8471", "http://[fd00::7]:8471"),
        ("http://{service}.{namespace}.svc:8471", "http://demo-aggregator.team.svc:8471"),
        ("http://127.0.0.1/{namespace}/{job}/{pod}", "http://127.0.0.1/team/demo/p"),
    ],
)
def test_an_address_is_made_of_its_template(template, where):
    assert Direct(None, template).url(Target(("team", "demo"), "uid", "p", "fd00::7")) == where


async def test_without_a_pod_there_is_no_address(session):
    with pytest.raises(Unreadable, match="no pod with an address yet"):
        await Direct(session, "http://{pod_ip}:8471")(Target(("team", "demo"), "uid"), "/x", 10)


def test_a_template_with_an_unknown_word_is_refused_with_those_that_there_are():
    with pytest.raises(BadTemplate, match=r"\{node\} is unknown; use \{job\}, \{namespace\}, \{pod\}, \{pod_ip\}"):
        Direct(None, "http://{node}:8471")


async def test_what_is_no_round_table_is_refused(session):
    async def status(_):
        return web.json_response({"job": 1})

    application = web.Application()
    application.router.add_get("/v1/status", status)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fetch = Direct(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        with pytest.raises(Unreadable, match="no round table of this version"):
            await read_table(fetch, Target(("team", "demo"), "uid"))
    finally:
        await runner.cleanup()


class Polled:
    """A poller at work; looks can be awaited."""

    def __init__(self, source, target, poll_seconds):
        self.looks: asyncio.Queue[Look] = asyncio.Queue()
        self.errors = []
        self.target = target
        self.poller = Poller(
            source,
            lambda key: self.looks.put_nowait(self.poller.latest(key)),
            clock=time.monotonic,
            poll_seconds=poll_seconds,
            on_error=self.errors.append,
        )

    async def __aenter__(self):
        self._task = asyncio.create_task(self.poller.run())
        self.poller.watch(self.target)
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, condition):
        """The first look, from now on, of which that is true; and all before it."""
        passed = []
        async with asyncio.timeout(60.0):
            while not condition(look := await self.looks.get()):
                passed.append(look)
        return look, passed


async def test_an_aggregator_that_dies_and_comes_back_is_lost_and_seen_again(
    start_aggregator, spec, direct, target, address
):
    aggregator = start_aggregator(spec("a"))
    port = address(aggregator).rpartition(":")[2]
    async with Polled(Scrape(direct(aggregator), 0.2), target(aggregator), 0.2) as polled:
        await polled.until(lambda look: look.table is not None)
        aggregator.kill()
        look, passed = await polled.until(lambda look: look.progress.sight is Sight.NO_DATA)
        assert look.table is None
        assert any(one.table is None and one.progress.sight is Sight.VALUE for one in passed), "blind at one failure"
        assert set(polled.errors) == {"Scrape"}
        aggregator.start(f"--http-port={port}")
        look, _ = await polled.until(lambda look: look.table is not None)
        assert look.progress.sight is Sight.VALUE


async def test_a_look_that_is_asked_for_begins_after_it_was_asked_for(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    async with Polled(Scrape(direct(aggregator), 3600.0), target(aggregator), 3600.0) as polled:
        for _ in range(3):
            asked_seconds = time.monotonic()
            polled.poller.refresh(polled.target.key)
            look, _ = await polled.until(lambda look: True)
            assert look.taken_seconds >= asked_seconds


async def test_an_aggregator_that_moved_is_looked_at_at_once(start_aggregator, spec, direct, target):
    aggregator = start_aggregator(spec("a"))
    nowhere = target(aggregator, pod_ip="127.0.0.2", pod_name="old")
    async with Polled(Scrape(direct(aggregator), 3600.0), nowhere, 3600.0) as polled:
        polled.poller.refresh(nowhere.key)
        look, _ = await polled.until(lambda look: True)
        assert look.table is None
        polled.poller.watch(target(aggregator))
        look, _ = await polled.until(lambda look: True)
        assert look.table is not None


async def test_progress_alone_is_told_to_nobody_and_news_at_once(start_aggregator, spec, make_student, direct, target):
    aggregator = start_aggregator(spec("a"))
    student = make_student(aggregator, "a")
    student.join()
    student.client.heartbeat(HEARD)
    async with Polled(Scrape(direct(aggregator), 0.1), target(aggregator), 0.1) as polled:
        first, _ = await polled.until(lambda look: True)
        for step in range(6, 30):
            student.client.heartbeat(Report(StudentPhase.INDEPENDENT, cycle=1, step=step, progress=step))
            await asyncio.sleep(0.05)
        latest = polled.poller.latest(polled.target.key)
        assert (first.table.students[0].step, polled.looks.qsize()) == (5, 0)
        assert latest.table.students[0].step > 5, "looked at all the same"
        student.client.heartbeat(Report(StudentPhase.CHECKPOINTING, cycle=1, step=30, progress=30))
        await polled.until(lambda look: look.table.students[0].phase is StudentPhase.CHECKPOINTING)


async def test_a_page_that_comes_again_and_again_is_stale_after_two_polls(
    start_aggregator, spec, make_student, direct, target
):
    aggregator = start_aggregator(spec("a"))
    make_student(aggregator, "a").join()
    ask, where = direct(aggregator), target(aggregator)
    pages = {path: await ask(where, path, 1 << 20) for path in ("/v1/status", "/metrics")}
    asked = []

    async def cached(_target, path, _maximum_bytes):
        asked.append(path)
        return pages[path]

    async with Polled(Scrape(cached, 0.5), where, 0.5) as polled:
        fresh, _ = await polled.until(lambda look: True)
        stale, _ = await polled.until(lambda look: look.progress.sight is not Sight.VALUE)
        assert (fresh.progress.sight, stale.progress.reason) == (Sight.VALUE, SightReason.SCRAPE_STALE)
        assert asked.count("/metrics") <= 3
        assert "the same page came again" in stale.progress.message
        assert polled.errors[:1] == ["Scrape"]
        pages["/metrics"] = await ask(where, "/metrics", 1 << 20)
        await polled.until(lambda look: look.progress.sight is Sight.VALUE)
