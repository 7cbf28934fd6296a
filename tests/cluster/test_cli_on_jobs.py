"""The command line on jobs that run: the operator, a real aggregator behind the API server's pod proxy, logs."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from harness.jobs import condition, distilljob, student, until_job
from harness.students import Student, run_to_the_end
from rig.api import DISTILLJOBS, PODS, Api
from rig.control_plane import ControlPlane
from rig.pod_network import Kubelet, PodNetwork

CRDS = Path(__file__).resolve().parents[2] / "deploy/crds"
Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> PodNetwork:
    return PodNetwork(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def control_plane(network: PodNetwork) -> Iterator[ControlPlane]:
    """A control plane of this module's own, whose API server reaches into pods."""
    with ControlPlane(api_server=[network.flag]) as plane:
        plane.install_crds(CRDS)
        yield plane


@pytest.fixture(scope="module")
def crd(control_plane: ControlPlane) -> None:
    """Installed with the control plane."""


@pytest.fixture
async def kubelet(control_plane: ControlPlane, network: PodNetwork) -> AsyncIterator[Kubelet]:
    keys = control_plane.keys
    async with network.opened(), Kubelet().opened(network, keys.path("apiserver.crt"), keys.path("apiserver.key")) as k:
        yield k


@pytest.fixture
def cli(control_plane: ControlPlane, namespace: str) -> Run:
    """Run a command as a process of its own; its exit code and what it said."""
    options = [f"--kubeconfig={control_plane.kubeconfig()}", f"--namespace={namespace}"]

    async def run(*arguments: str) -> tuple[int, str, str]:
        argv = [sys.executable, "-m", "distilljob.main", *arguments, *options]
        process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


async def until_pods(api: Api, namespace: str, role: str, count: int = 1) -> list[dict]:
    return await api.until(
        PODS,
        lambda pods: len(pods) == count and all(pod["status"].get("podIP") for pod in pods),
        namespace,
        selector=f"distilljob.dev/role={role}",
    )


async def test_status_shows_the_round_table_through_the_pod_proxy(
    cli, api, namespace, kubelet, network, operator, aggregators, summary
):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    [pod] = await until_pods(api, namespace, "aggregator")
    code, out, _ = await cli("status", "group", "--json")
    assert code == 0
    assert json.loads(out)["aggregator"].startswith("does not answer: error trying to reach service")
    host, _, port = aggregator.url.removeprefix("http://").rpartition(":")
    network.routes[f"{pod['status']['podIP']}:8471"] = (host, int(port))
    students = [await Student.of_pod(api, aggregator, namespace, name, 1) for name in "ab"]
    for one in students:
        await one.join()
        await one.until_heard()
    await until_job(api, namespace, "group", lambda job: condition(job, "Progressing")[0] == "True")
    tree = json.loads((await cli("status", "group", "--json"))[1])
    assert (tree["phase"], tree["aggregator"]) == ("Training", "ready")
    assert [(row["name"], row["phase"], row["rowsTotal"]) for row in tree["students"]] == [
        ("a", "Independent", 40),
        ("b", "Independent", 40),
    ]
    _, top, _ = await cli("top", "group")
    assert "open round: cycle 1, 0 of 2 students complete" in top
    assert "StudentStarted, a, b: attempt 1" in top
    await run_to_the_end(students, summary)
    for one in students:
        one.leave()
        await api.annotate(PODS, one.pod_name, namespace, exit_code="0")
    assert (await cli("wait", "group", "--timeout", "60s"))[:2] == (0, "group: Complete, best student a with 90.00 %\n")
    _, told, _ = await cli("status", "group")
    assert "best student: a, 90.00 %" in told
    assert "the weights are in the claim group-results-" in told


async def test_logs_are_those_of_the_newest_attempt_or_of_the_one_that_was_named(
    cli, api, namespace, kubelet, operator, aggregators
):
    await api.create(DISTILLJOBS, distilljob("group", "a"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    first = await Student.of_pod(api, aggregator, namespace, "a", 1)
    await kubelet.say(first.pod_name, '{"event": "epoch", "loss": 0.5}', "a wall")
    code, out, told = await cli("logs", "group", "a")
    assert (code, out) == (0, '{"event": "epoch", "loss": 0.5}\na wall\n'), told
    await first.join()
    first.leave()
    await api.annotate(PODS, first.pod_name, namespace, exit_code="1")
    second = await Student.of_pod(api, aggregator, namespace, "a", 2)
    await kubelet.say(second.pod_name, "again")
    assert (await cli("logs", "group", "a"))[1] == "again\n"
    assert (await cli("logs", "group", "a", "--attempt", "1"))[1].endswith("a wall\n")
    code, _, told = await cli("logs", "group", "a", "--attempt", "3")
    assert (code, " ".join(told.split())) == (3, "error: a has no log of attempt 3; there are attempts 1, 2")
    [pod] = await until_pods(api, namespace, "aggregator")
    await kubelet.say(pod["metadata"]["name"], "listening")
    assert (await cli("logs", "group", "aggregator"))[1] == "listening\n"
    assert kubelet.asked[-1] == (pod["metadata"]["name"], "aggregator")


async def test_following_goes_on_over_later_attempts_to_the_end_of_the_job(
    cli, api, namespace, kubelet, operator, aggregators
):
    await api.create(DISTILLJOBS, distilljob("group", "a"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    first = await Student.of_pod(api, aggregator, namespace, "a", 1)
    following = asyncio.create_task(cli("logs", "group", "a", "-f"))
    await kubelet.until_asked(first.pod_name)
    await kubelet.say(first.pod_name, "one")
    await first.join()
    first.leave()
    await api.annotate(PODS, first.pod_name, namespace, exit_code="1")
    await kubelet.end(first.pod_name)
    second = await Student.of_pod(api, aggregator, namespace, "a", 2)
    await kubelet.say(second.pod_name, "two")
    await kubelet.end(second.pod_name)
    await api.annotate(PODS, second.pod_name, namespace, exit_code="80")
    code, out, told = await following
    assert (code, out) == (0, "one\ntwo\n")
    assert f"==> {second.pod_name} <==" in told


async def test_an_attempt_that_has_not_started_says_why(cli, api, namespace, operator):
    await api.create(DISTILLJOBS, distilljob("group", "a", pod={"nodeSelector": {"none": "such"}}), namespace)
    await api.until(
        PODS,
        lambda pods: pods and pods[0].get("status", {}).get("conditions"),
        namespace,
        selector="distilljob.dev/role=student",
    )
    code, _, told = await cli("logs", "group", "a")
    assert code == 1
    assert "a: attempt 1 has not started: Unschedulable" in " ".join(told.split())


async def test_a_job_is_suspended_and_resumed_and_loses_nothing(cli, api, namespace, operator, aggregators):
    await api.create(DISTILLJOBS, distilljob("group", "a"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    first = await Student.of_pod(api, aggregator, namespace, "a", 1)
    await first.join()
    await until_job(api, namespace, "group", lambda job: condition(job, "Progressing")[0] == "True")
    first.leave()
    await cli("suspend", "group")
    assert (await cli("wait", "group", "--for", "suspended"))[:2] == (0, "group: Suspended\n")
    assert "Suspended" in (await cli("status", "group"))[1]
    await cli("resume", "group")
    job = await until_job(api, namespace, "group", lambda job: student(job, "a").get("attempt") == 2)
    assert job["status"].get("restartsTotal", 0) == 0


async def test_a_restart_is_no_failure_and_its_log_stays(cli, api, namespace, kubelet, operator, aggregators):
    await api.create(DISTILLJOBS, distilljob("group", "a"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    first = await Student.of_pod(api, aggregator, namespace, "a", 1)
    await first.join()
    await until_job(api, namespace, "group", lambda job: condition(job, "Progressing")[0] == "True")
    first.leave()
    await kubelet.say(first.pod_name, "saved")
    assert (await cli("restart", "group", "a"))[:2] == (0, "a: attempt 1 saves and ends, and attempt 2 goes on\n")
    await Student.of_pod(api, aggregator, namespace, "a", 2)
    job = await until_job(api, namespace, "group", lambda job: student(job, "a").get("attempt") == 2)
    assert job["status"].get("restartsTotal", 0) == 0
    assert student(job, "a")["lastTermination"]["exitCode"] == 143
    assert (await cli("logs", "group", "a", "--attempt", "1"))[1] == "saved\n"
