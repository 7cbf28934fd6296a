"""The way to one API server: its address, credentials that stay fresh, TLS, connections that are kept alive."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigLoader
from yaml import YAMLError

from distilljob_core.errors import DistillJobError
from distilljob_operator.errors import Unavailable, error_from

MOST_CONNECTIONS: Final = 96
"""A call waits for a free one within its time limit; a watch holds one as long as it lasts."""
_CREDENTIAL_CHECK_SECONDS: Final = 60.0
_GOODBYE_SECONDS: Final = 1.0
"""A WebSocket that is left in the middle of a stream waits no longer for the other side's goodbye."""
CLIENT_NAME: Final = "distilljob-operator"
"""User agent of the operator; the server also writes it into managedFields."""
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_log = structlog.get_logger()


class NoCluster(DistillJobError):
    """Neither a kubeconfig nor a service account leads to a cluster; the text says what was tried."""


class Connection:
    """Requests to one API server."""

    def __init__(
        self, configuration: Configuration, *, client_name: str = CLIENT_NAME, namespace: str = "default"
    ) -> None:
        configuration.connection_pool_maxsize = MOST_CONNECTIONS
        configuration.proxy = configuration.proxy or _proxy_of_environment(configuration.host)
        # Left to itself, aiohttp looks up proxies and ~/.netrc at every single request.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._client_name = client_name
        self._rest = RESTClientObject(configuration)
        self.namespace = namespace
        """What the kubeconfig's context, or the pod that this is, takes for granted."""

    @property
    def configuration(self) -> Configuration:
        """Address, credentials and certificates, for clients that make their own requests."""
        return self._configuration

    @asynccontextmanager
    async def request(
        self, method: str, target: str, headers: dict[str, str], body: Any, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request with the credentials of this moment; inside, the head of the answer is there.

        Args:
            method: of HTTP.
            target: path and query.
            headers: what this request adds.
            body: sent as JSON unless it is None.
            limits: of time, for the body of the answer too.

        Raises:
            Unavailable: no connection, or no answer in time.
        """
        headers = {"User-Agent": self._client_name, "Content-Type": "application/json", **headers}
        # Reads the service account's token anew once a minute.
        credential = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if credential:
            headers["Authorization"] = credential
        with unavailable_without_answer():
            url = self._configuration.host + target
            answer = await self._rest.request(method, url, headers=headers, body=body, _request_timeout=limits)
        try:
            yield answer.response
        finally:
            _hang_up(answer.response)

    @asynccontextmanager
    async def websocket(
        self, target: str, protocol: str, silence_seconds: float
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket with the credentials of this moment.

        Args:
            target: path and query.
            protocol: the sub-protocol to speak.
            silence_seconds: without a sign of life for so long, the connection is broken off.

        Raises:
            ApiError: the API server refused.
            Unavailable: no connection.
        """
        headers = {"User-Agent": self._client_name}
        credential = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if credential:
            headers["Authorization"] = credential
        # The library's own session, made at its first request, knows certificates and proxies.
        session = self._rest.pool_manager or self._rest._create_pool_manager()
        self._rest.pool_manager = session
        url = self._configuration.host + target
        opening = session.ws_connect(
            url,
            headers=headers,
            protocols=(protocol,),
            heartbeat=silence_seconds,
            timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_SECONDS),
            proxy=self._configuration.proxy,
        )
        try:
            async with asyncio.timeout(silence_seconds):
                socket = await opening
        except aiohttp.WSServerHandshakeError as error:
            raise error_from(error.status, {"message": f"no WebSocket: {error.message}, {error.status}"}) from None
        try:
            yield socket
        finally:
            await socket.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Break off an answer that was not read to its end: TLS's goodbye would wait for a server that may be silent."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


@contextmanager
def unavailable_without_answer() -> Iterator[None]:
    """Turn what goes wrong on the way into Unavailable."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable.silence("the API server did not answer in time") from error
    except ValueError as error:
        raise Unavailable.silence(f"the answer is not the API server's: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable.silence(f"the API server cannot be reached: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None, context: str | None = None, *, client_name: str = CLIENT_NAME
) -> AsyncIterator[Connection]:
    """Connect as kubectl does: the kubeconfig named, that of $KUBECONFIG or ~/.kube/config; in a pod, its account.

    Raises:
        NoCluster: nothing of this exists, or it cannot be read.
    """
    configuration = Configuration()
    loader = await _load(configuration, kubeconfig, context)
    connection = Connection(configuration, client_name=client_name, namespace=_namespace(loader))
    refresh = asyncio.create_task(_stay_fresh(loader, configuration)) if loader else None
    try:
        yield connection
    finally:
        if refresh:
            refresh.cancel()
        await connection.close()


async def _load(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> KubeConfigLoader | None:
    default = _exists(KUBE_CONFIG_DEFAULT_LOCATION)
    try:
        if kubeconfig is None and context is None and not default:
            load_incluster_config(configuration)
            return None
        file = str(kubeconfig) if kubeconfig else KUBE_CONFIG_DEFAULT_LOCATION
        if not _exists(file):
            raise ConfigException("there is no such file")
        loader: KubeConfigLoader = await load_kube_config(file, context, configuration, persist_config=False)
        return loader
    except (ConfigException, OSError, YAMLError, TypeError) as error:
        tried = kubeconfig or (KUBE_CONFIG_DEFAULT_LOCATION if default or context else "the pod's service account")
        raise NoCluster(f"no way to a cluster: {tried}: {error}. Give --kubeconfig FILE, or set KUBECONFIG") from error


def _namespace(loader: KubeConfigLoader | None) -> str:
    if loader is not None:
        return str(loader.current_context["context"].get("namespace") or "default")
    try:
        return _OWN_NAMESPACE.read_text(encoding="ascii").strip()
    except OSError:
        return "default"


def _exists(files: str) -> bool:
    return any(Path(path).expanduser().exists() for path in files.split(os.pathsep) if path)


async def _stay_fresh(loader: KubeConfigLoader, configuration: Configuration) -> None:
    """Read token files and ask credential plugins again, as the library does for a service account."""
    while True:
        await asyncio.sleep(_CREDENTIAL_CHECK_SECONDS)
        try:
            await loader.load_and_set(configuration)
        except Exception as error:  # whatever a provider of credentials raises; the old ones may live on
            _log.warning("credentials not renewed", error=str(error))


def _proxy_of_environment(host: str) -> str | None:
    """Find the proxy for that host in HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as every Kubernetes client does."""
    parts = urlsplit(host)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
