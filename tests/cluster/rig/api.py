"""A thin client for tests: plain JSON over kubernetes.aio, and waiting on a real watch instead of sleeping."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException
from kubernetes.aio.config import new_client_from_config

Object = dict[str, Any]
Objects = list[Object]

NAMESPACES = "api/v1/namespaces"
NODES = "api/v1/nodes"
PODS = "api/v1/pods"
EVENTS = "api/v1/events"
CLAIMS = "api/v1/persistentvolumeclaims"
VOLUMES = "api/v1/persistentvolumes"
CONFIG_MAPS = "api/v1/configmaps"
SECRETS = "api/v1/secrets"
RESOURCE_QUOTAS = "api/v1/resourcequotas"
SERVICES = "api/v1/services"
SERVICE_ACCOUNTS = "api/v1/serviceaccounts"
JOBS = "apis/batch/v1/jobs"
DEPLOYMENTS = "apis/apps/v1/deployments"
NETWORK_POLICIES = "apis/networking.k8s.io/v1/networkpolicies"
LEASES = "apis/coordination.k8s.io/v1/leases"
DISTILLJOBS = "apis/distilljob.dev/v1alpha1/distilljobs"

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Api:
    """One user's client; `async with Api(plane.kubeconfig()) as api`. All errors are kubernetes.aio's ApiException."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._client: ApiClient

    async def __aenter__(self) -> Self:
        self._client = await new_client_from_config(str(self._kubeconfig))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def get(self, resource: str, name: str, namespace: str | None = None) -> Object:
        """Read one object."""
        return await self.request("GET", path(resource, namespace, name))

    async def list(self, resource: str, namespace: str | None = None, *, selector: str | None = None) -> Objects:
        """Read all objects, of a namespace or of all."""
        query = {"labelSelector": selector} if selector else {}
        return (await self.request("GET", path(resource, namespace), query=query))["items"]

    async def create(self, resource: str, manifest: Object, namespace: str | None = None) -> Object:
        """Create an object."""
        return await self.request("POST", path(resource, namespace), manifest)

    async def apply(self, resource: str, manifest: Object, namespace: str | None = None) -> Object:
        """Apply an object server-side, as the field manager `test`."""
        where = path(resource, namespace, manifest["metadata"]["name"])
        query = {"fieldManager": "test", "force": "true"}
        return await self.request("PATCH", where, manifest, query=query, content_type=APPLY_PATCH)

    async def patch(
        self, resource: str, name: str, change: Object, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        """Merge a change into an object."""
        return await self.request(
            "PATCH", path(resource, namespace, name, subresource), change, content_type=MERGE_PATCH
        )

    async def annotate(
        self, resource: str, name: str, namespace: str | None = None, **annotations: str | None
    ) -> Object:
        """Set the rig's annotations: `exit_code="3"` sets rig/exit-code; None removes one."""
        named = {f"rig/{key.replace('_', '-')}": value for key, value in annotations.items()}
        return await self.patch(resource, name, {"metadata": {"annotations": named}}, namespace)

    async def delete(
        self, resource: str, name: str, namespace: str | None = None, *, options: Object | None = None
    ) -> Object:
        """Delete an object; the options are those of DeleteOptions. Nothing waits for it to be gone: see `until`."""
        return await self.request("DELETE", path(resource, namespace, name), options)

    async def until(
        self,
        resource: str,
        condition: Callable[[Objects], object],
        namespace: str | None = None,
        *,
        name: str | None = None,
        selector: str | None = None,
        limit_seconds: float = 60.0,
    ) -> Objects:
        """Wait until the condition holds for the objects as they are now, in order of creation; return them.

        With a name they are that object or none: `until(PODS, lambda pods: not pods, namespace, name="a")`.
        """
        query = {"labelSelector": selector} if selector else {}
        if name:
            query["fieldSelector"] = f"metadata.name={name}"
        seen: Objects = []
        try:
            async with asyncio.timeout(limit_seconds):
                async with aclosing(self.states(path(resource, namespace), query)) as states:
                    async for seen in states:
                        if condition(seen):
                            return seen
        except TimeoutError:
            text = json.dumps([_shown(item) for item in seen], indent=1)
            raise AssertionError(f"after {limit_seconds} s the {resource} are still\n{text}") from None
        raise AssertionError("a watch without end has ended")

    async def states(self, where: str, query: Mapping[str, str]) -> AsyncGenerator[Objects, None]:
        """Yield all objects as they are now, and again after every change; list again when a watch breaks."""
        while True:
            listed = await self.request("GET", where, query=query)
            objects = {item["metadata"]["uid"]: item for item in listed["items"]}
            yield _in_order(objects)
            watch = {**query, "watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
            async with aclosing(self._events(where, watch)) as events:
                async for event in events:
                    item = event["object"]
                    if event["type"] == "ERROR":
                        break
                    objects[item["metadata"]["uid"]] = item
                    if event["type"] == "DELETED":
                        del objects[item["metadata"]["uid"]]
                    yield _in_order(objects)

    async def _events(self, where: str, query: Mapping[str, str]) -> AsyncGenerator[Object, None]:
        response = await self._send("GET", where, None, query, "application/json")
        try:
            while line := await response.content.readline():
                yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError):  # the library gives no answer more than five minutes
            return
        finally:
            hang_up(response)

    async def request(
        self,
        method: str,
        where: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Make one request."""
        response = await self._send(method, where, body, query or {}, content_type)
        return json.loads(await response.read())

    async def _send(
        self, method: str, where: str, body: Object | None, query: Mapping[str, str], content_type: str
    ) -> aiohttp.ClientResponse:
        serialized = await self._client.param_serialize(
            method,
            f"/{where}",
            query_params=list(query.items()),
            header_params={"Content-Type": content_type, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*serialized)
        if answer.status >= 400:
            text = (await answer.read()).decode()
            raise ApiException.from_response(http_resp=answer, body=text, data=None)
        return answer.response


def hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the connection of a watch now: TLS's goodbye would outlive the test's event loop."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


def path(resource: str, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """Return an object's or a collection's path: `path(PODS, "default", "a", "eviction")`."""
    group, _, plural = resource.rpartition("/")
    parts = [group, f"namespaces/{namespace}" if namespace else None, plural, name, subresource]
    return "/".join(part for part in parts if part)


def _in_order(objects: Mapping[str, Object]) -> Objects:
    return sorted(objects.values(), key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))


def _shown(item: Object) -> Object:
    return {"name": item["metadata"]["name"], "status": item.get("status")}
