"""What is known of one kind of object, by the job it belongs to; newer versions win, wherever they come from."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distilljob_core.names import LABEL_JOB

T = TypeVar("T")

JobKey = tuple[str, str]
"""Namespace and name of a DistillJob."""
_Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    version: int
    job: JobKey
    value: T


class Store(Generic[T]):
    """Objects of one kind, each reduced to what is needed of it. Methods return the jobs for which something changed.

    Args:
        project: reduces an object, and says None where it is none of ours; must not raise.
    """

    def __init__(self, project: Callable[[dict[str, Any]], T | None]) -> None:
        self._project = project
        self._held: dict[_Name, _Held[T]] = {}
        self._by_job: dict[JobKey, dict[_Name, T]] = {}
        self._reached = 0
        """The version up to which everything was brought, by list or watch."""
        self._listed: set[_Name] = set()
        self._absorbed: set[_Name] = set()
        """Objects from our own writes since the list began; the list may show the moment before."""

    def __len__(self) -> int:
        return len(self._held)

    def of(self, job: JobKey) -> Collection[T]:
        """Give the objects of one job."""
        return tuple(self._by_job.get(job, {}).values())

    def begin_list(self) -> None:
        """Prepare for a list of everything there is."""
        self._listed = set()
        self._absorbed = set()

    def page(self, bodies: Iterable[dict[str, Any]], version: int) -> set[JobKey]:
        """Take in one page of the list, which shows the moment of that version."""
        self._reached = version
        return set().union(*(self._list(body) for body in bodies))

    def end_list(self) -> set[JobKey]:
        """Remove what the list did not show, unless we wrote it after the moment that the list shows."""
        later = {name for name in self._absorbed & self._held.keys() if self._held[name].version > self._reached}
        return set().union(*(self._drop(name) for name in self._held.keys() - self._listed - later))

    def absorb(self, body: dict[str, Any]) -> set[JobKey]:
        """Take in the answer to a write of our own, unless list or watch were faster: all may be over by then."""
        if _version(body) <= self._reached:
            return set()
        self._absorbed.add(_name(body))
        return self._put(body)

    def put(self, body: dict[str, Any]) -> set[JobKey]:
        """Take in an object that the watch says was added or modified."""
        self._reached = _version(body)
        return self._put(body)

    def remove(self, body: dict[str, Any]) -> set[JobKey]:
        """Take out an object that the watch says was deleted, unless a later one has its name."""
        self._reached = _version(body)
        name = _name(body)
        held = self._held.get(name)
        return set() if held is None or held.version > self._reached else self._drop(name)

    def _list(self, body: dict[str, Any]) -> set[JobKey]:
        name = _name(body)
        self._listed.add(name)
        # A restored server counts its versions from an earlier one on: the list is right, except about our own writes.
        return self._put(body) if name in self._absorbed else self._set(name, body)

    def _put(self, body: dict[str, Any]) -> set[JobKey]:
        name = _name(body)
        held = self._held.get(name)
        return set() if held and held.version >= _version(body) else self._set(name, body)

    def _set(self, name: _Name, body: dict[str, Any]) -> set[JobKey]:
        value = self._project(body)
        if value is None:
            return self._drop(name)
        labels = body["metadata"].get("labels") or {}
        new = _Held(_version(body), (name[0], labels.get(LABEL_JOB, "")), value)
        old = self._held.get(name)
        self._held[name] = new
        if old and (old.job, old.value) == (new.job, new.value):
            return set()
        if old and old.job != new.job:
            self._forget(name, old.job)
        self._by_job.setdefault(new.job, {})[name] = value
        return {new.job, old.job} if old else {new.job}

    def _drop(self, name: _Name) -> set[JobKey]:
        held = self._held.pop(name, None)
        if held is None:
            return set()
        self._forget(name, held.job)
        return {held.job}

    def _forget(self, name: _Name, job: JobKey) -> None:
        of_job = self._by_job[job]
        del of_job[name]
        if not of_job:
            del self._by_job[job]


def _name(body: dict[str, Any]) -> _Name:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _version(body: dict[str, Any]) -> int:
    return int(body["metadata"]["resourceVersion"])
