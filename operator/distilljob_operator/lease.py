"""One operator at a time: a Lease, as leader election in Go clients uses it.

The library's own election compares system clocks of two machines and writes local time as UTC; here nobody's clock
counts but ours: a lease has expired when we have watched it stand still for as long as its holder promised to renew it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from distilljob_core.errors import DistillJobError
from distilljob_operator.api import Api, Json
from distilljob_operator.backoff import Backoff
from distilljob_operator.errors import AlreadyExists, ApiError, Conflict, NotFound

DURATION_SECONDS: Final = 15
"""How long the others wait after the last renewal."""
RENEW_SECONDS: Final = 3.0
LOST_SECONDS: Final = 10.0
"""Without a renewal for so long we stop, well before anybody else may start."""

_log = structlog.get_logger()


class LeaseLost(DistillJobError):
    """Somebody else may be at work; stop at once."""


class Lease:
    """The right to be the operator.

    Args:
        api: the API server.
        namespace: of the Lease.
        name: of the Lease; one for each set of namespaces that is watched.
        identity: the UID of our pod. After a restart in the same pod we hold it still.
        clock: tells the time in seconds; must never go back.
    """

    def __init__(self, api: Api, namespace: str, name: str, identity: str, *, clock: Callable[[], float]) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._name = name
        self._identity = identity
        self._clock = clock
        self._body: Json = {}
        """As we last wrote it; empty unless we hold it."""
        self._renewed_seconds = 0.0

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        seen_version, seen_seconds = "", 0.0
        pause = Backoff(RENEW_SECONDS, RENEW_SECONDS)
        while True:
            try:
                found = await self._read()
                if found and found["metadata"]["resourceVersion"] != seen_version:
                    seen_version, seen_seconds = found["metadata"]["resourceVersion"], self._clock()
                if found is None or self._is_free(found, self._clock() - seen_seconds):
                    return await self._take(found)
            except (AlreadyExists, Conflict):
                continue  # somebody was faster
            except ApiError as error:
                _log.warning("no lease yet", lease=self._path, error=str(error))
            await asyncio.sleep(pause.pause_seconds(1))

    async def hold(self) -> None:
        """Renew the lease for as long as it is ours.

        Raises:
            LeaseLost: somebody else took it, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            left_seconds = self._renewed_seconds + LOST_SECONDS - self._clock()
            try:
                async with asyncio.timeout(max(0.0, left_seconds)):
                    await self._renew()
            except TimeoutError as error:
                raise LeaseLost(f"the lease could not be renewed for {LOST_SECONDS:.0f} s") from error
            except ApiError as error:
                _log.warning("lease not renewed", lease=self._path, error=str(error))

    async def release(self) -> None:
        """Give the lease back, so that the next one need not wait for its end; a failure costs just that wait."""
        if not self._body:
            return
        body, self._body = self._body, {}
        body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.put(self._path, body)
        except ApiError as error:
            _log.warning("lease not released", lease=self._path, error=str(error))

    async def _read(self) -> Json | None:
        try:
            return await self._api.get(self._path)
        except NotFound:
            return None

    def _is_free(self, found: Json, unchanged_seconds: float) -> bool:
        spec = found["spec"]
        holder = spec.get("holderIdentity") or self._identity
        return holder == self._identity or unchanged_seconds > spec.get("leaseDurationSeconds", DURATION_SECONDS)

    async def _take(self, found: Json | None) -> None:
        started_seconds = self._clock()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": _now(),
            "renewTime": _now(),
        }
        if found is None:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
            self._body = await self._api.create(self._collection, body | {"spec": spec | {"leaseTransitions": 0}})
            self._renewed_seconds = started_seconds
            return
        transitions = found["spec"].get("leaseTransitions", 0)
        changed = found["spec"].get("holderIdentity") != self._identity
        await self._write(found | {"spec": spec | {"leaseTransitions": transitions + changed}})

    async def _renew(self) -> None:
        try:
            await self._write(self._body)
        except Conflict:
            # Our last renewal may have arrived although its answer did not.
            found = await self._read()
            if found is None or found["spec"].get("holderIdentity") != self._identity:
                raise LeaseLost("the lease was taken from us") from None
            await self._write(found)
        except NotFound:
            raise LeaseLost("the lease was deleted") from None

    async def _write(self, body: Json) -> None:
        started_seconds = self._clock()
        body["spec"]["renewTime"] = _now()
        self._body = await self._api.put(self._path, body)
        self._renewed_seconds = started_seconds


def _now() -> str:
    """Tell the time as MicroTime has it; for people only."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
