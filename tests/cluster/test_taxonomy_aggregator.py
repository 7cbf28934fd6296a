"""What becomes of a job whose aggregator fails, forgets, or has no room, on a real control plane."""

import asyncio
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilljob_core.exchange import RoundKey
from harness.aggregators import Aggregator
from harness.group import Group
from harness.jobs import student
from harness.students import run_to_the_end
from rig.api import PODS

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGGREGATOR = "distilljob.dev/role=aggregator"


@contextmanager
def full_disk(aggregator: Aggregator, limit_bytes: int) -> Iterator[None]:
    """No file of the aggregator's may grow beyond this, its log included."""
    unlimited = resource.prlimit(aggregator.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(aggregator.pid, resource.RLIMIT_FSIZE, (limit_bytes, unlimited[1]))
    try:
        yield
    finally:
        resource.prlimit(aggregator.pid, resource.RLIMIT_FSIZE, unlimited)


async def test_an_aggregator_that_dies_comes_back_and_costs_no_student_anything(group: Group, summary):
    """Complaint 5: the head dies, and the job stays running for ever."""
    await group.apply()
    students = [await group.play(name) for name in "ab"]
    await students[0].bring(RoundKey(1))
    before = await aggregator_pod(group)
    await group.aggregator.kill()
    await group.api.annotate(PODS, before["metadata"]["name"], group.namespace, exit_code="1")
    uid = before["metadata"]["uid"]
    selector = f"{group.selector()},{AGGREGATOR}"
    await group.api.until(PODS, lambda pods: any(_runs(pod, uid) for pod in pods), group.namespace, selector=selector)
    await group.aggregator.start()
    await run_to_the_end(students, summary)
    for one in students:
        one.leave()
        await group.exit(one.who.student, 0)
    job = await group.until_condition("Complete", "True", "AllStudentsDone")
    assert job["status"]["restartsTotal"] == 0
    assert [student(job, one.who.student)["podUID"] for one in students] == [one.who.pod_uid for one in students]


async def test_an_aggregator_that_lost_its_state_fails_the_job(group: Group):
    await group.apply(method={"cycles": 2, "independentEpochs": 1, "distillEpochs": 1})
    students = [await group.play(name) for name in "ab"]
    for one in students:
        await one.bring(RoundKey(1))
    await students[0].fetch(RoundKey(1))
    await group.looks(3)
    for one in students:
        one.leave()
    await group.aggregator.kill()
    shutil.rmtree(group.aggregator.state)
    group.aggregator.state.mkdir()
    await group.aggregator.start()
    told = "the aggregator knows 0 closed rounds and knew 1: restore its state volume"
    await group.until_condition("Failed", "True", "AggregatorStateLost", told)


async def test_an_aggregator_that_cannot_be_cured_by_a_restart_fails_the_job(group: Group):
    await group.apply()
    pod = await aggregator_pod(group)
    [container] = pod["status"]["containerStatuses"]
    ended = {"exitCode": 80, "reason": "Error", "message": "no such codec"}
    container |= {  # as the kubelet writes it of a container that it starts again
        "ready": False,
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    conditions = [one | {"status": "False"} if one["type"] == "Ready" else one for one in pod["status"]["conditions"]]
    status = {"status": {"containerStatuses": [container], "conditions": conditions}}
    await group.api.annotate(PODS, pod["metadata"]["name"], group.namespace, unreachable="fake nodes end no such pod")
    await group.api.patch(PODS, pod["metadata"]["name"], status, group.namespace, subresource="status")
    await group.until_condition("Failed", "True", "FatalSpec", "the aggregator exited 80: Error: no such codec")


async def test_students_wait_for_room_on_the_state_volume(group: Group):
    await group.apply("a")
    a = await group.play("a")
    size_bytes = (group.aggregator.state / "journal").stat().st_size
    with full_disk(group.aggregator, size_bytes + 10):
        bringing = asyncio.create_task(a.bring(RoundKey(1)))
        job = await group.until_condition("Degraded", "True", "SpoolFull", "state volume larger")
        assert job["status"]["restartsTotal"] == 0
        assert not bringing.done()
    await bringing
    job = await group.until_condition("Degraded", "False", "Healthy")
    assert student(job, "a")["attempt"] == 1


async def test_students_wait_for_room_on_the_results_volume(group: Group, tmp_path: Path):
    await group.apply("a")
    a = await group.play("a")
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(1_000_000))
    with full_disk(group.aggregator, 500_000):
        publishing = asyncio.create_task(a.publish(weights, "a.safetensors"))
        job = await group.until_condition("Degraded", "True", "ResultsFull", "results volume larger")
        assert job["status"]["restartsTotal"] == 0
        assert not publishing.done()
    await publishing
    job = await group.until_condition("Degraded", "False", "Healthy")
    assert student(job, "a")["attempt"] == 1


async def aggregator_pod(group: Group) -> dict:
    selector = f"{group.selector()},{AGGREGATOR}"
    pods = await group.api.until(PODS, lambda pods: any(map(_runs, pods)), group.namespace, selector=selector)
    return next(pod for pod in pods if _runs(pod))


def _runs(pod: dict, before_uid: str = "") -> bool:
    return pod["status"]["phase"] == "Running" and pod["metadata"]["uid"] != before_uid
