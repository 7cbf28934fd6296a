"""The API server fails, answers late, or not at all, and what follows for jobs: nothing lost, nothing doubled."""

import asyncio
import time
from collections.abc import Callable

import pytest

from distilljob_core import names
from fault_proxy import Call, FaultProxy, Match, lists, of, watches
from harness.aggregators import Aggregators
from harness.group import Group, Site
from harness.jobs import condition
from harness.operator_process import OperatorProcess
from rig.api import JOBS, PODS, RESOURCE_QUOTAS, Api, Object
from rig.control_plane import ControlPlane

IMPATIENT = {"hang": {"steadySeconds": 5}}
POD_WATCH = watches("/pods")
STATUS = of("PUT", "/status")


def is_steady(job: Object) -> bool:
    return condition(job, "StudentsReady")[0] == "True" and all(row.get("podUID") for row in job["status"]["students"])


async def pod_uids(group: Group) -> dict[str, str]:
    """Name every pod of an attempt that there is."""
    pods = await group.api.list(PODS, group.namespace, selector=f"{group.selector()},{names.LABEL_STUDENT}")
    return {pod["metadata"]["name"].split("-", 1)[1].rsplit("-", 1)[0]: pod["metadata"]["uid"] for pod in pods}


async def assert_replaced_once(group: Group, before: dict[str, str]) -> None:
    """See that `a` has its second attempt, after one crash, and that `b` was never touched."""
    await group.pod("a", 2)
    job = await group.until(is_steady)
    rows = job["status"]["students"]
    assert [(row["attempt"], row.get("restarts")) for row in rows] == [(2, {"crash": 1}), (1, None)]
    after = await pod_uids(group)
    assert after.keys() == {"a-a1", "a-a2", "b-a1"}
    assert before.items() <= after.items()


async def started(group: Group) -> dict[str, str]:
    await group.apply()
    await group.until(is_steady)
    return await pod_uids(group)


async def test_a_status_that_somebody_else_changed_meanwhile_is_decided_anew(behind: Group, proxy: FaultProxy) -> None:
    for_start = proxy.hold(STATUS)
    await behind.apply()
    await for_start.arrived.wait()
    await behind.change(ttlSecondsAfterFinished=100)
    for_start.open()
    await behind.until(is_steady)
    before = await pod_uids(behind)
    assert before.keys() == {"a-a1", "b-a1"}
    for_crash = proxy.hold(STATUS)
    await behind.exit("a", 1)
    await for_crash.arrived.wait()
    await behind.change(ttlSecondsAfterFinished=200)
    for_crash.open()
    await assert_replaced_once(behind, before)
    assert len(await behind.until_told("StudentCrashed")) == 1


async def test_an_api_server_that_wants_to_be_left_alone_is_and_the_others_go_on(
    behind: Group, proxy: FaultProxy
) -> None:
    other = Group(behind.site, "other", behind.namespace)
    proxy.answer(429, of("POST", "/jobs"), retry_after_seconds=3, times=2)
    await behind.apply()
    await proxy.called(of("POST", "/jobs"), 2)
    refused_seconds = time.monotonic()
    await other.apply()
    await other.until(is_steady)
    await behind.until(is_steady)
    assert time.monotonic() - refused_seconds >= 3
    made = await behind.api.list(JOBS, behind.namespace)
    made.sort(key=lambda one: one["metadata"]["creationTimestamp"])
    assert [one["metadata"]["labels"][names.LABEL_JOB] for one in made] == ["other", "other", "group", "group"]
    assert len(list(filter(of("POST", "/jobs"), proxy.calls))) == 6


FAULTS: dict[str, Callable[[FaultProxy, Match], None]] = {
    "refused with 500": lambda proxy, match: proxy.answer(500, match),
    "done, and the answer lost": lambda proxy, match: proxy.cut(match, forward=True),
    "done, and never answered": lambda proxy, match: proxy.say_nothing(match, forward=True),
    "never answered, not done": lambda proxy, match: proxy.say_nothing(match),
}


@pytest.mark.parametrize("behind", [{"call_seconds": 2.0}], indirect=True, ids=["soon"])
@pytest.mark.parametrize("strike", FAULTS.values(), ids=FAULTS)
async def test_a_write_that_fails_or_seems_to_is_carried_out_once(
    behind: Group, proxy: FaultProxy, strike: Callable[[FaultProxy, Match], None]
) -> None:
    """Complaint 11: the controller's own half-done deletions and restarts are neither lost nor counted."""
    strike(proxy, STATUS)
    strike(proxy, of("POST", "/jobs"))
    await behind.apply(failurePolicy={"hang": {"steadySeconds": 2}})
    await behind.until(is_steady)
    assert (await pod_uids(behind)).keys() == {"a-a1", "b-a1"}
    strike(proxy, STATUS)
    strike(proxy, of("POST", "/jobs"))
    await behind.exit("a", 1)
    await behind.play("b")
    hung = await behind.play("a", 2)
    strike(proxy, of("PATCH", "/pods"))
    hung.hang()
    await behind.until_attempt("a", 3)
    await behind.pod("a", 3)
    strike(proxy, of("DELETE", "/jobs"))
    await behind.change(suspend=True)
    job = await behind.until_condition("Suspended", "True", "SuspendedByUser")
    assert [row.get("restarts") for row in job["status"]["students"]] == [{"crash": 1, "hang": 1}, None]
    await behind.change(suspend=False)
    job = await behind.until(is_steady)
    assert [row["attempt"] for row in job["status"]["students"]] == [4, 2]
    assert job["status"]["restartsTotal"] == 2
    assert len(await behind.until_told("StudentCrashed")) == len(await behind.until_told("StudentHung")) == 1
    assert await behind.site.operator.metric("distilljob_operator_reconciles_total", result="failed") == 0


async def test_watches_whose_version_is_too_old_begin_anew(behind: Group, proxy: FaultProxy) -> None:
    before = await started(behind)
    again = proxy.hold(lists("/pods"))
    assert proxy.expire(watches()) == 8, "seven kinds of children, and the jobs"
    await again.arrived.wait()
    await behind.exit("a", 1)
    again.open()
    await assert_replaced_once(behind, before)


async def test_a_crash_while_the_watch_on_pods_is_broken_is_made_good_afterwards(
    behind: Group, proxy: FaultProxy
) -> None:
    before = await started(behind)
    again = proxy.hold(POD_WATCH)
    assert proxy.drop(POD_WATCH) == 1
    await again.arrived.wait()
    await behind.exit("a", 1)
    await behind.api.until(JOBS, lambda jobs: any(job["status"].get("failed") for job in jobs), behind.namespace)
    again.open()
    await assert_replaced_once(behind, before)


@pytest.mark.parametrize("behind", [{"silence_seconds": 3.0}], indirect=True)
async def test_a_crash_behind_a_silent_watch_is_made_good_when_the_watch_is_given_up(
    behind: Group, proxy: FaultProxy
) -> None:
    before = await started(behind)
    await proxy.watching(POD_WATCH)
    proxy.silence(watches())
    await behind.exit("a", 1)
    await assert_replaced_once(behind, before)


@pytest.mark.parametrize("behind", [{"gap_seconds": 2.0}], indirect=True)
async def test_no_silence_from_before_the_end_of_a_blind_spell_is_held_against_anybody(
    behind: Group, proxy: FaultProxy
) -> None:
    await behind.apply(failurePolicy=IMPATIENT)
    hanging = await behind.play("a")
    await behind.play("b")
    await behind.until_condition("Progressing", "True", "Training")
    again = proxy.hold(POD_WATCH)
    hanging.hang()
    proxy.drop(POD_WATCH)
    await again.arrived.wait()
    await behind.looks(3)
    seeing_seconds = time.monotonic()
    again.open()
    await behind.until_attempt("a", 2)
    assert time.monotonic() - seeing_seconds >= IMPATIENT["hang"]["steadySeconds"]
    job = await behind.until(is_steady)
    assert [row.get("restarts") for row in job["status"]["students"]] == [{"hang": 1}, None]


async def test_nothing_is_done_before_everything_is_listed(behind: Group, proxy: FaultProxy) -> None:
    before = await started(behind)
    operator = behind.site.operator
    await operator.kill()
    num_calls = len(proxy.calls)
    proxy.answer(503, of("GET", "/distilljobs"), times=2)
    slow = proxy.hold(is_list_of_children, times=7)
    starting = asyncio.create_task(operator.start())
    await proxy.called(is_list_of_children, 14)
    await behind.exit("a", 1)
    await behind.api.until(JOBS, lambda jobs: any(job["status"].get("failed") for job in jobs), behind.namespace)
    assert await operator.page("/readyz") == (503, "children are being listed\n")
    assert not any(call.is_mutating for call in proxy.calls[num_calls:])
    slow.open()
    await starting
    await assert_replaced_once(behind, before)


def is_list_of_children(call: Call) -> bool:
    return lists("/namespaces/")(call) and call.query.get("labelSelector") == names.LABEL_JOB


async def test_an_api_server_that_is_away_for_ten_looks_costs_no_student_anything(
    control_plane: ControlPlane,
    api: Api,
    namespace: str,
    operator: OperatorProcess,
    aggregators: Aggregators,
) -> None:
    group = Group(Site(api, operator, aggregators, namespace, ()), "group", namespace)
    await group.apply(failurePolicy=IMPATIENT)
    for name in "ab":
        await group.play(name)
    await group.until_condition("Progressing", "True", "Training")
    before = await pod_uids(group)
    control_plane.kill_api_server()
    await group.site.aggregators.until_looks(group.namespace, group.name, 10)
    control_plane.start_api_server()
    await group.site.aggregators.until_looks(group.namespace, group.name, 3)
    assert await pod_uids(group) == before
    await group.exit("a", 1)
    await assert_replaced_once(group, before)


@pytest.mark.parametrize("behind", [{"no_pod_seconds": 1.0, "ask_again_seconds": 1.0}], indirect=True)
async def test_why_a_job_makes_no_pod_is_told_also_when_the_word_comes_after_the_question(
    behind: Group, proxy: FaultProxy
) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await behind.api.create(RESOURCE_QUOTAS, quota, behind.namespace)
    await behind.api.until(RESOURCE_QUOTAS, lambda found: found[0].get("status", {}).get("used"), behind.namespace)
    proxy.find_nothing(lists("/events"), times=2)
    await behind.apply("a")
    await behind.until_condition("StudentsReady", "False", "StudentsPending", "and no event says why yet")
    await behind.until_condition("StudentsReady", "False", "StudentsPending", "exceeded quota: none")
