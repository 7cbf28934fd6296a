"""The operator as a process: how it starts, who leads, and how it ends."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fault_proxy import FaultProxy, lists, of
from harness.jobs import distilljob, until_job
from harness.operator_process import LIMIT_SECONDS, OperatorProcess
from rig.api import DISTILLJOBS, LEASES, Api
from rig.cluster import Cluster

Start = Callable[..., OperatorProcess]


@pytest.fixture
async def proxy(control_plane: Cluster, crd: None, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(control_plane.kubeconfig(), tmp_path) as opened:
        yield opened


@pytest.fixture
async def make(proxy: FaultProxy, namespace: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Make operators for the test's namespace, behind the proxy, each with its name; they end with the test."""
    async with AsyncExitStack() as stack:

        def new(name: str = "first", *flags: str) -> OperatorProcess:
            folder = tmp_path / name
            folder.mkdir()
            lease = ["--lease", f"--lease-namespace={namespace}", f"--identity={name}"]
            process = OperatorProcess(proxy.kubeconfig, namespace, folder, *lease, *flags)
            stack.push_async_callback(process.stop)
            return process

        yield new


def held_by(holder: str) -> Callable[[list], bool]:
    return lambda leases: leases and leases[0]["spec"].get("holderIdentity") == holder


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 - another process's log and pages cannot be awaited
            await asyncio.sleep(0.05)


async def until_said(process: OperatorProcess, text: str) -> None:
    async def said() -> bool:
        return process.log.exists() and bool(process.events(text))

    await until(said)


async def until_page(process: OperatorProcess, path: str, wanted: tuple[int, str]) -> None:
    async def is_wanted() -> bool:
        return await process.page(path) == wanted

    await until(is_wanted)


async def test_it_is_alive_ready_and_leading_and_gives_the_lease_back(make: Start, api: Api, namespace: str) -> None:
    operator = make("first")
    await operator.start()
    assert await operator.page("/livez") == (200, "live\n")
    assert await operator.page("/readyz") == (200, "ready\n")
    assert await operator.metric("distilljob_operator_leading") == 1
    await api.until(LEASES, held_by("first"), namespace)
    assert await operator.stop() == 0
    await api.until(LEASES, held_by(""), namespace)


async def test_what_is_being_written_at_the_end_is_written(
    make: Start, proxy: FaultProxy, api: Api, namespace: str
) -> None:
    operator = make()
    await operator.start()
    gate = proxy.hold(of("PUT", "/status"))
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    async with asyncio.timeout(LIMIT_SECONDS):
        await gate.arrived.wait()
    operator.send(signal.SIGTERM)
    await until_said(operator, "stopping")
    gate.open()
    assert await operator.wait() == 0
    await until_job(api, namespace, "group", lambda job: job["status"]["memory"])
    assert not operator.events("jobs are left in mid-work")


async def test_an_api_server_that_hangs_does_not_keep_it_from_ending(
    make: Start, proxy: FaultProxy, api: Api, namespace: str
) -> None:
    operator = make()
    await operator.start()
    gate = proxy.hold(of("PUT"), times=1_000)
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    async with asyncio.timeout(LIMIT_SECONDS):
        await gate.arrived.wait()
    assert await operator.stop() == 0
    assert operator.events("lease not given back: the next operator waits for its end")


async def test_a_second_operator_waits_until_the_first_is_gone(make: Start, proxy: FaultProxy, api: Api) -> None:
    first, second = make("first"), make("second")
    await first.start()
    starting = asyncio.create_task(second.start())
    await until_said(second, "listening")
    await until_page(second, "/readyz", (503, "another operator holds the lease\n"))
    assert await second.page("/livez") == (200, "live\n")
    assert not starting.done()
    assert await first.stop() == 0
    async with asyncio.timeout(LIMIT_SECONDS):
        await starting
    assert await second.page("/readyz") == (200, "ready\n")


async def test_a_lost_lease_ends_it_at_once(make: Start, api: Api, namespace: str) -> None:
    operator = make()
    await operator.start()
    [lease] = await api.until(LEASES, held_by("first"), namespace)
    await api.patch(LEASES, lease["metadata"]["name"], {"spec": {"holderIdentity": "somebody-else"}}, namespace)
    assert await operator.wait() == 1
    [failed] = operator.events("failed")
    assert "lease was taken" in failed["error"]
    await api.until(LEASES, held_by("somebody-else"), namespace)


async def test_kopf_that_gives_up_ends_the_process(make: Start, proxy: FaultProxy) -> None:
    operator = make()
    proxy.answer(410, lists("distilljobs"), after=1, times=1_000)
    await operator.start()
    assert await operator.wait() == 1
    [failed] = operator.events("failed")
    assert failed["error"] == "kopf stopped watching DistillJobs"


async def test_no_lease_namespace_outside_of_a_pod_is_told(proxy: FaultProxy, namespace: str, tmp_path: Path) -> None:
    operator = OperatorProcess(proxy.kubeconfig, namespace, tmp_path, "--lease")
    with pytest.raises(AssertionError):
        await operator.start()
    assert await operator.wait() == 1
    [failed] = operator.events("failed")
    assert failed["error"].endswith("give --lease-namespace NAMESPACE, or --no-lease")


async def test_every_line_of_its_log_is_json(make: Start, api: Api, namespace: str) -> None:
    operator = make()
    await operator.start()
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    await until_job(api, namespace, "group", lambda job: job.get("status", {}).get("memory"))
    assert await operator.stop() == 0
    lines = [json.loads(line) for line in operator.log.read_text().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
