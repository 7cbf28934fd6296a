"""Carrying out what was decided. Every step may come again: what is there stays, what is gone is gone.

Children are created, never adopted: a name that is taken by somebody else's object is told to the user, and what an
earlier job of the same name left is waited for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

from distilljob_core import names
from distilljob_core.errors import DistillJobError
from distilljob_core.spec.job import API_GROUP, KIND
from distilljob_operator.api import STRICT, Api, Json
from distilljob_operator.children import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
    Child,
    Kind,
)
from distilljob_operator.errors import AlreadyExists, Conflict, NotFound
from distilljob_operator.manifests.objects import Manifest

KINDS: Final[dict[str, Kind[Any]]] = {
    "Job": JOBS,
    "Pod": PODS,
    "Deployment": DEPLOYMENTS,
    "Service": SERVICES,
    "ConfigMap": CONFIG_MAPS,
    "PersistentVolumeClaim": CLAIMS,
    "NetworkPolicy": NETWORK_POLICIES,
}
"""Everything that is written and watched."""
SECRETS: Final = "/api/v1/namespaces/{}/secrets"
"""Secrets are only ever created."""
SHORTEST_SECONDS: Final = 1
"""Of all values that activeDeadlineSeconds may have."""


class NameTaken(DistillJobError):
    """A child's name belongs to an object of somebody else."""


class StillThere(DistillJobError):
    """An earlier job of the same name has left a child that is being collected; it will be gone soon."""


class Applier:
    """Writes children.

    Args:
        api: the API server.
        absorb: takes in what was written before any watch brings it.
    """

    def __init__(self, api: Api, absorb: Callable[[Kind[Any], Json], None]) -> None:
        self._api = api
        self._absorb = absorb

    async def create(self, body: Manifest) -> Json:
        """Create a child, or see that it is there; the object as it is.

        Raises:
            NameTaken: another live object has its name.
            StillThere: the object of an earlier job has, and is on its way out.
            ApiError: the API server does not make it; a misspelled field of a job's `pod` ends here, too.
        """
        kind = KINDS[body["kind"]]
        collection = kind.path(body["metadata"]["namespace"])
        try:
            made = await self._api.create(collection, body, **STRICT)
        except AlreadyExists:
            made = await self._api.get(f"{collection}/{body['metadata']['name']}")
            _check_ownership(made, body)
        self._absorb(kind, made)
        return made

    async def create_secret(self, body: Manifest) -> None:
        """Create a Secret; one that bears our UID in its name is ours, and nobody may read it."""
        with suppress(AlreadyExists):
            await self._api.create(SECRETS.format(body["metadata"]["namespace"]), body)

    async def update(self, body: Manifest, child: Child) -> None:
        """Bring a child that is ours up to its manifest."""
        kind = KINDS[body["kind"]]
        body = body | {"metadata": body["metadata"] | {"uid": child.uid}}
        self._absorb(kind, await self._api.apply(_path(kind, child), body))

    async def delete(self, kind: Kind[Any], child: Child) -> None:
        """Delete a child; what it owns goes first, so that its end can be seen."""
        await self._api.delete(_path(kind, child), child.uid, propagation="Foreground")

    async def forget(self, kind: Kind[Any], child: Child) -> None:
        """Delete a child without waiting for anything: its node may never answer again."""
        grace_seconds = 0 if kind is PODS else None
        await self._api.delete(_path(kind, child), child.uid, grace_seconds=grace_seconds)

    async def end_with_evidence(self, pod: Child) -> None:
        """Have the kubelet end a pod as one that ran out of time: TERM, KILL, and pod and logs stay."""
        body: Json = {"metadata": {"uid": pod.uid}, "spec": {"activeDeadlineSeconds": SHORTEST_SECONDS}}
        with suppress(NotFound, Conflict):  # gone, or another pod: either way it is not there to be ended
            self._absorb(PODS, await self._api.patch(_path(PODS, pod), body))


async def all_of(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Take steps at once and let each come to its end; then raise the first failure, if there was one."""
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    failure = next((outcome for outcome in outcomes if outcome is not None), None)
    if failure is not None:
        raise failure


def _path(kind: Kind[Any], child: Child) -> str:
    return f"{kind.path(child.namespace)}/{child.name}"


def _check_ownership(found: Json, body: Manifest) -> None:
    """See that an object which has a child's name is that child."""
    metadata, wanted = found["metadata"], body["metadata"]
    uid = wanted["labels"][names.LABEL_UID]
    if (metadata.get("labels") or {}).get(names.LABEL_UID) == uid and _controller(metadata) == _controller(wanted):
        return
    what = f"{body['kind']} {metadata['namespace']}/{metadata['name']}"
    owner = _controller(metadata)
    is_of_predecessor = owner and owner[:2] == (KIND, wanted["labels"][names.LABEL_JOB])
    if "deletionTimestamp" in metadata or is_of_predecessor:
        raise StillThere(f"{what} of an earlier job is still there")
    whose = f"belongs to {owner[0]} {owner[1]}" if owner else "belongs to nobody"
    raise NameTaken(f"the name of {what} is taken, it {whose}: delete it, or give the {KIND} another name")


def _controller(metadata: Json) -> tuple[str, str, str] | None:
    """Give kind, name and UID of the controller; another group's DistillJob is no DistillJob."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            group = owner["apiVersion"].partition("/")[0]
            kind = owner["kind"] if group == API_GROUP or owner["kind"] != KIND else f"{group}/{KIND}"
            return kind, owner["name"], owner["uid"]
    return None
