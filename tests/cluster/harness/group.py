"""One DistillJob of a test, and everybody in it; many of them share an operator."""

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kubernetes.aio.client.exceptions import NotFoundException

from distilljob_core import names
from harness.aggregators import Aggregator, Aggregators, Change
from harness.jobs import condition, distilljob, student, until_job
from harness.operator_process import OperatorProcess
from harness.students import Student
from rig.api import DISTILLJOBS, EVENTS, JOBS, PODS, Api, Object, Objects

AT_ONCE = {"backoff": {"initialSeconds": 0, "baseSeconds": 0}}
"""A failure policy that waits for nothing."""
FORCED = {"gracePeriodSeconds": 0}


@dataclass(frozen=True)
class Site:
    """What the tests of a module share: each has a job of its own there."""

    api: Api
    operator: OperatorProcess
    aggregators: Aggregators
    namespace: str
    other_namespaces: tuple[str, ...]
    """For tests that change what holds in a whole namespace."""


def network(name: str, **changes: Any) -> Object:
    """Make a student that needs no GPU."""
    return {"name": name, "model": {"name": "mlp_small"}, "gpus": 0} | changes


UNPLACED = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
"""A pod that no node will take."""


@dataclass
class Group:
    """One job: it is made, watched and played by these methods."""

    site: Site
    name: str
    namespace: str
    aggregator: Aggregator | None = None
    students: list[Student] = field(default_factory=list)

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self.site.api

    async def apply(self, *students: str | Object, **spec: Any) -> Object:
        """Create the job, with students `a` and `b` unless others are given; failed ones come back at once."""
        networks = [network(one) if isinstance(one, str) else one for one in students or ("a", "b")]
        policy = AT_ONCE | spec.pop("failurePolicy", {})
        manifest = distilljob(self.name, students=networks, failurePolicy=policy, **spec)
        return await self.api.create(DISTILLJOBS, manifest, self.namespace)

    async def change(self, **spec: Any) -> None:
        """Change fields of the spec."""
        await self.api.patch(DISTILLJOBS, self.name, {"spec": spec}, self.namespace)

    async def aggregate(self) -> Aggregator:
        """Start the aggregator as its pod would."""
        self.aggregator = await self.site.aggregators.start(self.api, self.namespace, self.name)
        return self.aggregator

    async def play(self, student: str, attempt: int = 1) -> Student:
        """Be what runs in the pod of an attempt, and join."""
        if self.aggregator is None:
            await self.aggregate()
        assert self.aggregator is not None
        for older in self.students:
            if older.who.student == student:
                older.leave()  # a pod that is over says nothing any more
        played = await Student.of_pod(self.api, self.aggregator, self.namespace, student, attempt)
        self.students.append(played)
        await played.join()
        return played

    async def pod(self, student: str, attempt: int = 1) -> Object:
        """Wait for the running pod of an attempt."""
        selector = self.selector(student, attempt)
        running = await self.api.until(PODS, lambda pods: pods and _runs(pods[-1]), self.namespace, selector=selector)
        return running[-1]

    async def exit(self, student: str, code: int, attempt: int = 1, **annotations: str) -> None:
        """End an attempt by itself."""
        pod = await self.pod(student, attempt)
        await self.api.annotate(PODS, pod["metadata"]["name"], self.namespace, exit_code=str(code), **annotations)

    async def jobs(self) -> list[str]:
        """Name the Jobs, without the name of the group."""
        found = await self.api.list(JOBS, self.namespace, selector=self.selector())
        return sorted(job["metadata"]["name"].removeprefix(f"{self.name}-") for job in found)

    def selector(self, student: str | None = None, attempt: int | None = None) -> str:
        """Select what belongs to this job, or to a student or attempt of it."""
        labels = {names.LABEL_JOB: self.name, names.LABEL_STUDENT: student, names.LABEL_ATTEMPT: attempt}
        return ",".join(f"{label}={value}" for label, value in labels.items() if value is not None)

    async def until(self, holds: Any, limit_seconds: float = 60.0) -> Object:
        """Wait until something holds of the job."""
        return await until_job(self.api, self.namespace, self.name, holds, limit_seconds)

    async def until_condition(self, kind: str, status: str, reason: str, told: str = "") -> Object:
        """Wait until a condition says so, with these words in its message."""

        def says(job: Object) -> bool:
            found = condition(job, kind)
            return found[:2] == (status, reason) and told in found[2]

        return await self.until(says)

    async def until_attempt(self, name: str, attempt: int) -> Object:
        """Wait until an attempt of a student is allotted."""
        return await self.until(lambda job: student(job, name).get("attempt") == attempt)

    async def until_told(self, reason: str, num: int = 1) -> list[str]:
        """Wait for so many events of a reason; all their messages."""

        def told(events: Objects) -> list[str]:
            own = (event for event in events if event["involvedObject"].get("name") == self.name)
            return [event["message"] for event in own if event["reason"] == reason]

        return told(await self.api.until(EVENTS, lambda events: len(told(events)) >= num, self.namespace))

    def lie(self, change: Change | None) -> None:
        """Have the aggregator's pages changed from now on; None = tell the truth again."""
        self.site.aggregators.lie(self.namespace, self.name, change)

    async def looks(self, num: int) -> Object:
        """Wait until the operator has looked at the aggregator so many times more; the job as it is then."""
        await self.site.aggregators.until_looks(self.namespace, self.name, num)
        return await self.api.get(DISTILLJOBS, self.name, self.namespace)

    async def close(self) -> None:
        """End everything; pods on silent nodes too."""
        for played in self.students:
            played.leave()
        if self.aggregator is not None:
            await self.aggregator.kill()
        with suppress(NotFoundException):  # deleted by the test, or never made
            await self.api.delete(DISTILLJOBS, self.name, self.namespace)
        for pod in await self.api.list(PODS, self.namespace, selector=self.selector()):
            annotations = pod["metadata"].get("annotations", {})
            if annotations.keys() & {"rig/unreachable", "rig/frozen"}:
                with suppress(NotFoundException):
                    await self.api.delete(PODS, pod["metadata"]["name"], self.namespace, options=FORCED)


def short_name(test: str) -> str:
    """Make a name of a test's: its first words, and what tells it from others."""
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").partition("[")[0].lower())
    return f"{words[:24].strip('-')}-{secrets.token_hex(3)}"


def _runs(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
