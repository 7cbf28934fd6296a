"""The command line against a real API server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import distilljob as distilljob_door
from distilljob.cluster import complete
from distilljob.cluster.access import reach
from distilljob.cluster.place import Place
from distilljob.commands import run_command
from distilljob.errors import BadInput, NotFound
from fault_proxy import FaultProxy, of, watches
from harness.jobs import STORAGE, distilljob
from rig.api import DISTILLJOBS, Api, Object
from rig.build import program
from rig.cluster import Cluster

LIMIT_SECONDS = 120.0
NOW = "2026-01-02T03:00:00Z"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """Everything that it said, on one line."""
        return " ".join((self.out + self.err).split())


class CommandLine:
    """`distilljob`, for one namespace: within this process, which has imported everything, or as one of its own."""

    def __init__(self, kubeconfig: Path, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
        self._capsys = capsys

    async def start(self, *arguments: str, environment: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start a command."""
        argv = [sys.executable, "-m", "distilljob.main", *arguments, *self._options]
        return await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
        )

    async def __call__(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        self._capsys.readouterr()
        async with asyncio.timeout(LIMIT_SECONDS):
            code = await asyncio.to_thread(run_command, [*arguments, *self._options])
        return Ended(code, *self._capsys.readouterr())


async def ended(process: asyncio.subprocess.Process) -> Ended:
    """Wait for a command's end."""
    async with asyncio.timeout(LIMIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def cli_for(crd: None, capsys: pytest.CaptureFixture[str]) -> Callable[[Path, str], CommandLine]:
    return lambda kubeconfig, namespace: CommandLine(kubeconfig, namespace, capsys)


@pytest.fixture
def cli(control_plane: Cluster, cli_for: Callable[[Path, str], CommandLine], namespace: str) -> CommandLine:
    return cli_for(control_plane.kubeconfig(), namespace)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Object], str]:
    """Write a job to a file."""

    def written(job: Object) -> str:
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        return str(tmp_path / "job.yaml")

    return written


@pytest.fixture
def tell(api: Api, namespace: str) -> Callable[..., Awaitable[Object]]:
    """Write a job's status, as the operator would."""

    async def told(name: str, **status: object) -> Object:
        return await api.patch(DISTILLJOBS, name, {"status": status}, namespace, subresource="status")

    return told


def shown(type_: str, status: str = "True", reason: str = "Because", message: str = "") -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}


async def test_a_file_is_submitted_once_and_changes_nothing_the_second_time(cli, api, namespace, write):
    file = write(distilljob("group"))
    first, again = await cli("submit", file), await cli("submit", file)
    assert (first.code, again.code) == (0, 0)
    assert f"created group in the namespace {namespace}" in first.out
    assert "is there already, with the same spec" in again.out
    job = await api.get(DISTILLJOBS, "group", namespace)
    assert job["metadata"]["generation"] == 1
    assert {entry["manager"] for entry in job["metadata"]["managedFields"]} == {"distilljob"}


async def test_before_the_start_everything_may_change(cli, api, namespace, write):
    await cli("submit", write(distilljob("group")))
    changed = await cli("submit", write(distilljob("group", method={"cycles": 3, "independentEpochs": 1})))
    assert changed.code == 0
    assert "spec.method.cycles" in changed.out
    assert (await api.get(DISTILLJOBS, "group", namespace))["spec"]["method"]["cycles"] == 3


async def test_after_the_start_a_change_names_every_frozen_field_and_what_to_do(cli, api, namespace, write, tell):
    await cli("submit", write(distilljob("group")))
    await tell("group", startTime=NOW)
    wanted = distilljob("group", training={"batchSize": 7}, failurePolicy={"maxRestarts": 3})
    refused = await cli("submit", write(wanted))
    assert refused.code == 2
    assert "spec.training.batchSize is 7, was 128 fix: cannot change once the job has started" in refused.told
    assert "maxRestarts" not in refused.told
    allowed = await cli("submit", write(distilljob("group", failurePolicy={"maxRestarts": 3})))
    assert allowed.code == 0
    job = await api.get(DISTILLJOBS, "group", namespace)
    assert (job["spec"]["failurePolicy"]["maxRestarts"], job["spec"]["training"]["batchSize"]) == (3, 128)


async def test_a_file_takes_back_no_wish_that_it_does_not_speak_of(cli, api, namespace, write, tell):
    file = write(distilljob("group", method={"cycles": 3, "independentEpochs": 1}))
    await cli("submit", file)
    await tell("group", startTime=NOW, cycle=2)
    assert (await cli("finish", "group")).code == 0
    assert "with the same spec" in (await cli("submit", file)).out
    assert (await api.get(DISTILLJOBS, "group", namespace))["spec"]["stopAfterCycle"] == 2


async def test_python_submits_what_the_command_submits_even_within_an_event_loop(
    control_plane, crd, api, namespace, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig()))
    monkeypatch.setattr("distilljob_operator.connection.KUBE_CONFIG_DEFAULT_LOCATION", str(control_plane.kubeconfig()))
    first = distilljob_door.submit(distilljob("group"), namespace)
    again = distilljob_door.submit(distilljob("group"), namespace)
    job = await api.get(DISTILLJOBS, "group", namespace)
    assert first == distilljob_door.Submission("group", namespace, job["metadata"]["uid"], "Created")
    assert again.outcome == "Unchanged"
    with pytest.raises(BadInput, match="two namespaces"):
        distilljob_door.submit({**distilljob("group"), "metadata": {"name": "group", "namespace": "other"}}, namespace)


async def test_what_the_api_server_refuses_is_told_field_by_field(control_plane, crd, namespace):
    def bad() -> None:
        with reach(Place(namespace, None, str(control_plane.kubeconfig()))) as cluster:
            job = distilljob("group", method={"name": "ECDNN", "cycles": 0}, quorum={"minimumStudents": 9})
            cluster.run(cluster.api.create(cluster.jobs, job))

    with pytest.raises(BadInput) as caught:
        await asyncio.to_thread(bad)
    assert caught.value.title == "the cluster refuses this DistillJob"
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told["spec.method.cycles"] == "should be greater than or equal to 1, not 0"


async def test_a_broken_rule_of_the_resource_is_told_in_its_own_words(control_plane, crd, namespace):
    def bad() -> None:
        with reach(Place(namespace, None, str(control_plane.kubeconfig()))) as cluster:
            job = distilljob("group", quorum={"minimumStudents": 9})
            cluster.run(cluster.api.create(cluster.jobs, job))

    with pytest.raises(BadInput) as caught:
        await asyncio.to_thread(bad)
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told["spec.quorum.minimumStudents"] == "is larger than the number of students: lower it"


async def test_a_field_that_the_installed_resource_does_not_know_is_not_dropped(control_plane, crd, namespace):
    def newer() -> None:
        with reach(Place(namespace, None, str(control_plane.kubeconfig()))) as cluster:
            path = f"{cluster.jobs}?fieldValidation=Strict"
            cluster.run(cluster.api.create(path, distilljob("group", brightness=1)))

    with pytest.raises(BadInput) as caught:
        await asyncio.to_thread(newer)
    assert [(one.path, one.message) for one in caught.value.problems] == [("spec.brightness", "unknown field")]


async def test_a_cluster_without_the_resource_says_how_to_install_it(control_plane, namespace):
    def look() -> None:
        with reach(Place(namespace, None, str(control_plane.kubeconfig()))) as cluster:
            cluster.run(cluster.api.get(f"/apis/nothing.dev/v1/namespaces/{namespace}/things/one"))

    with pytest.raises(NotFound, match="distilljob is not installed in this cluster"):
        await asyncio.to_thread(look)


@pytest.mark.parametrize(
    "arguments",
    [("status", "grup"), ("top", "grup"), ("logs", "grup", "a"), ("wait", "grup"), ("suspend", "grup"),
     ("resume", "grup"), ("finish", "grup"), ("restart", "grup", "a"), ("delete", "grup")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
async def test_a_job_that_is_not_there_is_told_with_names_that_come_close(cli, api, namespace, arguments):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    none = await cli(*arguments)
    assert none.code == 3
    assert f"error: the namespace {namespace} has no job grup; there is group." in none.told


@pytest.mark.parametrize("name", ["./group", "../../pods", "Group", "a?b"])
async def test_what_can_be_no_name_of_a_job_is_never_asked_for(cli, name):
    refused = await cli("status", name)
    assert (refused.code, refused.told) == (
        2,
        f"error: {name} is no name of a job: those are lower-case letters, digits and '-'",
    )


async def test_a_namespace_that_is_not_there_is_told(control_plane, cli_for):
    elsewhere = cli_for(control_plane.kubeconfig(), "no-such-place")
    assert (await elsewhere("status")).told == "error: there is no namespace no-such-place; choose one with -n"
    assert (await elsewhere("status", "group")).code == 3


async def test_who_has_no_rights_is_told_what_to_ask_for(control_plane, cli_for, namespace, write):
    stranger = cli_for(control_plane.service_account_kubeconfig(namespace, "default"), namespace)
    for arguments in (["status"], ["submit", write(distilljob("group"))]):
        refused = await stranger(*arguments)
        assert refused.code == 1
        assert "error: you may not do this" in refused.told
        assert "distilljobs.distilljob.dev" in refused.told
        assert "fix: ask whoever runs the cluster for a role in this namespace" in refused.told


async def test_a_cluster_that_is_not_there_is_told(control_plane, cli_for, tmp_path):
    config = yaml.safe_load(control_plane.kubeconfig().read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    nowhere = await cli_for(tmp_path / "config", "default")("status")
    assert nowhere.code == 1
    assert "error: the cluster does not answer https://127.0.0.1:9" in nowhere.told


async def test_status_lists_the_jobs_of_a_namespace(cli, api, namespace, tell):
    assert "no jobs in the namespace" in (await cli("status")).out
    for name in ("one", "two"):
        await api.create(DISTILLJOBS, distilljob(name), namespace)
    await tell("two", phase="Training", cycle=2, cycles=4, cycleColumn="2/4", studentsColumn="2/2", restartsTotal=3)
    listed = (await cli("status")).out.splitlines()
    assert listed[0].split() == ["job", "phase", "cycle", "students", "restarts", "accuracy", "age"]
    assert listed[1].split()[:3] == ["one", "Pending", "0"]
    assert listed[2].split()[:5] == ["two", "Training", "2/4", "2/2", "3"]
    told = json.loads((await cli("status", "--json")).out)
    assert [(job["name"], job["cycle"], job["restarts"]) for job in told] == [("one", 0, 0), ("two", 2, 3)]


async def test_status_tells_what_the_operator_has_written(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    end = {"attempt": 1, "exitCode": 137, "reason": "OOMKilled", "time": NOW}
    rows = [
        {"name": "a", "phase": "BackOff", "attempt": 1, "restarts": {"crash": 1}, "lastTermination": end},
        {"name": "b", "phase": "Distilling", "attempt": 2, "cycle": 1},
    ]
    degraded = shown("Degraded", reason="StudentOutOfMemory", message="a: raise its memory")
    await tell("group", phase="Training", startTime=NOW, cycle=1, students=rows, conditions=[degraded])
    told = await cli("status", "group")
    assert f"restarts 1 · Training (namespace {namespace})" in told.told
    assert "aggregator: not running" in told.out
    assert "a: attempt 1 ended with exit code 137" in told.told
    assert "degraded: StudentOutOfMemory, a: raise its memory" in told.told
    tree = json.loads((await cli("status", "group", "--json")).out)
    assert [(row["name"], row["attempt"]) for row in tree["students"]] == [("a", 1), ("b", 2)]
    assert tree["students"][1]["phase"] == "Distilling"
    assert tree["conditions"][0]["reason"] == "StudentOutOfMemory"


async def test_a_failed_job_says_whose_log_to_read(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    ends = {name: {"attempt": 3, "exitCode": 1, "time": NOW} for name in "ab"}
    rows = [{"name": name, "phase": "Queued", "attempt": 3, "lastTermination": end} for name, end in ends.items()]
    failed = shown("Failed", reason="StudentDiverged", message="student b: attempt 3 exited 85")
    await tell("group", phase="Failed", startTime=NOW, completionTime=NOW, students=rows, conditions=[failed])
    told = await cli("status", "group")
    assert "failed: student b: attempt 3 exited 85 (StudentDiverged)" in told.told
    assert f"distilljob logs group b --attempt 3 -n {namespace}" in told.told
    assert "lower training.optimizer.learningRate" in told.told


async def test_suspend_and_resume_are_said_once(cli, api, namespace):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    assert "go on with distilljob resume group" in (await cli("suspend", "group")).told
    assert (await api.get(DISTILLJOBS, "group", namespace))["spec"]["suspend"] is True
    assert (await cli("suspend", "group")).out == "group is suspended already\n"
    assert (await cli("resume", "group")).out == "group goes on where it stopped\n"
    assert (await api.get(DISTILLJOBS, "group", namespace))["spec"]["suspend"] is False
    assert (await cli("resume", "group")).out == "group is not suspended\n"


async def test_finish_names_the_cycles_that_are_left(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group", method={"cycles": 4, "independentEpochs": 1}), namespace)
    await tell("group", startTime=NOW, cycle=2)
    early = await cli("finish", "group", "--after-cycle", "1")
    assert early.code == 2
    assert "--after-cycle only 2 to 4 are left" in early.told
    assert (await cli("finish", "group")).out == "group ends after cycle 2 of 4; cycle 2 is open\n"
    assert (await cli("finish", "group", "--after-cycle", "3")).code == 0
    assert (await api.get(DISTILLJOBS, "group", namespace))["spec"]["stopAfterCycle"] == 3


async def test_a_job_that_has_ended_takes_no_wishes(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    await tell("group", startTime=NOW, completionTime=NOW, conditions=[shown("Complete", reason="AllStudentsDone")])
    for arguments in (["suspend", "group"], ["finish", "group"], ["restart", "group", "a"]):
        refused = await cli(*arguments)
        assert refused.code == 2
        assert f"has ended (Complete, AllStudentsDone): there is nothing to {arguments[0]}" in refused.told


async def test_restart_names_the_attempt_that_is_to_be_over(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    rows = [{"name": "a", "phase": "Distilling", "attempt": 2}, {"name": "b", "phase": "BackOff", "attempt": 1}]
    await tell("group", startTime=NOW, students=rows)
    assert (await cli("restart", "group", "a")).out == "a: attempt 2 saves and ends, and attempt 3 goes on\n"
    metadata = (await api.get(DISTILLJOBS, "group", namespace))["metadata"]
    assert metadata["annotations"] == {"distilljob.dev/restart-a": f"{metadata['uid']}/2"}
    waiting = await cli("restart", "group", "b")
    assert (waiting.code, "has no attempt at work" in waiting.told) == (2, True)
    unknown = await cli("restart", "group", "c")
    assert (unknown.code, "its students are a, b" in unknown.told) == (3, True)


@pytest.mark.parametrize(
    ("results", "fate"),
    [
        (STORAGE, "stay in"),
        (STORAGE | {"retention": "Delete"}, "are deleted with"),
        ({"storage": {"claimName": "group-results"}, "retention": "Delete"}, "stay in"),
    ],
    ids=["kept", "deleted", "in a claim of the user"],
)
async def test_delete_says_what_becomes_of_the_results(cli, api, namespace, tell, results, fate):
    await api.create(DISTILLJOBS, distilljob("group", results=results), namespace)
    result = {"bestStudent": "a", "accuracy": 0.9, "exact": True, "volumeClaimName": "group-results"}
    await tell("group", startTime=NOW, completionTime=NOW, result=result)
    assert (await cli("delete", "group")).out == f"group is deleted\nits results {fate} the claim group-results\n"
    assert await api.list(DISTILLJOBS, namespace) == []


async def test_wait_ends_when_the_job_is_there(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    waiting = await cli.start("wait", "group", "--timeout", "100s")
    await tell("group", startTime=NOW, conditions=[shown("Progressing")])
    assert (await cli("wait", "group", "--for", "training")) == Ended(0, "group: Progressing\n", "")
    result = {"bestStudent": "a", "accuracy": 0.9, "exact": True}
    await tell("group", completionTime=NOW, result=result, conditions=[shown("Complete")])
    assert (await ended(waiting)) == Ended(0, "group: Complete, best student a with 90.00 %\n", "")


async def test_wait_tells_a_failure_from_a_timeout_and_from_a_deletion(cli, api, namespace, tell):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    late = await cli("wait", "group", "--timeout", "1s")
    assert (late.code, late.told) == (124, "error: group is not complete after 1s; it is Pending")
    await tell("group", startTime=NOW, conditions=[shown("Failed", reason="QuorumLost", message="too few")])
    failed = await cli("wait", "group")
    assert (failed.code, failed.told) == (1, "error: group failed: too few (QuorumLost)")


@pytest.fixture
async def proxy(control_plane: Cluster, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(control_plane.kubeconfig(), tmp_path) as misbehaving:
        yield misbehaving


@pytest.fixture
async def waiting(
    cli_for: Callable[[Path, str], CommandLine],
    proxy: FaultProxy,
    api: Api,
    namespace: str,
    uncovered: dict[str, str],
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that waits for a job, and watches it."""
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    process = await cli_for(proxy.kubeconfig, namespace).start("wait", "group", environment=uncovered)
    await proxy.watching(watches("/distilljobs"))
    yield process
    if process.returncode is None:
        process.kill()
        await process.communicate()


async def test_wait_ends_when_the_job_is_deleted(waiting, api, namespace):
    await api.delete(DISTILLJOBS, "group", namespace)
    assert await ended(waiting) == Ended(3, "", "error: group was deleted\n")


async def test_sigterm_ends_a_wait_at_once(waiting):
    waiting.send_signal(signal.SIGTERM)
    assert await ended(waiting) == Ended(143, "", "")


async def test_wait_outlives_an_api_server_that_is_away(waiting, proxy, tell):
    proxy.answer(503, of(part="/distilljobs"), times=3)
    assert proxy.drop(watches("/distilljobs")) == 1
    await proxy.called(of(part="/distilljobs"), count=5)
    await tell("group", startTime=NOW, completionTime=NOW, conditions=[shown("Complete")])
    done = await ended(waiting)
    assert (done.code, done.out) == (0, "group: Complete\n")
    assert "waiting for the API server" in done.err


async def test_wait_notices_a_job_that_was_made_anew(waiting, proxy, api, namespace):
    gate = proxy.hold(of(part="/distilljobs"), times=100)
    proxy.drop(watches("/distilljobs"))
    await api.delete(DISTILLJOBS, "group", namespace)
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    gate.open()
    assert (await ended(waiting)).code == 3


async def test_the_shell_completes_jobs_and_their_processes(control_plane, crd, api, namespace):
    place = Place(namespace, None, str(control_plane.kubeconfig()))
    for name in ("one", "two"):
        await api.create(DISTILLJOBS, distilljob(name), namespace)
    assert await asyncio.to_thread(complete.job_names, place) == ["one", "two"]
    assert await asyncio.to_thread(complete.process_names, "two", place) == ["a", "b", "aggregator"]
    assert await asyncio.to_thread(complete.process_names, "three", place) == []


async def test_kubectl_completes_the_plugins_commands_and_jobs(control_plane, crd, api, namespace, tmp_path):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": scripts, "HOME": str(tmp_path), "KUBECONFIG": str(control_plane.kubeconfig())}

    async def completed(*words: str) -> list[str]:
        argv = [str(program("kubectl")), "__complete", "distill", *words]
        kubectl = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
        )
        return (await ended(kubectl)).out.splitlines()

    assert await completed("su") == ["submit", "suspend", ":4"]
    assert await completed("wait", f"--namespace={namespace}", "g") == ["group", ":4"]
    assert await completed("render", "") == [":0"], "files"
