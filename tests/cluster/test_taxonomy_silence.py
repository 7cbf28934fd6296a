"""Telling hung students from slow, waiting and unobservable ones, on a real control plane with real aggregators."""

import asyncio
import os
import re
import signal

import pytest

from distilljob_core.exchange import RoundKey
from distilljob_core.phases import StudentPhase
from harness.aggregators import blind
from harness.group import Group, network
from harness.jobs import condition, student
from rig.api import PODS

CLOCK = re.compile(r"(?m)^distilljob_clock_timestamp_seconds .*$")
pytestmark = pytest.mark.asyncio(loop_scope="module")


def limits(**seconds: int) -> dict:
    return {"hang": {f"{phase}Seconds": limit for phase, limit in seconds.items()}}


def without_metrics(path: str, text: str) -> str:
    return blind(path, text) if path == "/metrics" else text


def no_table(path: str, text: str) -> str:
    return "<html>" if path == "/v1/status" else text


def of_another_job(path: str, text: str) -> str:
    return re.sub(r'"uid":"[^"]+"', '"uid":"00000000-0000-0000-0000-000000000000"', text)


def without_clock(path: str, text: str) -> str:
    return CLOCK.sub("distilljob_clock_timestamp_seconds NaN", text)


def without_steps(path: str, text: str) -> str:
    return re.sub(r"(?m)^(distilljob_student_last_progress_timestamp_seconds\{.*\}) .*$", r"\1 NaN", text)


BLIND = {
    "nothing answers": (blind, limits(startup=1, steady=1)),
    "no metrics": (without_metrics, limits(startup=1, steady=1)),
    "no table": (no_table, limits(startup=1, steady=1)),
    "another job's aggregator": (of_another_job, limits(startup=1, steady=1)),
    "its clock is no number": (without_clock, limits(startup=1, steady=1)),
    "a student's step is no number": (without_steps, limits(steady=1)),  # before it has joined it can be observed
}


@pytest.mark.parametrize(("lie", "hang"), BLIND.values(), ids=BLIND)
async def test_who_cannot_be_observed_is_not_restarted_before_he_can_be(group: Group, lie, hang):
    """Complaints 14 and 28: a watchdog that kills healthy runs when its source fails."""
    await group.apply("a", failurePolicy=hang)
    group.lie(lie)
    (await group.play("a")).hang()
    await group.until_condition("ProgressObservable", "False", "MetricsUnavailable")
    job = await group.looks(4)
    assert (job["status"]["restartsTotal"], student(job, "a")["attempt"]) == (0, 1)
    group.lie(None)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"hang": 1}


async def test_samples_of_an_older_attempt_restart_nobody(group: Group):
    """Complaint 13: what is left of a dead session kills its healthy successor, without end."""
    await group.apply("a", failurePolicy=limits(steady=1))
    await group.aggregate()
    group.lie(without_steps)  # so that the first attempt does not hang
    first = await group.play("a")
    pages: dict[str, str] = {}

    def of_the_dead(path: str, text: str) -> str:
        clock = CLOCK.search(text)
        return CLOCK.sub(clock[0], pages.setdefault(path, text)) if clock else text

    group.lie(of_the_dead)
    await group.looks(2)  # the first of them is over
    first.leave()
    await group.exit("a", 1)
    (await group.play("a", 2)).hang()
    await group.until_condition("ProgressObservable", "False", "MetricsUnavailable", "a: OlderAttempt")
    job = await group.looks(4)
    assert student(job, "a")["restarts"] == {"crash": 1}
    group.lie(None)
    job = await group.until_attempt("a", 3)
    assert student(job, "a")["restarts"] == {"crash": 1, "hang": 1}


async def test_a_source_that_falls_silent_makes_stale_and_then_blind(group: Group):
    await group.apply("a", failurePolicy=limits(steady=3))
    await group.play("a")
    await group.until_condition("ProgressObservable", "True", "ProgressRead")
    os.kill(group.aggregator.pid, signal.SIGSTOP)
    try:
        stale = group.until_condition("ProgressObservable", "Unknown", "MetricsStale", "older than 3 s")
        unavailable = group.until_condition("ProgressObservable", "False", "MetricsUnavailable", "no answer in time")
        _, job = await asyncio.gather(stale, unavailable)
        assert job["status"]["restartsTotal"] == 0
    finally:
        os.kill(group.aggregator.pid, signal.SIGCONT)
    job = await group.until_condition("ProgressObservable", "True", "ProgressRead")
    assert job["status"]["restartsTotal"] == 0


@pytest.mark.parametrize(("annotations", "code"), [({}, 143), ({"rig/frozen": "yes"}, 137)], ids=["saves", "frozen"])
async def test_a_hung_student_ends_with_its_evidence_and_comes_back(group: Group, annotations, code):
    """Complaints 2 and 27: processes that live without working; failed pods that vanish with their logs."""
    hanging = network("a", pod={"annotations": annotations, "terminationGracePeriodSeconds": 1})
    await group.apply(hanging, "b", failurePolicy=limits(steady=4))
    a, b = await group.play("a"), await group.play("b")
    a.hang()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"hang": 1}
    assert student(job, "a")["lastTermination"]["exitCode"] == code
    assert (student(job, "b")["attempt"], student(job, "b")["podUID"]) == (1, b.who.pod_uid)
    pod = await group.api.get(PODS, a.pod_name, group.namespace)
    assert pod["spec"]["activeDeadlineSeconds"] == 1
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    await group.pod("a", 2)
    assert await group.jobs() == ["a-a1", "a-a2", "b-a1"]
    told = await group.until_told("StudentHung")
    assert re.search(r"attempt 1 made no step in Independent for \d+ s \(limit 4 s\)", told[0])


async def test_who_runs_and_never_joins_hangs(group: Group):
    await group.apply("a", failurePolicy=limits(startup=1))
    await group.aggregate()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"hang": 1}
    assert "made no step in Starting" in (await group.until_told("StudentHung"))[0]


async def test_hanging_has_a_budget_of_its_own(group: Group):
    policy = {"hang": {"startupSeconds": 1, "maxRestartsPerStudent": 0}}
    await group.apply("a", failurePolicy=policy)
    await group.aggregate()
    await group.until_condition("Failed", "True", "BudgetExhausted", "failurePolicy.hang.maxRestartsPerStudent (0)")


async def test_when_most_hang_at_once_nobody_is_restarted_at_first_and_then_one_after_the_other(group: Group):
    await group.apply("a", "b", "c", failurePolicy=limits(steady=1))
    await group.aggregate()
    group.lie(without_metrics)
    for name in "abc":
        (await group.play(name)).hang()
    group.lie(None)  # all come into sight with one look
    job = await group.until_condition("Degraded", "True", "MassHang", "the aggregator, the network and the storage")
    assert job["status"]["restartsTotal"] == 0
    job = await group.until(lambda job: job["status"]["restartsTotal"] > 0)
    assert job["status"]["restarts"] == {"hang": 1}
    assert sum("ending" in row for row in job["status"]["students"]) == 0
    [replaced] = [row["name"] for row in job["status"]["students"] if row["attempt"] == 2]
    await group.play(replaced, 2)
    told = await group.until_told("StudentHung", 2)
    assert len({message.partition(":")[0] for message in told}) == 2


async def test_waiting_at_the_barrier_is_no_hang_until_it_opens(group: Group):
    await group.apply(failurePolicy=limits(exchange=3))
    a, b = await group.play("a"), await group.play("b")
    await a.bring(RoundKey(1))
    a.hang(StudentPhase.WAITING)
    job = await group.looks(6)
    assert job["status"]["restartsTotal"] == 0
    assert condition(job, "ProgressObservable")[0] == "True"
    await b.bring(RoundKey(1))
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"hang": 1}
    assert student(job, "b")["attempt"] == 1


async def test_who_falls_silent_at_the_barrier_hangs(group: Group):
    await group.apply(failurePolicy=limits(exchange=1))
    a, _ = await group.play("a"), await group.play("b")
    await a.bring(RoundKey(1))
    a.hang(StudentPhase.WAITING)
    await a.until_heard()
    a.leave()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"hang": 1}
