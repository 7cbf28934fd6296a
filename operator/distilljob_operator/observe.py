"""From a job's children and the latest look at its aggregator to what the lifecycle decides by. Pure.

Only what is there is said here; what it counts as is said in `lifecycle.verdict`. All times are on the operator's own
clock, so no other clock needs to be right: what began or ended is dated when this operator first saw it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from distilljob_core.lifecycle.seen import AttemptSeen, AttemptStanding, Seen, StudentSeen
from distilljob_core.progress import Progress, scrape_failed
from distilljob_operator.aggregator_seen import aggregator_seen, can_be_asked
from distilljob_operator.children import JobChild, JobChildren, PodChild
from distilljob_operator.progress.look import Look
from distilljob_operator.sightings import PodSighting, Sightings, sight

NO_POD_SECONDS: Final = 30.0
"""A Job without a pod for so long cannot make one; its events say why: quota, pod security."""
NO_POD: Final = "NoPod"
SUSPENDED: Final = "JobSuspended"
DELETING: Final = "JobDeleting"
GONE_SECONDS: Final = 10.0
"""Jobs and pods are watched apart: the pod of a Job that is over may only be late."""
UNREACHABLE_SECONDS: Final = 30.0
"""Beyond its grace period, a kubelet that is heard of needs no more to report a pod's end."""
NODE_SILENT: Final = "NodeUnreachable"
_NODE_LOST: Final = frozenset({"NodeLost", NODE_SILENT})


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen of a job now, and what is to be done so that more will be seen."""

    seen: Seen
    sightings: Sightings
    """To be given to the next observation of this job."""
    needs_look: bool = False
    """An attempt is over since the latest look began: a new one must begin before its end can be judged."""
    wakes: tuple[float, ...] = ()
    """Moments at which something is to be seen differently, though nothing be heard."""
    no_pod_jobs: tuple[JobChild, ...] = ()
    """Jobs that make no pod; their events say why."""


_T = TypeVar("_T", PodChild, PodSighting)


@dataclass(frozen=True, slots=True)
class _Scene:
    """One observation while it is made."""

    now_seconds: float
    look_seconds: float
    """When the latest look began."""
    sightings: Sightings
    no_pod_messages: Mapping[str, str]
    wakes: list[float] = field(default_factory=list)
    no_pod_jobs: list[JobChild] = field(default_factory=list)

    def awaits_look(self, over_seconds: float | None) -> bool:
        """Whether the latest look began before this end was seen, and so may not know of it."""
        return over_seconds is not None and self.look_seconds <= over_seconds

    def is_due(self, at_seconds: float) -> bool:
        """Whether a moment has come; if not, it is waited for."""
        if self.now_seconds >= at_seconds:
            return True
        self.wakes.append(at_seconds)
        return False


def observe(
    children: JobChildren,
    look: Look | None,
    before: Sightings,
    *,
    now_seconds: float,
    watching_since_seconds: float,
    no_pod_messages: Mapping[str, str] | None = None,
) -> Observation:
    """See a job's world.

    What is over is judged only by a look that began afterwards, if the aggregator can be asked at all.

    Args:
        children: this incarnation's alone.
        look: the latest at its aggregator; None = there was none yet.
        before: what the last observation of this job left; `Sightings()` at first.
        now_seconds: the operator's clock, which also dates looks.
        watching_since_seconds: start of unbroken watching.
        no_pod_messages: by UID of the Job, why it makes no pod, once somebody has read its events.
    """
    sightings = sight(children, before, now_seconds)
    aggregator = aggregator_seen(children, sightings.aggregator)
    if not can_be_asked(children):
        # Whatever is known of it is old, and nothing better will come soon: nobody waits for a look.
        look = Look(float("inf"), scrape_failed(f"the aggregator cannot be asked: {aggregator.message}"))
    look_seconds = float("-inf") if look is None else look.taken_seconds
    scene = _Scene(now_seconds, look_seconds, sightings, no_pod_messages or {})
    students = _students(scene, children)
    progress = Progress()
    if look is not None:
        progress = look.progress_at(now_seconds)
        scene.is_due(look.fresh_until_seconds)
    seen = Seen(
        watching_since_seconds=watching_since_seconds,
        students=students,
        aggregator=aggregator,
        progress=progress,
        table=None if look is None else look.table,
    )
    wakes = tuple(sorted(wake for wake in set(scene.wakes) if wake < float("inf")))
    needs_look = any(_awaits_look(student) for student in students.values())
    return Observation(seen, sightings, needs_look, wakes, tuple(scene.no_pod_jobs))


def _awaits_look(student: StudentSeen) -> bool:
    """Whether the end of its newest attempt is still to be judged; older ones have been."""
    newest = student.attempts[-1].attempt
    return any(seen.awaits_look for seen in student.attempts if seen.attempt == newest)


def _students(scene: _Scene, children: JobChildren) -> dict[str, StudentSeen]:
    jobs = {(job.student, job.attempt): job for job in children.jobs}
    pods = _by_attempt(sorted(children.student_pods(), key=lambda pod: (pod.created, pod.uid)))
    gone = _by_attempt(scene.sightings.gone)
    seen: dict[str, StudentSeen] = {}
    for key in sorted({*jobs, *pods, *gone}):
        found = [_of_pod(scene, pod) for pod in pods.get(key, ())]
        found += [_of_gone(scene, sighting) for sighting in gone.get(key, ())]
        if key in jobs and key not in pods:
            found += _of_podless(scene, jobs[key], is_accounted_for=key in gone)
        student, _ = key
        before = seen[student].attempts if student in seen else ()
        seen[student] = StudentSeen((*before, *found))
    return seen


def _by_attempt(items: Iterable[_T]) -> dict[tuple[str, int], list[_T]]:
    found: dict[tuple[str, int], list[_T]] = {}
    for item in items:
        found.setdefault((item.student, item.attempt), []).append(item)
    return found


def _of_pod(scene: _Scene, pod: PodChild) -> AttemptSeen:
    sighting = scene.sightings.pods[pod.uid]
    if pod.has_ended:
        return _of_ended(scene, pod, sighting)
    standing = _standing(scene, pod, sighting)
    reason, message = pod.waits_for, pod.waits_message
    if standing is AttemptStanding.UNREACHABLE:
        reason, message = pod.reason or NODE_SILENT, pod.message or "it was asked to go, and its node does not answer"
    return AttemptSeen(pod.attempt, standing, pod.uid, sighting.running_seconds, reason=reason, message=message)


def _standing(scene: _Scene, pod: PodChild, sighting: PodSighting) -> AttemptStanding:
    if pod.phase == "Unknown" or pod.reason in _NODE_LOST:
        return AttemptStanding.UNREACHABLE
    asked_seconds = sighting.deleting_seconds
    if asked_seconds is not None and scene.is_due(asked_seconds + pod.grace_seconds + UNREACHABLE_SECONDS):
        return AttemptStanding.UNREACHABLE
    return AttemptStanding.RUNNING if pod.phase == "Running" else AttemptStanding.PENDING


def _of_ended(scene: _Scene, pod: PodChild, sighting: PodSighting) -> AttemptSeen:
    end, over_seconds = pod.end, sighting.over_seconds
    exit_code = 0 if pod.phase == "Succeeded" else None
    message, kubelets_word = "", ""
    if end is not None:
        exit_code, message, kubelets_word = end.exit_code, end.words.message, end.reason
    return AttemptSeen(
        pod.attempt,
        AttemptStanding.ENDED,
        pod.uid,
        sighting.running_seconds,
        ended_seconds=over_seconds,
        exit_code=exit_code,
        reason=pod.reason or pod.disruption or kubelets_word,
        message=message or pod.message,
        disrupted=sighting.is_disrupted,
        deleted=sighting.was_deleted,
        awaits_look=scene.awaits_look(over_seconds),
        terminal_record=end is not None and end.words.summary is not None,
        recorded_exit_code=end.words.exit_code if end else None,
    )


def _of_gone(scene: _Scene, sighting: PodSighting) -> AttemptSeen:
    return AttemptSeen(
        sighting.attempt,
        AttemptStanding.GONE,
        sighting.uid,
        sighting.running_seconds,
        ended_seconds=sighting.over_seconds,
        disrupted=sighting.is_disrupted,
        awaits_look=scene.awaits_look(sighting.over_seconds),
    )


def _of_podless(scene: _Scene, job: JobChild, *, is_accounted_for: bool) -> list[AttemptSeen]:
    """See a Job without a pod. One that is not over may make another, and so lives, whatever became of its first."""
    since_seconds = scene.sightings.podless_seconds[job.uid, job.is_over]
    if job.is_over and is_accounted_for:
        return []
    if job.is_over and scene.is_due(since_seconds + GONE_SECONDS):
        awaits_look = scene.awaits_look(since_seconds)
        return [AttemptSeen(job.attempt, AttemptStanding.GONE, ended_seconds=since_seconds, awaits_look=awaits_look)]
    reason, message = "", ""
    if job.is_deleting:
        reason, message = DELETING, f"Job {job.name} is being deleted"
    elif job.is_suspended:
        reason, message = SUSPENDED, f"Job {job.name} was suspended by somebody else: set its spec.suspend to false"
    elif not job.is_over and scene.is_due(since_seconds + NO_POD_SECONDS):
        scene.no_pod_jobs.append(job)
        reason, message = (
            NO_POD,
            scene.no_pod_messages.get(job.uid, f"Job {job.name} makes no pod, and no event says why yet"),
        )
    return [AttemptSeen(job.attempt, AttemptStanding.PENDING, reason=reason, message=message)]
