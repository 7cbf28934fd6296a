"""A watch on DistillJobs that is dead and does not know it, on a real API server behind a proxy that silences it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from distilljob_core.spec.kubectl_yaml import read_yaml
from distilljob_operator.api import Api
from distilljob_operator.connection import connect
from distilljob_operator.credentials import credentials
from distilljob_operator.health import start_web
from distilljob_operator.job_audit import JobAudit
from distilljob_operator.job_watch import JobWatch
from distilljob_operator.jobs import Jobs
from distilljob_operator.store import JobKey
from fault_proxy import FaultProxy, lists, watches
from rig import api as rig
from rig.control_plane import ControlPlane

EXAMPLE = read_yaml((Path(__file__).resolve().parents[2] / "examples/01-digits.yaml").read_text())
GRACE_SECONDS = 0.2
LIMIT_SECONDS = 60.0


class Watched(NamedTuple):
    """One namespace, watched by kopf through the proxy."""

    proxy: FaultProxy
    jobs: Jobs
    changes: "asyncio.Queue[JobKey]"
    audit: JobAudit

    async def told(self) -> JobKey:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.changes.get()


@pytest.fixture
async def watched(control_plane: ControlPlane, crd: None, namespace: str, tmp_path: Path) -> AsyncIterator[Watched]:
    jobs, changes = Jobs(), asyncio.Queue[JobKey]()
    async with (
        FaultProxy(control_plane.kubeconfig(), tmp_path) as proxy,
        connect(proxy.kubeconfig) as connection,
    ):
        watch = JobWatch(jobs, changes.put_nowait, lambda: credentials(connection.configuration), [namespace])
        audit = JobAudit(
            Api(connection), jobs, watch.delivered, changes.put_nowait, namespaces=[namespace], period_seconds=0,
            grace_seconds=GRACE_SECONDS,
        )  # fmt: skip
        await watch.start()
        async with asyncio.timeout(LIMIT_SECONDS):
            await proxy.watching(watches("distilljobs"))
        yield Watched(proxy, jobs, changes, audit)
        await watch.stop()


async def livez(audit: JobAudit) -> tuple[int, str]:
    runner, port = await start_web(CollectorRegistry(), [audit.problem], [], "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/livez") as answer:
            return answer.status, await answer.text()
    finally:
        await runner.cleanup()


async def create(api: rig.Api, namespace: str, name: str = "a") -> None:
    await api.create(rig.DISTILLJOBS, EXAMPLE | {"metadata": {"name": name}}, namespace)


async def test_a_watch_that_delivers_is_alive(watched: Watched, api: rig.Api, namespace: str) -> None:
    await create(api, namespace)
    assert await watched.told() == (namespace, "a")
    await watched.audit.compare()
    assert await livez(watched.audit) == (200, "live\n")


async def test_a_silent_watch_fails_liveness_with_its_reason(watched: Watched, api: rig.Api, namespace: str) -> None:
    assert watched.proxy.silence(watches("distilljobs")) == 1
    await create(api, namespace)
    await watched.audit.compare()
    status, text = await livez(watched.audit)
    assert status == 503
    assert f"the watch on distilljobs is dead: the newest version of {namespace}/a" in text


async def test_a_change_that_a_silent_watch_keeps_back_is_noticed_too(
    watched: Watched, api: rig.Api, namespace: str
) -> None:
    await create(api, namespace)
    await watched.told()
    watched.proxy.silence(watches("distilljobs"))
    changed = await api.patch(rig.DISTILLJOBS, "a", {"metadata": {"labels": {"a": "b"}}}, namespace)
    watched.jobs.update(changed)  # the answer to a write of our own does not hide that the watch is dead
    await watched.audit.compare()
    assert (await livez(watched.audit))[0] == 503


async def test_a_missed_deletion_is_made_up_for(watched: Watched, api: rig.Api, namespace: str) -> None:
    await create(api, namespace)
    await watched.told()
    watched.proxy.silence(watches("distilljobs"))
    await api.delete(rig.DISTILLJOBS, "a", namespace)
    await watched.audit.compare()
    assert watched.jobs.get((namespace, "a")) is None
    assert await watched.told() == (namespace, "a")


async def test_an_api_server_that_does_not_answer_proves_nothing(
    watched: Watched, api: rig.Api, namespace: str
) -> None:
    await create(api, namespace)
    await watched.told()
    gate = watched.proxy.hold(lists("distilljobs"), after=1)
    watched.proxy.answer(503, lists("distilljobs"))
    running = asyncio.create_task(watched.audit.run())
    async with asyncio.timeout(LIMIT_SECONDS):
        await gate.arrived.wait()  # the list after the one that failed
    assert (await livez(watched.audit))[0] == 200
    assert not running.done()
    running.cancel()
    gate.open()
