"""What a job costs the API server: to start, while it moves, and at rest."""

import time

import pytest

from distilljob_core.phases import StudentPhase
from fault_proxy import Call, FaultProxy, of
from harness.group import Group
from harness.jobs import condition
from rig.api import CLAIMS, CONFIG_MAPS, DEPLOYMENTS, JOBS, NETWORK_POLICIES, SERVICES, Object

CHILDREN = (JOBS, CLAIMS, CONFIG_MAPS, SERVICES, NETWORK_POLICIES, DEPLOYMENTS)
STATUS = of("PUT", "/status")


def is_about_jobs(call: Call) -> bool:
    """Leave out watches, kopf's look at what the API server has, and its list of all jobs."""
    is_discovery = call.path.count("/") < 5
    return not call.is_watch and not is_discovery and call.path.rsplit("/", 1)[-1] != "distilljobs"


def is_up(job: Object) -> bool:
    return all(condition(job, kind)[0] == "True" for kind in ("AggregatorReady", "StudentsReady"))


async def test_a_start_takes_one_request_for_each_object_and_two_for_the_status(behind: Group, proxy: FaultProxy):
    began = len(proxy.calls)
    began_seconds = time.monotonic()
    await behind.apply("a", "b", "c", "d")
    await behind.until(is_up)
    own = behind.selector()
    made = [one for kind in CHILDREN for one in await behind.api.list(kind, behind.namespace, selector=own)]
    calls = list(filter(is_about_jobs, proxy.calls[began:]))
    writes = list(filter(STATUS, calls))
    events = list(filter(of("POST", "/events"), calls))
    assert len(calls) - len(writes) - len(events) == len(made) == 15, list(map(str, calls))
    assert len(events) == 1
    assert len(writes) <= 2 + int(time.monotonic() - began_seconds), "news are written at most once a second"


@pytest.mark.parametrize("behind", [{"status_seconds": 3.0}], indirect=True)
async def test_a_job_that_moves_is_written_at_intervals_and_one_that_rests_never(behind: Group, proxy: FaultProxy):
    rest = Group(behind.site, "rest", behind.namespace)
    await rest.apply()
    await rest.change(suspend=True)
    await rest.until_condition("Suspended", "True", "SuspendedByUser")
    ended = Group(behind.site, "ended", behind.namespace)
    await ended.apply("a")
    await ended.exit("a", 80)
    await ended.until_condition("Failed", "True", "FatalSpec")
    for group in (rest, ended):
        await group.until_condition("AggregatorReady", "False", "AggregatorUnavailable")  # their last word
    await behind.apply()
    moving = await behind.play("a")
    await behind.play("b")
    await behind.until_condition("Progressing", "True", "Training")
    await behind.looks(2)
    began, began_seconds = len(proxy.calls), time.monotonic()
    for phase in [StudentPhase.EVALUATING, StudentPhase.INDEPENDENT] * 4:
        moving.train(phase)
        await behind.looks(1)
    calls = list(filter(is_about_jobs, proxy.calls[began:]))
    assert {(call.verb, call.path.rsplit("/", 2)[1]) for call in calls} <= {("PUT", "group")}
    assert 2 <= len(calls) <= 1 + (time.monotonic() - began_seconds) / 3.0


async def test_every_watch_on_children_asks_for_ours_alone(behind: Group, proxy: FaultProxy):
    """Complaint 21: an operator that watches all pods of a cluster runs out of memory."""
    children = [call for call in proxy.calls if not call.path.endswith("/distilljobs") and "/namespaces/" in call.path]
    await proxy.watching(lambda call: not call.path.endswith("/distilljobs"), 7)
    assert {call.query.get("labelSelector") for call in children} == {"distilljob.dev/job"}
