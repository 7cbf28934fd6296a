"""The watches on children: one informer for each kind and namespace."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeVar, cast

from distilljob_operator.api import Api, Json
from distilljob_operator.children import DEPLOYMENTS, JOBS, OTHERS, PODS, Child, Kind
from distilljob_operator.informer import Informer
from distilljob_operator.store import JobKey

T = TypeVar("T", bound=Child)

KINDS: Final[tuple[Kind[Any], ...]] = (JOBS, PODS, DEPLOYMENTS, *OTHERS)


class Watches:
    """What is known of all children in the namespaces that are served; none given = all namespaces."""

    def __init__(
        self,
        api: Api,
        on_change: Callable[[JobKey], None],
        namespaces: Collection[str],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._is_everywhere = not namespaces
        self._informers: dict[tuple[str, str], Informer[Any]] = {
            (kind.name, namespace): Informer(
                api,
                kind.path(namespace),
                kind.project,
                on_change,
                clock=clock,
                selector=kind.selector,
                metadata_only=kind.metadata_only,
            )
            for kind in KINDS
            for namespace in namespaces or ("",)
        }

    def __iter__(self) -> Iterator[tuple[str, Informer[Any]]]:
        """Go through all informers and the names of their kinds."""
        return ((kind, informer) for (kind, _), informer in self._informers.items())

    def of(self, kind: Kind[T], job: JobKey) -> Collection[T]:
        """Give the children of that kind that belong to a job, by their label."""
        return cast(Collection[T], self._informer(kind.name, job[0]).of(*job))

    def absorb(self, kind: Kind[Any], body: Json) -> None:
        """Take in the answer to a write of our own, so that it is seen before the watch brings it."""
        self._informer(kind.name, body["metadata"]["namespace"]).absorb(body)

    def watching_since_seconds(self, namespace: str) -> float:
        """End of the last blind spell of any watch that shows a namespace."""
        return max(self._informer(kind.name, namespace).watching_since_seconds for kind in KINDS)

    async def synced(self) -> None:
        """Wait until every kind was listed once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    @property
    def is_synced(self) -> bool:
        """Whether every kind was listed once."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    def ages_seconds(self, now_seconds: float) -> dict[str, float]:
        """Tell for each kind how long its most silent watch has shown no sign of life."""
        ages: dict[str, float] = {}
        for kind, informer in self:
            ages[kind] = max(ages.get(kind, 0.0), now_seconds - informer.last_seen_seconds)
        return ages

    def _informer(self, resource: str, namespace: str) -> Informer[Any]:
        return self._informers[resource, "" if self._is_everywhere else namespace]
