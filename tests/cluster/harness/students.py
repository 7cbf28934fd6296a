"""Students played by a test: real clients of a real aggregator, under the identity of a fake pod."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilljob_core import names
from distilljob_core.exchange import Directive, Identity, Offer, Report, RoundKey, SplitShape
from distilljob_core.phases import StudentPhase
from distilljob_core.results import StudentSummary
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.frames import Split
from harness.aggregators import Aggregator
from rig.api import PODS, Api

NUM_CLASSES = 10
SHAPES = {
    Split.TRAIN: SplitShape(40, NUM_CLASSES, "train"),
    Split.EVALUATION: SplitShape(10, NUM_CLASSES, "evaluation"),
}
HEARTBEAT_SECONDS = 0.2


class Student:
    """One attempt: what runs in its pod."""

    def __init__(self, aggregator: Aggregator, who: Identity, pod_name: str) -> None:
        self.who = who
        self.pod_name = pod_name
        self.directive = Directive.GO_ON
        self._client = AggregatorClient(aggregator.address)
        self._phase = StudentPhase.STARTING
        self._is_stepping = False
        self._num_steps = 0
        self._num_heartbeats = 0
        self.told: dict[str, Any] = {"cycle": 1, "planned_epochs": 4}
        """What it says with every heartbeat, beside its phase and its steps."""
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None

    async def until_heard(self) -> None:
        """Wait until it has said twice more where it is."""
        heard = self._num_heartbeats + 2
        while self._num_heartbeats < heard:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def until_directive(self, directive: Directive) -> None:
        """Wait until the aggregator tells it so."""
        while self.directive is not directive:  # noqa: ASYNC110 - told to another thread
            await asyncio.sleep(HEARTBEAT_SECONDS)

    @classmethod
    async def of_pod(cls, api: Api, aggregator: Aggregator, namespace: str, student: str, attempt: int) -> Self:
        """Wait for the running pod of an attempt, and be what runs in it."""
        wanted = {names.LABEL_JOB: aggregator.job, names.LABEL_STUDENT: student, names.LABEL_ATTEMPT: attempt}
        labels = ",".join(f"{label}={value}" for label, value in wanted.items())
        pods = await api.until(PODS, lambda pods: any(map(_runs, pods)), namespace, selector=labels)
        metadata = next(pod for pod in pods if _runs(pod))["metadata"]
        who = Identity(metadata["labels"][names.LABEL_UID], student, attempt, metadata["uid"])
        return cls(aggregator, who, metadata["name"])

    async def join(self) -> None:
        """Introduce itself, and go on training step by step until told otherwise."""
        await asyncio.to_thread(self._client.join, self.who, SHAPES)
        self.train()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def train(self, phase: StudentPhase = StudentPhase.INDEPENDENT) -> None:
        """Make a step with every heartbeat."""
        self._phase, self._is_stepping = phase, True

    def hang(self, phase: StudentPhase = StudentPhase.INDEPENDENT) -> None:
        """Live on without making steps."""
        self._phase, self._is_stepping = phase, False

    def leave(self) -> None:
        """Be silent for ever, as a process that ended."""
        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        self._client.close()

    async def bring(self, key: RoundKey) -> None:
        """Bring all rows of a round."""
        digest = f"{self.who.student}-{key.cycle}-{key.split}"
        offer = Offer(key, 90, 90, 100, "Float16", digest, 0.5)
        assert await asyncio.to_thread(self._client.upload, offer, self._labels(key)) is None

    async def fetch(self, key: RoundKey) -> None:
        """Wait for a round to close, and get its teacher."""
        await asyncio.to_thread(self._client.wait, key)
        await asyncio.to_thread(lambda: list(self._client.teacher(key)))

    async def publish(self, path: Path, name: str) -> None:
        """Bring a file into the results volume."""
        await asyncio.to_thread(self._client.publish, path, name)

    async def finish(self, summary: Callable[..., StudentSummary]) -> None:
        """Leave the terminal record."""
        record = summary(self.who.student, attempt=self.who.attempt)
        await asyncio.to_thread(self._client.finish, record)

    def _labels(self, key: RoundKey) -> Callable[[int], Iterator[np.ndarray]]:
        seed = [key.cycle, key.split, *self.who.student.encode()]
        p_NK = np.random.default_rng(seed).dirichlet(np.ones(NUM_CLASSES), SHAPES[key.split].num_rows)
        return lambda first_row: iter([p_NK.astype(np.float32)[first_row:]])

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._num_steps += self._is_stepping
            report = Report(self._phase, step=self._num_steps, progress=self._num_steps, **self.told)
            self.directive = self._client.heartbeat(report)
            self._num_heartbeats += 1


async def run_to_the_end(students: list[Student], summary: Callable[..., StudentSummary], num_cycles: int = 1) -> None:
    """Bring everybody's rows of every round, then let everybody leave its terminal record."""
    keys = [*(RoundKey(cycle) for cycle in range(1, num_cycles + 1)), RoundKey(num_cycles, Split.EVALUATION)]
    for key in keys:
        for student in students:
            await student.bring(key)
        for student in students:
            await student.fetch(key)
    for student in students:
        await student.finish(summary)


def _runs(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
