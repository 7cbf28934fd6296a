"""The operator dies at every call that changes something, before the call arrives and after it was carried out.

A short life holds them all: a start, a crash, a suspension and its end. It is lived once undisturbed, to learn which
calls there are; then once for each of them, and after the kill another operator goes on. Nothing is lost or doubled.
"""

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distilljob_core import names
from distilljob_operator.api import resource_of
from fault_proxy import Call, FaultProxy
from harness.jobs import condition, distilljob, student, until_job
from harness.operator_process import OperatorProcess
from rig.api import DISTILLJOBS, JOBS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Api, Object

NUM_AT_ONCE = 4
LIMIT_SECONDS = 240.0
"""Several operators start at once, each a second of work."""
NOBODY = "--aggregator-url=http://127.0.0.1:9"
"""No aggregator answers: ends are judged by pods alone."""
MOST_OF_A_KIND = {"distilljobs/status": 6, "events": 2, "persistentvolumeclaims": 1}
"""Claims are made at once, and how often progress is shown depends on the machine."""
MOST_DELETIONS = 1
"""Of a kind: one is asked for again until the watch tells of it."""


@dataclass(frozen=True)
class Site:
    """The n-th call of its kind."""

    verb: str
    resource: str
    number: int

    def matches(self, call: Call) -> bool:
        return (call.verb, resource_of(call.path)) == (self.verb, self.resource)


@dataclass
class Life:
    """What one life of a job showed."""

    calls: list[Call] = field(default_factory=list)
    pods: dict[str, set[str]] = field(default_factory=dict)
    """UIDs of all pods ever seen, by attempt."""
    most_live: int = 0
    job: Object = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    killed_at: Call | None = None


async def live(api: Api, kubeconfig: Path, folder: Path, site: Site | None = None, *, forward: bool = False) -> Life:
    """Let a job with one student start, crash, be suspended and resumed; kill the operator once, or never."""
    namespace, seen = f"life-{secrets.token_hex(4)}", Life()
    await api.create(NAMESPACES, {"metadata": {"name": namespace}})
    await api.until(SERVICE_ACCOUNTS, bool, namespace, name="default")
    folder = folder / namespace
    folder.mkdir()
    async with FaultProxy(kubeconfig, folder) as proxy, asyncio.TaskGroup() as group:
        operator = OperatorProcess(proxy.kubeconfig, namespace, folder, NOBODY)
        await operator.start()
        tasks = [group.create_task(_watch_pods(api, namespace, seen))]
        if site is not None:
            struck = proxy.kill(operator.pid, site.number, forward=forward, match=site.matches)
            tasks.append(group.create_task(_succeed(operator, struck, seen)))
        try:
            await _go_through(api, namespace, seen)
        except AssertionError as error:
            error.add_note(f"{site}, forwarded: {forward}, killed at {seen.killed_at}\n{operator.log.read_text()}")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await operator.stop()
        seen.calls = proxy.mutations
    await api.delete(NAMESPACES, namespace)
    return seen


async def _go_through(api: Api, namespace: str, seen: Life) -> None:
    security = {"tls": "OperatorManaged"}
    await api.create(DISTILLJOBS, distilljob("group", "a", security=security), namespace)
    pod = await _running(api, namespace, 1)
    await api.annotate(PODS, pod["metadata"]["name"], namespace, exit_code="1")
    await _running(api, namespace, 2)
    await api.patch(DISTILLJOBS, "group", {"spec": {"suspend": True}}, namespace)
    await until_job(api, namespace, "group", _is_suspended, LIMIT_SECONDS)
    await api.patch(DISTILLJOBS, "group", {"spec": {"suspend": False}}, namespace)
    await _running(api, namespace, 3)
    seen.job = await until_job(api, namespace, "group", _is_settled, LIMIT_SECONDS)
    seen.jobs = [one["metadata"]["name"] for one in await api.list(JOBS, namespace)]


def _is_suspended(job: Object) -> bool:
    return condition(job, "Suspended")[0] == "True"


def _is_settled(job: Object) -> bool:
    return student(job, "a").get("podUID", "") != "" and condition(job, "StudentsReady")[0] == "True"


async def _running(api: Api, namespace: str, attempt: int) -> Object:
    def runs(pods: list[Object]) -> bool:
        return bool(pods) and pods[0]["status"].get("phase") == "Running"

    selector = f"{names.LABEL_STUDENT}=a,{names.LABEL_ATTEMPT}={attempt}"
    return (await api.until(PODS, runs, namespace, selector=selector, limit_seconds=LIMIT_SECONDS))[0]


async def _succeed(operator: OperatorProcess, struck: "asyncio.Future[Call]", seen: Life) -> None:
    """Start the next operator when the first one has been killed."""
    seen.killed_at = await struck
    assert await operator.wait() == -9
    await operator.start()


async def _watch_pods(api: Api, namespace: str, seen: Life) -> None:
    """Note every pod of the student, and how many of them ever lived at once."""

    def note(pods: list[Object]) -> bool:
        for pod in pods:
            attempt = pod["metadata"]["labels"][names.LABEL_ATTEMPT]
            seen.pods.setdefault(attempt, set()).add(pod["metadata"]["uid"])
        alive = [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
        seen.most_live = max(seen.most_live, len(alive))
        return False

    await api.until(PODS, note, namespace, selector=f"{names.LABEL_STUDENT}=a", limit_seconds=3 * LIMIT_SECONDS)


def _sites(calls: list[Call]) -> list[Site]:
    """List the calls of a life, each kind no more often than it always happens."""
    counts: Counter[tuple[str, str]] = Counter()
    sites = []
    for call in calls:
        kind = (call.verb, resource_of(call.path))
        counts[kind] += 1
        most = MOST_DELETIONS if call.verb == "DELETE" else MOST_OF_A_KIND.get(kind[1], len(calls))
        if counts[kind] <= most:
            sites.append(Site(*kind, counts[kind]))
    return sites


@pytest.mark.timeout(900)
async def test_an_operator_killed_at_any_call_loses_and_doubles_nothing(control_plane, crd, api, tmp_path):
    kubeconfig = control_plane.kubeconfig()
    undisturbed = await live(api, kubeconfig, tmp_path)
    sites = _sites(undisturbed.calls)
    assert {site.verb for site in sites} == {"POST", "PUT", "DELETE"}
    gate = asyncio.Semaphore(NUM_AT_ONCE)

    async def one(site: Site, forward: bool) -> tuple[str, Life]:
        async with gate:
            seen = await live(api, kubeconfig, tmp_path, site, forward=forward)
            return f"killed {'after' if forward else 'before'} {site}", seen

    lives = [one(site, forward) for site in sites for forward in (False, True)]
    for about, seen in await asyncio.gather(*lives):
        assert seen.killed_at is not None, about
        row = student(seen.job, "a")
        assert (row["attempt"], row["restarts"]) == (3, {"crash": 1}), about
        assert seen.job["status"]["restartsTotal"] == 1, about
        assert sorted(seen.pods) == ["1", "2", "3"], about
        assert all(len(uids) == 1 for uids in seen.pods.values()), about
        assert seen.most_live == 1, about
        assert sorted(seen.jobs) == ["group-a-a1", "group-a-a3"], about
