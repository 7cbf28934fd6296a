"""The operator's client, informer and lease on a real API server."""

import asyncio
import gc
import socket
import ssl
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from distilljob_operator import api as access
from distilljob_operator import errors, lease
from distilljob_operator.connection import NoCluster, connect
from distilljob_operator.informer import Informer
from distilljob_operator.lease import Lease, LeaseLost
from rig.api import CONFIG_MAPS, NAMESPACES
from rig.cluster import Cluster
from rig.control_plane import ControlPlane

JOB = {"distilljob.dev/job": "one"}


@pytest.fixture
async def client(control_plane: Cluster) -> AsyncIterator[access.Api]:
    async with connect(control_plane.kubeconfig()) as connection:
        yield access.Api(connection)


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of the namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": JOB}, "data": data}


async def test_a_name_that_is_taken_is_told_from_a_conflict(client, maps):
    made = await client.create(maps, config_map("a"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(maps, config_map("a"))
    stale = config_map("a", x="1")
    stale["metadata"]["resourceVersion"] = "1"
    with pytest.raises(errors.Conflict, match="has been modified"):
        await client.put(f"{maps}/a", stale)
    made["data"] = {"x": "2"}
    assert (await client.put(f"{maps}/a", made))["data"] == {"x": "2"}


@pytest.mark.parametrize("verb", ["put", "patch"])
async def test_a_write_never_reaches_another_object_of_that_name(client, maps, verb):
    await client.create(maps, config_map("a", x="1"))
    body = config_map("a", x="2")
    body["metadata"]["uid"] = str(uuid.uuid4())
    with pytest.raises(errors.Conflict):
        await getattr(client, verb)(f"{maps}/a", body)
    assert (await client.get(f"{maps}/a"))["data"] == {"x": "1"}
    body["metadata"]["name"] = "b"
    with pytest.raises(errors.NotFound):
        await getattr(client, verb)(f"{maps}/b", body)


async def test_delete_succeeds_when_it_is_gone_and_spares_another_object_of_that_name(client, maps):
    old = await client.create(maps, config_map("a"))
    await client.delete(f"{maps}/a", old["metadata"]["uid"])
    await client.delete(f"{maps}/a", old["metadata"]["uid"])
    new = await client.create(maps, config_map("a"))
    await client.delete(f"{maps}/a", old["metadata"]["uid"])
    assert (await client.get(f"{maps}/a"))["metadata"]["uid"] == new["metadata"]["uid"]


async def test_a_wrong_object_is_told_field_by_field(client, maps):
    body = config_map("a")
    body["metadata"]["labels"] = {"distilljob.dev/job": "no label!", "a/b/c": "x"}
    with pytest.raises(errors.Invalid) as caught:
        await client.create(maps, body)
    assert [cause.field for cause in caught.value.causes] == ["metadata.labels", "metadata.labels"]
    assert all("Invalid value" in cause.message for cause in caught.value.causes)


async def test_a_watch_follows_one_object_alone(client, maps):
    page = await client.get(maps)
    await client.create(maps, config_map("other"))
    await client.create(maps, config_map("a"))
    async with client.watch(maps, page["metadata"]["resourceVersion"], name="a") as events:
        first = await anext(events)
    assert first["object"]["metadata"]["name"] == "a"


@pytest.fixture
def taciturn(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """Give the kubeconfig of a server that tells of one bookmark, and then never says anything, not even goodbye."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(control_plane.keys.path("apiserver.crt"), control_plane.keys.path("apiserver.key"))
    event = b'{"type": "BOOKMARK", "object": {}}\n'
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(event), event)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as thread:

        def tell() -> ssl.SSLSocket:
            connection = context.wrap_socket(listening.accept()[0], server_side=True)
            connection.recv(1 << 16)
            connection.sendall(answer)
            return connection

        telling = thread.submit(tell)
        kubeconfig, own = tmp_path / "kubeconfig", f"127.0.0.1:{listening.getsockname()[1]}"
        kubeconfig.write_text(control_plane.kubeconfig().read_text().replace(f"127.0.0.1:{control_plane.port}", own))
        yield kubeconfig
        telling.result(10).close()


def test_a_watch_that_is_left_leaves_no_connection_behind(taciturn):
    async def leave() -> None:
        async with connect(taciturn) as to, access.Api(to).watch("/api/v1/namespaces", "") as events:
            await anext(events)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(leave())
        gc.collect()
    assert [str(warning.message) for warning in told if warning.category is ResourceWarning] == []


async def test_a_client_is_known_by_its_name_and_knows_its_namespace(control_plane, maps, api, namespace, tmp_path):
    config = yaml.safe_load(control_plane.kubeconfig().read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    async with connect(tmp_path / "config", client_name="somebody") as connection:
        assert connection.namespace == namespace
        await access.Api(connection).create(maps, config_map("a"))
    async with connect(control_plane.kubeconfig()) as connection:
        assert connection.namespace == "default"
    found = await api.get(CONFIG_MAPS, "a", namespace)
    assert [entry["manager"] for entry in found["metadata"]["managedFields"]] == ["somebody"]


async def test_apply_takes_its_fields_over_and_leaves_the_others(client, maps, api, namespace):
    await api.create(CONFIG_MAPS, config_map("a", theirs="1", ours="0"), namespace)
    await client.apply(f"{maps}/a", config_map("a", ours="2"))
    found = await client.get(f"{maps}/a")
    assert found["data"] == {"theirs": "1", "ours": "2"}
    assert "distilljob-operator" in {entry["manager"] for entry in found["metadata"]["managedFields"]}


async def test_a_terminating_namespace_a_quota_and_missing_rights_are_told_apart(client, control_plane, api, namespace):
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    hard = {"count/configmaps": "0", "pods": "10", "limits.cpu": "10"}
    quotas = "api/v1/resourcequotas"
    await api.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": hard}}, namespace)
    await api.until(quotas, lambda found: found[0].get("status", {}).get("hard"), namespace)
    with pytest.raises(errors.Forbidden, match="exceeded quota") as exceeded:
        await client.create(maps, config_map("a"))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    with pytest.raises(errors.Forbidden, match=r"must specify limits\.cpu") as unlimited:
        await client.create(f"/api/v1/namespaces/{namespace}/pods", pod)
    async with connect(control_plane.service_account_kubeconfig(namespace, "default")) as connection:
        with pytest.raises(errors.Forbidden, match="cannot create resource") as rights:
            await access.Api(connection).create(maps, config_map("a"))
    finalized = {"metadata": {"name": "stays", "finalizers": ["test/stays"]}}
    await api.create("api/v1/serviceaccounts", finalized, namespace)
    await api.delete(NAMESPACES, namespace)
    with pytest.raises(errors.Forbidden) as terminating:
        await client.create(maps, config_map("b"))
    await api.patch("api/v1/serviceaccounts", "stays", {"metadata": {"finalizers": None}}, namespace)
    told = [(found.value.is_quota, found.value.is_terminating_namespace) for found in (exceeded, unlimited)]
    assert told == [(True, False), (True, False)]
    assert (terminating.value.is_quota, terminating.value.is_terminating_namespace) == (False, True)
    assert (rights.value.is_quota, rights.value.is_terminating_namespace) == (False, False)


async def test_an_object_that_breaks_a_rule_is_invalid(client, maps):
    with pytest.raises(errors.Invalid, match=r"metadata\.name"):
        await client.create(maps, config_map("Not_A_Name"))
    with pytest.raises(errors.Invalid, match="unmarshal"):
        await client.create(maps, {"metadata": []})


async def test_a_list_and_a_watch_of_metadata_carry_nothing_else(client, maps):
    for name in "abc":
        await client.create(maps, config_map(name, secret="x"))
    what: dict[str, Any] = {"selector": "distilljob.dev/job=one", "metadata_only": True}
    pages = [page async for page in client.list_pages(maps, **what, limit=2)]
    assert [len(page["items"]) for page in pages] == [2, 1]
    assert not any("data" in item for page in pages for item in page["items"])
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
    await client.create(maps, config_map("d", secret="x"))
    version = pages[0]["metadata"]["resourceVersion"]
    async with client.watch(maps, version, **what) as events:
        event = await anext(events)
    assert event["object"]["metadata"]["name"] == "d"
    assert "data" not in event["object"]


async def test_every_request_is_told_with_verb_resource_and_code(control_plane, namespace):
    told = []
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    async with connect(control_plane.kubeconfig()) as connection:
        client = access.Api(connection, on_request=lambda *request: told.append(request[:3]))
        await client.create(maps, config_map("a"))
        with pytest.raises(errors.NotFound):
            await client.get(f"{maps}/b")
        async with client.watch(maps, ""):
            pass
    assert told == [("create", "configmaps", 201), ("get", "configmaps", 404), ("watch", "configmaps", 200)]


async def test_a_kubeconfig_that_does_not_exist_is_an_error_that_names_it(tmp_path):
    with pytest.raises(NoCluster, match=r"nowhere.*--kubeconfig"):
        async with connect(tmp_path / "nowhere"):
            pass


async def test_a_token_file_is_read_again_when_it_was_renewed(control_plane, monkeypatch, tmp_path):
    monkeypatch.setattr("distilljob_operator.connection._CREDENTIAL_CHECK_SECONDS", 0.01)
    token = tmp_path / "token"
    token.write_text("expired")
    good = control_plane.kubeconfig().read_text()
    import yaml

    config = yaml.safe_load(good)
    valid = config["users"][0]["user"]["token"]
    config["users"][0]["user"] = {"tokenFile": str(token)}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    async with connect(file) as connection:
        client = access.Api(connection)
        with pytest.raises(errors.ApiError, match="Unauthorized"):
            await client.get("/api/v1/namespaces")
        token.write_text(valid)
        async with asyncio.timeout(30):
            while True:
                try:
                    await client.get("/api/v1/namespaces")
                    break
                except errors.ApiError:
                    await asyncio.sleep(0.01)


class Watched:
    """An informer at work, and waiting for what it says."""

    def __init__(self, client: access.Api, path: str, **more: Any) -> None:
        self.told: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        self.informer = Informer(client, path, _project, self._on_change, clock=time.monotonic, **more)

    def _on_change(self, job: tuple[str, str]) -> None:
        self.told.append(job)
        self._changed.set()

    def names(self, namespace: str) -> set[str]:
        return {name for name, _ in self.informer.of(namespace, "one")}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def _project(body: dict) -> tuple[str, str]:
    return body["metadata"]["name"], body["metadata"]["uid"]


@asynccontextmanager
async def watched(client: access.Api, path: str, **more: Any) -> AsyncIterator[Watched]:
    found = Watched(client, path, **more)
    task = asyncio.create_task(found.informer.run())
    try:
        async with asyncio.timeout(60):
            await found.informer.synced.wait()
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_informer_sees_what_was_there_and_what_comes_and_goes(client, maps, namespace):
    await client.create(maps, config_map("before"))
    foreign = config_map("foreign")
    foreign["metadata"]["labels"] = {}
    await client.create(maps, foreign)
    async with watched(client, maps, selector="distilljob.dev/job") as seen:
        assert seen.names(namespace) == {"before"}
        made = await client.create(maps, config_map("after"))
        await seen.until(lambda: seen.names(namespace) == {"before", "after"})
        await client.delete(f"{maps}/after", made["metadata"]["uid"])
        await seen.until(lambda: seen.names(namespace) == {"before"})
        assert set(seen.told) == {(namespace, "one")}


async def test_an_informer_knows_our_own_write_at_once(client, maps, namespace):
    async with watched(client, maps) as seen:
        made = await client.create(maps, config_map("ours"))
        seen.informer.absorb(made)
        assert "ours" in seen.names(namespace)
        await client.delete(f"{maps}/ours", made["metadata"]["uid"])
        await seen.until(lambda: "ours" not in seen.names(namespace))


@pytest.fixture
def leases(client: access.Api, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lease]:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)

    def make(identity: str, clock: Callable[[], float] = time.monotonic) -> Lease:
        return Lease(client, namespace, "operator", identity, clock=clock)

    return make


async def first_of(*waiting: Awaitable[Any]) -> set[int]:
    tasks = [asyncio.ensure_future(one) for one in waiting]
    done, _ = await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {number for number, task in enumerate(tasks) if task in done}


async def test_one_of_many_gets_the_lease_and_the_next_when_it_is_given_back(leases):
    candidates = [leases(f"pod-{number}") for number in range(4)]
    winners = await first_of(*(one.acquire() for one in candidates))
    assert len(winners) == 1
    held = candidates.pop(winners.pop())
    waiting = asyncio.create_task(candidates[0].acquire())
    await held.release()
    async with asyncio.timeout(30):
        await waiting


async def test_a_container_that_is_restarted_in_its_pod_holds_the_lease_still(leases):
    await leases("pod").acquire()
    async with asyncio.timeout(5):
        await leases("pod").acquire()


async def test_a_lease_that_stands_still_is_taken_and_one_that_is_renewed_is_not(leases, client, namespace):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    await leases("first").acquire()
    found = await client.get(f"{path}/operator")
    found["spec"] |= {"leaseDurationSeconds": 1, "renewTime": "2000-01-01T00:00:00.000000Z"}
    await client.put(f"{path}/operator", found)
    second = leases("second")
    async with asyncio.timeout(30):
        await second.acquire()
    taken = await client.get(f"{path}/operator")
    assert (taken["spec"]["holderIdentity"], taken["spec"]["leaseTransitions"]) == ("second", 1)
    assert await first_of(second.hold(), leases("third").acquire(), asyncio.sleep(2)) == {2}


async def test_a_holder_whose_lease_was_taken_stops(leases, client, namespace):
    held = leases("first")
    await held.acquire()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
    found = await client.get(path)
    found["spec"]["holderIdentity"] = "second"
    await client.put(path, found)
    with pytest.raises(LeaseLost, match="taken"):
        await held.hold()


async def test_a_holder_goes_on_when_somebody_touched_the_lease_without_taking_it(leases, client, namespace):
    held = leases("first")
    await held.acquire()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
    touched = await client.patch(path, {"metadata": {"annotations": {"touched": "yes"}}})
    holding = asyncio.create_task(held.hold())
    async with client.watch(path.rpartition("/")[0], touched["metadata"]["resourceVersion"]) as events:
        assert (await anext(events))["object"]["metadata"]["annotations"] == {"touched": "yes"}
    assert not holding.done()
    holding.cancel()


async def test_a_holder_that_was_asleep_for_too_long_stops(leases):
    now_seconds = 0.0
    held = leases("first", clock=lambda: now_seconds)
    await held.acquire()
    now_seconds = 100.0
    with pytest.raises(LeaseLost, match="could not be renewed"):
        await held.hold()
