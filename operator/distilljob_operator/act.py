"""What a decision asks of the cluster: children made, attempts started and ended, and what is over cleared away."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from distilljob_core.errors import DistillJobError
from distilljob_core.lifecycle.model import Decision, End, Manner, Start
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names
from distilljob_operator.apply import Applier, all_of
from distilljob_operator.base import DEPLOYMENT, SECRET, Base, Ref, base_of
from distilljob_operator.certificates import issue
from distilljob_operator.children import JOBS, PODS, JobChildren
from distilljob_operator.clear import clear
from distilljob_operator.held import WHOLE, Held
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.objects import Manifest
from distilljob_operator.manifests.secrets import tls_secret
from distilljob_operator.manifests.settings import Images

Step = Coroutine[Any, Any, None]


class Actor:
    """Carries out decisions.

    Args:
        applier: writes single children.
        images: where programs come from.
        on_replaced: is told how long it took from seeing a failure to having made the next attempt, in seconds.
        clock: tells the time in seconds.
    """

    def __init__(
        self, applier: Applier, images: Images, on_replaced: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self._applier = applier
        self._images = images
        self._on_replaced = on_replaced
        self._clock = clock

    async def carry_out(self, job: DistillJob, children: JobChildren, decision: Decision, held: Held) -> None:
        """Do all that is due at once; each part comes to its end whatever happens to the others.

        Raises:
            NameTaken, StillThere: a child cannot have its name, or not yet.
            ApiError: the first that the API server answered.
        """
        ends = held.unended.union(action for action in decision.actions if isinstance(action, End))
        steps: list[Step] = [self._end(children, action, held) for action in ends]
        steps += [self._applier.delete(kind, child) for kind, child in clear(children, job.spec, decision)]
        if decision.state.outcome is None:
            steps += self._bring_up(job, children, decision, held)
            steps += self._start_all(job, decision, held)
        await all_of(steps)

    def _bring_up(self, job: DistillJob, children: JobChildren, decision: Decision, held: Held) -> Iterator[Step]:
        """Make what is missing of the job as a whole, and bring the rest up to date."""
        if held.base is None or (held.base.job, held.base.control) != (job, decision.control):
            held.base = base_of(job, self._images, decision.control)
        base, missing, outdated = held.base, held.base.missing(children), held.base.outdated(children)
        if not decision.aggregator_wanted:
            missing = {ref for ref in missing if ref[0] != DEPLOYMENT}
        if not missing and not outdated:
            return
        manifests = base.manifests()
        if any(kind == SECRET for kind, _ in missing):
            yield self._make_identity(job, base, manifests, held)
            missing = {ref for ref in missing if ref[0] != SECRET} - {base.snapshot, base.wishes}
        for ref in sorted(missing):
            yield self._make(manifests[ref], WHOLE, held)
        for ref, child in outdated.items():
            yield self._applier.update(manifests[ref], child)

    async def _make_identity(self, job: DistillJob, base: Base, manifests: dict[Ref, Manifest], held: Held) -> None:
        """Make snapshot, Secret and wishes in this order; see Base. The Secret goes with the snapshot."""
        snapshot = await self._applier.create(manifests[base.snapshot])
        secret = tls_secret(job, issue(job.metadata.uid, student_names(job.spec)))
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": base.snapshot[1], "uid": snapshot["metadata"]["uid"]}
        secret["metadata"]["ownerReferences"] = [owner]
        await self._applier.create_secret(secret)
        await self._make(manifests[base.wishes], WHOLE, held)

    def _start_all(self, job: DistillJob, decision: Decision, held: Held) -> Iterator[Step]:
        starts = {(action.student, action.attempt) for action in decision.actions if isinstance(action, Start)}
        for student, attempt in sorted(starts.union(held.starts_to_repeat())):
            yield self._start(job, student, attempt, held)

    async def _start(self, job: DistillJob, student: str, attempt: int, held: Held) -> None:
        await self._make(student_job(job, student, attempt, self._images), (student, attempt), held)
        failed_seconds = held.failed_seconds.pop(student, None)
        if failed_seconds is not None:
            self._on_replaced(self._clock() - failed_seconds)

    async def _make(self, body: Manifest, about: tuple[str, int], held: Held) -> None:
        """Create a child. What stands against it is held: for the user to read, and to try again soon."""
        try:
            await self._applier.create(body)
        except DistillJobError as error:
            held.unmade[about] = f"{body['kind']} {body['metadata']['name']}: {error}"
            raise
        held.unmade.pop(about, None)

    async def _end(self, children: JobChildren, action: End, held: Held) -> None:
        held.unended.add(action)
        await self._end_attempt(children, action)
        held.unended.discard(action)

    async def _end_attempt(self, children: JobChildren, action: End) -> None:
        """End one attempt. Its Job goes, and with it the pod; where evidence is to stay, the pod ends and both stay."""
        attempt = (action.student, action.attempt)
        jobs = [job for job in children.jobs if (job.student, job.attempt) == attempt]
        pods = [pod for pod in children.student_pods() if (pod.student, pod.attempt) == attempt]
        if action.manner is Manner.KEEP_EVIDENCE and pods:
            await all_of(self._applier.end_with_evidence(pod) for pod in pods if not pod.has_ended)
        elif action.manner is Manner.FORCE:
            await all_of(self._applier.forget(JOBS, job) for job in jobs)
            await all_of(self._applier.forget(PODS, pod) for pod in pods)
        else:
            await all_of(self._applier.delete(JOBS, job) for job in jobs if not job.is_deleting)
            await all_of(self._applier.delete(PODS, pod) for pod in pods if not jobs and not pod.is_deleting)
