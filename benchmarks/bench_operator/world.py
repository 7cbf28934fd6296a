"""The children of all groups as they come and fail: what every contestant is measured by."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench_operator.client import Client
from bench_operator.watch import Seen, Watch

PODS = "/api/v1/pods"
JOBS = "/apis/batch/v1/jobs"


class Member(NamedTuple):
    """One of a group's Jobs, whichever attempt of it."""

    namespace: str
    group: str
    name: str


class Attempt(NamedTuple):
    """One attempt of it."""

    member: Member
    number: int

    @property
    def next(self) -> "Attempt":
        """What replaces it."""
        return Attempt(self.member, self.number + 1)


@dataclass(frozen=True)
class Reading:
    """How a contestant labels its children.

    Args:
        label: all its children have it, with the group's name, and nothing else has.
        attempt: reads an attempt from the labels of its Job or pod; None for other children.
        others: collections of its children beside Jobs.
    """

    label: str
    attempt: Callable[[str, Mapping[str, str]], Attempt | None]
    others: Sequence[str]


class Tally:
    """When the children and running pods of some groups were first seen.

    Replacements of other groups may come at the same time; they do not count.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.created: list[float] = []
        self.running: list[float] = []


class World:
    """Watches of one contestant's children; times are this process's own."""

    def __init__(self, client: Client, reading: Reading) -> None:
        self._client = client
        self._reading = reading
        self._tallies: list[Tally] = []
        self.job_seconds: dict[Attempt, float] = {}
        self.running_seconds: dict[Attempt, float] = {}
        self.failed_seconds: dict[Attempt, float] = {}
        self.pods: dict[Member, Seen] = {}
        """The pod of each member that was last seen running."""
        self.uids: defaultdict[Attempt, set[str]] = defaultdict(set)
        """All Jobs and pods that an attempt ever had."""
        self.live: defaultdict[Member, set[str]] = defaultdict(set)
        self.num_doubled = 0
        """How often a member had two running pods."""
        self.on_running: list[Callable[[Seen], None]] = []
        self._of_pod: dict[str, Member] = {}
        self._watches: list[Watch] = []
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Watch from now on."""
        labels = {"labelSelector": self._reading.label}
        running = {**labels, "fieldSelector": "status.phase=Running"}
        failed = {**labels, "fieldSelector": "status.phase=Failed"}
        self._watches = [
            Watch(self._client, JOBS, self._job, **labels),
            *(Watch(self._client, path, self._child, **labels) for path in self._reading.others),
            Watch(self._client, PODS, self._running, self._stopped, **running),
            Watch(self._client, PODS, self._failed, **failed),
        ]
        for watch in self._watches:
            await watch.start()

    def tally(self, names: Iterable[str]) -> Tally:
        """Count what comes of these groups from now on."""
        self._tallies.append(Tally(names))
        return self._tallies[-1]

    async def stop(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            if watch.task:
                watch.task.cancel()
        await asyncio.gather(*(watch.task for watch in self._watches if watch.task), return_exceptions=True)

    @property
    def num_reconnects(self) -> int:
        """How often a watch had to be taken up again."""
        return sum(watch.num_reconnects for watch in self._watches)

    async def until(self, holds: Callable[[], bool], limit_seconds: float) -> bool:
        """Wait until something holds; false if it does not in time."""
        give_up_seconds = time.monotonic() + limit_seconds
        while not holds():
            for watch in self._watches:
                if watch.task and watch.task.done():
                    watch.task.result()
            left_seconds = give_up_seconds - time.monotonic()
            if left_seconds <= 0:
                return False
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), min(1.0, left_seconds))
            except TimeoutError:
                continue
        return True

    def attempt_of(self, seen: Seen) -> Attempt | None:
        """Read which attempt a Job or pod is."""
        return self._reading.attempt(seen.namespace, seen.labels)

    def current(self) -> list[Attempt]:
        """Name the attempts that run now, in order."""
        attempts = (self.attempt_of(seen) for member, seen in self.pods.items() if self.live[member])
        return sorted(attempt for attempt in attempts if attempt)

    def _child(self, seen: Seen) -> None:
        for tally in self._tallies_of(seen):
            tally.created.append(seen.seconds)
        self._changed.set()

    def _tallies_of(self, seen: Seen) -> list[Tally]:
        group = seen.labels[self._reading.label]
        return [tally for tally in self._tallies if group in tally.names]

    def _job(self, seen: Seen) -> None:
        self._child(seen)
        if attempt := self.attempt_of(seen):
            self.job_seconds.setdefault(attempt, seen.seconds)
            self.uids[attempt].add(f"Job {seen.uid}")

    def _running(self, seen: Seen) -> None:
        for tally in self._tallies_of(seen):
            tally.running.append(seen.seconds)
        if attempt := self.attempt_of(seen):
            self.running_seconds.setdefault(attempt, seen.seconds)
            self.uids[attempt].add(f"Pod {seen.uid}")
            self.pods[attempt.member] = seen
            self._of_pod[seen.uid] = attempt.member
            self.live[attempt.member].add(seen.uid)
            self.num_doubled += len(self.live[attempt.member]) > 1
        for hear in self.on_running:
            hear(seen)
        self._changed.set()

    def _stopped(self, uid: str) -> None:
        if member := self._of_pod.get(uid):
            self.live[member].discard(uid)

    def _failed(self, seen: Seen) -> None:
        if attempt := self.attempt_of(seen):
            self.failed_seconds.setdefault(attempt, seen.seconds)
        self._changed.set()
