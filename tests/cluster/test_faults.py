"""The operator's client, informer and queue before an API server that misbehaves."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from distilljob_operator import errors, informer, lease
from distilljob_operator.api import Api, TimeLimits
from distilljob_operator.backoff import Backoff
from distilljob_operator.connection import connect
from distilljob_operator.informer import Informer
from distilljob_operator.lease import Lease, LeaseLost
from distilljob_operator.workqueue import WorkQueue
from fault_proxy import FaultProxy, lists, of, watches
from rig.api import CONFIG_MAPS
from rig.api import Api as Admin
from rig.cluster import Cluster

MAPS = "/configmaps"
LIMITS = TimeLimits(call_seconds=2.0, silence_seconds=1.0)
NEVER_SILENT = TimeLimits(silence_seconds=3_600.0)


@pytest.fixture
async def proxy(control_plane: Cluster, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(control_plane.kubeconfig(), tmp_path) as misbehaving:
        yield misbehaving


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Api]:
    async with connect(proxy.kubeconfig) as connection:
        yield Api(connection, limits=LIMITS)


@pytest.fixture
async def patient(proxy: FaultProxy) -> AsyncIterator[Api]:
    """A client that never takes a watch for dead."""
    async with connect(proxy.kubeconfig) as connection:
        yield Api(connection, limits=NEVER_SILENT)


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}{MAPS}"


@pytest.fixture
def write(api: Admin, namespace: str) -> Callable[..., Any]:
    """Create and delete ConfigMaps behind the proxy's back."""

    async def change(*names: str, delete: tuple[str, ...] = ()) -> None:
        for name in delete:
            await api.delete(CONFIG_MAPS, name, namespace)
        for name in names:
            body = {"metadata": {"name": name, "labels": {"distilljob.dev/job": "one"}}}
            await api.create(CONFIG_MAPS, body, namespace)

    return change


class Watched:
    """An informer at work, and waiting for what it says."""

    def __init__(self, client: Api, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = asyncio.Event()
        self.namespace = path.split("/")[4]
        self.informer = Informer(
            client,
            path,
            lambda body: body["metadata"]["name"],
            lambda _: self._changed.set(),
            clock=clock,
            selector="distilljob.dev/job",
            backoff=Backoff(0.05, 0.2),
        )

    @property
    def names(self) -> set[str]:
        return set(self.informer.of(self.namespace, "one"))

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(60):
            while self.names != set(names):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watching(seen: Watched) -> AsyncIterator[None]:
    task = asyncio.create_task(seen.informer.run())
    try:
        async with asyncio.timeout(60):
            await seen.informer.synced.wait()
        yield
    finally:
        assert not task.done(), "an informer never gives up"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_dropped_watch_goes_on_where_it_ended_without_a_new_list(proxy, patient, maps, write):
    await write("old")
    seen = Watched(patient, maps)
    async with watching(seen):
        await write("new")
        await seen.until("old", "new")
        num_lists = len([call for call in proxy.calls if lists(MAPS)(call)])
        blocked = proxy.hold(watches(MAPS))
        assert proxy.drop(watches(MAPS)) == 1
        async with asyncio.timeout(30):
            await blocked.arrived.wait()
        await write("during", delete=("old",))
        blocked.open()
        await seen.until("new", "during")
        assert len([call for call in proxy.calls if lists(MAPS)(call)]) == num_lists


async def test_a_silent_watch_is_given_up_and_nothing_is_lost(proxy, client, maps, write):
    await write("old", "stays")
    seen = Watched(client, maps)
    async with watching(seen):
        await proxy.watching(watches(MAPS))
        assert proxy.silence(watches(MAPS)) == 1
        await write("during", delete=("old",))
        await seen.until("stays", "during")
        # A server restored from a backup is silent until it reaches our version again: a list is the only way out.
        assert len([call for call in proxy.calls if lists(MAPS)(call)]) == 2


async def test_a_watch_whose_version_is_too_old_is_listed_anew_and_deletions_are_noticed(proxy, patient, maps, write):
    await write("old", "stays")
    seen = Watched(patient, maps)
    async with watching(seen):
        await proxy.watching(watches(MAPS))
        gate = proxy.hold(lists(MAPS))
        assert proxy.expire(watches(MAPS)) == 1
        async with asyncio.timeout(30):
            await gate.arrived.wait()
        await write("during", delete=("old",))
        gate.open()
        await seen.until("stays", "during")


async def test_a_watch_that_is_refused_as_too_old_is_listed_anew(proxy, patient, maps, write):
    await write("old", "stays")
    seen = Watched(patient, maps)
    async with watching(seen):
        await proxy.watching(watches(MAPS))
        proxy.answer(410, watches(MAPS), times=2)
        gate = proxy.hold(lists(MAPS), after=1)
        proxy.drop(watches(MAPS))
        async with asyncio.timeout(30):
            await gate.arrived.wait()
        await write("during", delete=("old",))
        gate.open()
        await seen.until("stays", "during")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_informer_gets_over_a_server_that_refuses_lists_and_watches(proxy, client, maps, write, status):
    await write("old")
    proxy.answer(status, lists(MAPS), times=3)
    proxy.answer(status, watches(MAPS), times=3)
    seen = Watched(client, maps)
    async with watching(seen):
        await write("new")
        await seen.until("old", "new")


async def test_a_slow_list_in_pages_shows_one_moment_and_the_watch_brings_the_rest(proxy, patient, maps, write):
    names = [f"map-{number:02}" for number in range(12)]
    await write(*names)
    gate = proxy.hold(lambda call: lists(MAPS)(call) and call.is_page, times=100)
    reading = asyncio.create_task(_read_pages(patient, maps))
    async with asyncio.timeout(30):
        await gate.arrived.wait()
    await write("map-99", delete=("map-00", "map-07", "map-11"))
    gate.open()
    pages = await reading
    assert [len(page["items"]) for page in pages] == [5, 5, 2]
    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == names
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1


async def _read_pages(client: Api, path: str) -> list[dict]:
    return [page async for page in client.list_pages(path, selector="distilljob.dev/job", limit=5)]


async def test_an_informer_whose_list_was_slow_ends_up_with_what_is_there(proxy, patient, maps, write, monkeypatch):
    names = [f"map-{number:02}" for number in range(12)]
    await write(*names)
    monkeypatch.setattr(Api.list_pages, "__kwdefaults__", {**Api.list_pages.__kwdefaults__, "limit": 5})
    gate = proxy.hold(lambda call: lists(MAPS)(call) and call.is_page, times=100)
    expired = 1
    proxy.answer(410, lambda call: lists(MAPS)(call) and call.is_page, times=1, after=expired)
    seen = Watched(patient, maps)
    working = asyncio.create_task(_until(seen, set(names) - {"map-00", "map-11"} | {"map-99"}))
    async with asyncio.timeout(30):
        await gate.arrived.wait()
    assert not seen.informer.synced.is_set()
    await write("map-99", delete=("map-00", "map-11"))
    gate.open()
    await working


async def _until(seen: Watched, names: set[str]) -> None:
    async with watching(seen):
        await seen.until(*names)


async def test_a_gap_counts_when_it_was_long_and_from_its_end_on(proxy, client, maps, write):
    now_seconds = 1_000.0
    await write("old")
    seen = Watched(client, maps, clock=lambda: now_seconds)
    async with watching(seen):
        await write("new")
        await seen.until("old", "new")
        assert seen.informer.watching_since_seconds == 1_000.0
        for gap_seconds, expected_seconds in ((informer.GAP_SECONDS - 1, 1_000.0), (informer.GAP_SECONDS + 1, 1_060.0)):
            gate = proxy.hold(lambda call: watches(MAPS)(call) or lists(MAPS)(call))
            proxy.drop(watches(MAPS))
            async with asyncio.timeout(30):
                await gate.arrived.wait()
            now_seconds += gap_seconds
            gate.open()
            names = seen.names | {f"after-{gap_seconds:.0f}"}
            await write(*names - seen.names)
            await seen.until(*names)
            assert seen.informer.watching_since_seconds == expected_seconds
            assert seen.informer.last_seen_seconds == now_seconds


async def test_the_queue_leaves_the_server_alone_for_as_long_as_it_asks(proxy, client, maps):
    proxy.answer(429, of("POST", MAPS), retry_after_seconds=2)
    queue: WorkQueue[str] = WorkQueue(time.monotonic, Backoff(0.01, 0.01))
    queue.add("a")
    refused_seconds = 0.0
    while True:
        name = await queue.get()
        queue.add(name)  # an event comes during every work
        try:
            await client.create(maps, {"metadata": {"name": name}})
            break
        except errors.TooManyRequests as error:
            refused_seconds = time.monotonic()
            queue.retry(name, error.retry_after_seconds)
        finally:
            queue.done(name)
    assert time.monotonic() - refused_seconds >= 2.0
    assert [call.verb for call in proxy.mutations] == ["POST", "POST"]


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("fault", ["cut", "say_nothing"])
async def test_without_an_answer_nobody_knows_and_asking_again_tells(proxy, client, maps, fault, forward):
    getattr(proxy, fault)(of("POST", MAPS), forward=forward)
    with pytest.raises(errors.Unavailable) as lost:
        await client.create(maps, {"metadata": {"name": "a"}})
    assert lost.value.status == 0
    again = asyncio.ensure_future(client.create(maps, {"metadata": {"name": "a"}}))
    if forward:
        with pytest.raises(errors.AlreadyExists):
            await again
    else:
        assert (await again)["metadata"]["name"] == "a"


async def test_an_answer_that_is_not_the_servers_own_is_an_error_with_its_text(proxy, client, maps):
    with pytest.raises(errors.NotFound, match="404 page not found"):
        await client.get("/apis/nobody.dev/v1/things")


async def test_a_lost_answer_to_a_renewal_loses_no_lease(proxy, client, namespace, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    held = Lease(client, namespace, "operator", "pod", clock=time.monotonic)
    await held.acquire()
    proxy.cut(of("PUT", "/leases/"), forward=True, times=2)
    proxy.answer(500, of("PUT", "/leases/"), times=2)
    holding = asyncio.create_task(held.hold())
    await proxy.called(of("PUT", "/leases/"), 8)
    assert not holding.done()
    holding.cancel()


async def test_a_lease_that_cannot_be_renewed_is_lost_before_anybody_else_may_take_it(
    proxy, client, namespace, monkeypatch
):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease, "LOST_SECONDS", 0.5)
    held = Lease(client, namespace, "operator", "pod", clock=time.monotonic)
    await held.acquire()
    proxy.say_nothing(of("PUT", "/leases/"), times=100)
    async with asyncio.timeout(30):
        with pytest.raises(LeaseLost, match="could not be renewed"):
            await held.hold()


VICTIM = """
import asyncio, sys
from pathlib import Path
from distilljob_operator.api import Api
from distilljob_operator.connection import connect

async def main():
    async with connect(Path(sys.argv[1])) as connection:
        for name in "abc":
            await Api(connection).create(sys.argv[2], {"metadata": {"name": name}})

asyncio.run(main())
"""


@pytest.mark.parametrize(("forward", "made"), [(False, {"a"}), (True, {"a", "b"})])
async def test_a_process_is_killed_exactly_before_or_after_a_write(proxy, api, namespace, maps, forward, made):
    gate = proxy.hold(of("POST", MAPS))
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, str(proxy.kubeconfig), maps)
    struck = proxy.kill(victim.pid, 2, forward=forward)
    gate.open()
    async with asyncio.timeout(60):
        call = await struck
    assert await victim.wait() == -9
    assert str(call) == f"POST {maps}"
    assert [str(call) for call in proxy.mutations] == [f"POST {maps}"] * 2
    found = await api.list(CONFIG_MAPS, namespace)
    assert {item["metadata"]["name"] for item in found} - {"kube-root-ca.crt"} == made
