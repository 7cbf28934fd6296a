"""Events on a real API server: shown by kubectl, once for each decision, and never waited for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Event
from distilljob_operator.api import Api
from distilljob_operator.connection import connect
from distilljob_operator.events import Events
from distilljob_operator.jobs import JobRecord, Jobs, job_key
from fault_proxy import FaultProxy, of
from harness.jobs import distilljob
from rig import api as rig
from rig.cluster import Cluster

CRASHED = Event("Warning", Reason.STUDENT_CRASHED, "exited 1", "a", 1)
LIMIT_SECONDS = 60.0


class Told(NamedTuple):
    """An event poster behind a proxy, one job, and what was dropped, by reason."""

    events: Events
    job: JobRecord
    proxy: FaultProxy
    dropped: Counter[str]


@pytest.fixture
async def told(control_plane: Cluster, crd: None, api: rig.Api, namespace: str, tmp_path: Path) -> AsyncIterator[Told]:
    jobs, dropped = Jobs(), Counter[str]()
    jobs.update(made := await api.create(rig.DISTILLJOBS, distilljob("group"), namespace))
    async with (
        FaultProxy(control_plane.kubeconfig(), tmp_path) as proxy,
        connect(proxy.kubeconfig) as connection,
    ):
        events = Events(Api(connection), "pod-uid", lambda reason: dropped.update([reason]))
        running = asyncio.create_task(events.run())
        yield Told(events, jobs.get(job_key(made)), proxy, dropped)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def posted(api: rig.Api, namespace: str) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in await api.list(rig.EVENTS, namespace)]


async def test_kubectl_describe_shows_what_was_decided(told: Told, namespace: str, kubectl: Callable[..., str]) -> None:
    other = Event("Warning", Reason.STUDENT_CRASHED, "exited 1", "b", 3)
    told.events.tell(told.job, [CRASHED, other, Event("Normal", Reason.RESUMED, "the job goes on")])
    await told.events.flush(LIMIT_SECONDS)
    text = " ".join(kubectl("describe", "distilljob", "group", "-n", namespace).split())
    assert "Warning StudentCrashed" in text
    assert "distilljob-operator a, b: exited 1" in text
    assert "Normal Resumed" in text


async def test_a_decision_that_is_told_again_is_one_event(told: Told, api: rig.Api, namespace: str) -> None:
    for _ in range(2):
        told.events.tell(told.job, [CRASHED])
        await told.events.flush(LIMIT_SECONDS)
    assert await posted(api, namespace) == [("StudentCrashed", "a: exited 1")]
    assert not told.dropped


async def test_an_api_server_that_is_busy_is_asked_again(told: Told, api: rig.Api, namespace: str) -> None:
    told.proxy.answer(429, of("POST", "/events"), retry_after_seconds=1)
    told.events.tell(told.job, [CRASHED])
    await told.events.flush(LIMIT_SECONDS)
    assert await posted(api, namespace) == [("StudentCrashed", "a: exited 1")]


async def test_what_the_api_server_refuses_is_dropped_and_counted(told: Told) -> None:
    told.proxy.answer(403, of("POST", "/events"))
    told.events.tell(told.job, [CRASHED])
    await told.events.flush(LIMIT_SECONDS)
    assert told.dropped == {"Forbidden": 1}


async def test_what_cannot_be_posted_fast_enough_is_dropped_and_nobody_waits(told: Told) -> None:
    gate = told.proxy.hold(of("POST", "/events"), times=10_000)
    for attempt in range(1_500):
        told.events.tell(told.job, [Event("Warning", Reason.STUDENT_CRASHED, "exited 1", "a", attempt)])
    async with asyncio.timeout(LIMIT_SECONDS):
        await gate.arrived.wait()
    assert told.dropped == {"TooMany": 500}
    await told.events.flush(0.05)
