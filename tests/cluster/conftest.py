"""Fixtures of a real control plane with fake nodes: one per worker, a namespace per test."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from fault_proxy import FaultProxy
from harness.aggregators import Aggregators
from harness.group import Group, Site, short_name
from harness.operator_process import OperatorProcess, hasty
from rig.api import NAMESPACES, SERVICE_ACCOUNTS, Api
from rig.build import RigError, binaries
from rig.cluster import Cluster
from rig.control_plane import ControlPlane

CRDS = Path(__file__).resolve().parents[2] / "deploy/crds"
NUM_NAMESPACES = 3
"""What an operator serves that a module's tests share."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before any test's clock runs."""
    needed = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly:
        try:
            binaries()
        except RigError as error:
            pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """Give a control plane of this worker's own, or the cluster that DISTILLJOB_TEST_KUBECONFIG names."""
    existing = os.environ.get("DISTILLJOB_TEST_KUBECONFIG")
    with Cluster(Path(existing)) if existing else ControlPlane() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def crd(control_plane: Cluster) -> None:
    """Install the custom resource."""
    control_plane.install_crds(CRDS)


@pytest.fixture
async def api(control_plane: Cluster) -> AsyncIterator[Api]:
    """Give the administrator's client."""
    async with Api(control_plane.kubeconfig()) as client:
        yield client


@pytest.fixture
async def namespace(api: Api, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Give a namespace of the test's own; nobody waits for its end."""
    short = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:40].strip("-").lower()
    name = f"{short}-{secrets.token_hex(3)}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    await api.until(SERVICE_ACCOUNTS, bool, name, name="default")  # pods are refused before it is there
    yield name
    await api.delete(NAMESPACES, name)


@pytest.fixture
def kubectl(control_plane: Cluster) -> Callable[..., str]:
    """Run the binary's own kubectl: `kubectl("get", "pods", "-n", namespace, user="admin", stdin=None)`."""
    return control_plane.kubectl


@pytest.fixture
async def aggregators(tmp_path: Path) -> AsyncIterator[Aggregators]:
    """Give the place where real aggregators of fake pods run."""
    opened = Aggregators(tmp_path)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def operator(
    control_plane: Cluster, crd: None, namespace: str, aggregators: Aggregators, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    """Give the operator at work for the test's namespace."""
    process = OperatorProcess(
        control_plane.kubeconfig(), namespace, tmp_path, f"--aggregator-url={aggregators.template}"
    )
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def proxy(control_plane: Cluster, crd: None, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """Give what stands between an operator and the API server."""
    async with FaultProxy(control_plane.kubeconfig(), tmp_path) as opened:
        yield opened


@pytest.fixture
async def behind(
    api: Api,
    namespace: str,
    proxy: FaultProxy,
    aggregators: Aggregators,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Group]:
    """Give a job that is still to be made, of an operator behind the proxy; its parameter says how hasty that is."""
    flags = [f"--aggregator-url={aggregators.template}"]
    process = OperatorProcess(
        proxy.kubeconfig, namespace, tmp_path, *flags, program=hasty(**getattr(request, "param", {}))
    )
    await process.start()
    own = Group(Site(api, process, aggregators, namespace, ()), "group", namespace)
    yield own
    await own.close()
    await process.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    control_plane: Cluster, crd: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """Give what a module's tests share; their module is marked `pytest.mark.asyncio(loop_scope="module")`."""
    folder = tmp_path_factory.mktemp("site")
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Api(control_plane.kubeconfig()))
        module = request.module.__name__.rpartition(".")[2]
        namespaces = [short_name(module) for _ in range(NUM_NAMESPACES)]
        for name in namespaces:
            await admin.create(NAMESPACES, {"metadata": {"name": name}})
            stack.push_async_callback(admin.delete, NAMESPACES, name)
        for name in namespaces:
            await admin.until(SERVICE_ACCOUNTS, bool, name, name="default")
        opened = Aggregators(folder)
        await opened.open()
        stack.push_async_callback(opened.close)
        flags = [f"--aggregator-url={opened.template}", *(f"--namespace={name}" for name in namespaces[1:])]
        process = OperatorProcess(control_plane.kubeconfig(), namespaces[0], folder, *flags)
        await process.start()
        stack.push_async_callback(process.stop)
        yield Site(admin, process, opened, namespaces[0], tuple(namespaces[1:]))


@pytest_asyncio.fixture(loop_scope="module")
async def group(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Group]:
    """Give a job that is still to be made, in the namespace that a module's tests share."""
    own = Group(site, short_name(request.node.name), site.namespace)
    yield own
    await own.close()
