"""The way from a command to one namespace of a cluster, and from its errors to ours."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from distilljob.cluster.place import Place
from distilljob.cluster.refusal import explain, no_cluster
from distilljob.errors import MissingPart
from distilljob_core.spec.job import API_VERSION

try:
    from distilljob_operator.api import Api
    from distilljob_operator.connection import Connection, NoCluster, connect
    from distilljob_operator.errors import ApiError
except ModuleNotFoundError as error:
    raise MissingPart(f"jobs in a cluster need {error.name}: pip install 'distilljob[cli]'") from None

CLIENT_NAME: Final = "distilljob"
"""User agent, and the manager of the fields that it sets."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of a cluster, for as long as a command runs."""

    api: Api
    connection: Connection
    namespace: str
    _runner: asyncio.Runner

    @property
    def jobs(self) -> str:
        """The path of its DistillJobs."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/distilljobs"

    def core(self, plural: str) -> str:
        """Give the path of its objects of a core kind."""
        return f"/api/v1/namespaces/{self.namespace}/{plural}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there.

        Raises:
            CommandError: the API server refused, failed, or cannot be reached.
        """
        try:
            return self._runner.run(work)
        except ApiError as error:
            raise explain(error, self.namespace, self.connection.configuration.host) from error


@contextmanager
def reach(place: Place) -> Iterator[Cluster]:
    """Reach a cluster as kubectl does.

    Raises:
        BadInput: no kubeconfig, no such context, or it cannot be read.
        MissingPart: the Kubernetes client is not installed.
    """
    with asyncio.Runner() as runner:
        kubeconfig = Path(place.kubeconfig).expanduser() if place.kubeconfig else None
        opened = connect(kubeconfig, place.context, client_name=CLIENT_NAME)
        try:
            connection = runner.run(opened.__aenter__())
        except NoCluster as error:
            raise no_cluster(str(error)) from None
        try:
            yield Cluster(Api(connection), connection, place.namespace or connection.namespace, runner)
        finally:
            runner.run(_leave(opened))


async def _leave(opened: AbstractAsyncContextManager[Connection]) -> None:
    """Close the connection, after everything that a signal has interrupted."""
    interrupted = asyncio.all_tasks() - {asyncio.current_task()}
    for task in interrupted:
        task.cancel()
    await asyncio.gather(*interrupted, return_exceptions=True)
    await opened.__aexit__(None, None, None)
