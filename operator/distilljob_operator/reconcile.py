"""One wake-up of one DistillJob: read, observe, decide, write the status, carry it out. No step remembers the last one.

What is held of a job between wake-ups can all be had again from the job itself, its children and its aggregator; after
a lost race for the status it is.
"""

from typing import Final

import structlog

from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import Cause, Decision, JobState, StudentState
from distilljob_core.lifecycle.seen import Wishes
from distilljob_core.restart_wishes import read_restart_wishes
from distilljob_core.spec.job import DistillJob
from distilljob_operator.act import Actor
from distilljob_operator.app import Tools
from distilljob_operator.apply import Applier, NameTaken, StillThere
from distilljob_operator.children import DEPLOYMENTS, JOBS, OTHERS, PODS, JobChildren, labeled, owned
from distilljob_operator.errors import Forbidden
from distilljob_operator.held import Held
from distilljob_operator.job_audit import job_path
from distilljob_operator.jobs import JobRecord
from distilljob_operator.memory import read_state
from distilljob_operator.no_pod import no_pod_message
from distilljob_operator.observe import Observation, observe
from distilljob_operator.pace import Pace
from distilljob_operator.progress.look import Target
from distilljob_operator.status_writer import StatusWriter
from distilljob_operator.store import JobKey
from distilljob_operator.wanted import read_wanted

QUESTIONS_PER_SECOND: Final = 2.0
"""So often it is asked why a Job makes no pods: the API server goes through all events of the namespace."""
QUESTIONS_BURST: Final = 10
TAKEN_SECONDS: Final = 15.0
"""How often a name that somebody else has is tried again."""
STILL_THERE_SECONDS: Final = 0.5

_log = structlog.get_logger(__name__)


class Reconciler:
    """Makes the cluster as its DistillJobs want it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._held: dict[JobKey, Held] = {}
        self._statuses = StatusWriter(tools)
        self._questions: Pace[JobKey] = Pace(QUESTIONS_PER_SECOND, QUESTIONS_BURST)
        applier = Applier(tools.api, tools.watches.absorb)
        self._actor = Actor(applier, tools.settings.images, tools.metrics.replacement_seconds.observe, tools.clock)

    async def reconcile(self, key: JobKey) -> None:
        """Look at one job and do what is due.

        Raises:
            ApiError: the API server refused or failed; the job is to be tried again after a pause.
        """
        tools = self._tools
        record = tools.jobs.get(key)
        if record is None or "deletionTimestamp" in record.body["metadata"]:
            self._let_go(key)
            return
        held = self._hold(record)
        if held.tried is not None:
            await self._find_out(record, held)
            tools.queue.add(key)
            return
        held.wanted = await read_wanted(record.body, held.wanted, held.state, tools.api, tools.clock())
        if held.wanted.job is None:
            await self._statuses.write(record, held)
            return
        try:
            await self._go_on(record, held, held.wanted.job)
        except NameTaken as error:
            self._tell_taken(key, held, str(error))
        except StillThere:
            tools.queue.add_at(key, tools.clock() + STILL_THERE_SECONDS)
        except Forbidden as error:
            if not error.is_terminating_namespace:
                raise
            _log.info("the namespace is being deleted")

    async def _go_on(self, record: JobRecord, held: Held, job: DistillJob) -> None:
        tools, now_seconds = self._tools, self._tools.clock()
        children = self._children(record)
        self._poll(record, job, held.state, children)
        look = tools.poller.latest(record.key)
        observation = observe(
            children,
            look,
            held.sightings,
            now_seconds=now_seconds,
            watching_since_seconds=tools.watches.watching_since_seconds(record.key[0]),
            no_pod_messages=held.no_pod.messages,
        )
        held.sightings = observation.sightings
        seen = held.show_unmade(observation.seen)
        annotations = record.body["metadata"].get("annotations") or {}
        restarts = read_restart_wishes(annotations, record.uid)
        wishes = Wishes(job.spec.suspend, job.spec.stop_after_cycle, restarts)
        decision = decide(job.spec, wishes, seen, held.state, now_seconds)
        held.note_failures(seen, decision, now_seconds)
        before = held.state
        if not await self._statuses.write(record, held, decision, seen.table):
            return
        self._tell(record, before, decision)
        if observation.needs_look:
            tools.poller.refresh(record.key)
        self._wake(record, job, decision, observation)
        await self._actor.carry_out(job, children, decision, held)
        held.taken = ""
        await self._ask_why(record, held, observation)
        await self._expire(record, job, decision.state)

    def _hold(self, record: JobRecord) -> Held:
        """Give what is held of this incarnation of a job; of a new one, what its status says."""
        held = self._held.get(record.key)
        if held is None or held.state.uid != record.uid:
            held = Held(read_state(record.body), record.body.get("status") or {})
            self._held[record.key] = held
        return held

    def _let_go(self, key: JobKey) -> None:
        self._tools.poller.forget(key)
        self._statuses.let_go(key)
        self._questions.over(key)
        self._held.pop(key, None)

    def _children(self, record: JobRecord) -> JobChildren:
        """Gather what is known of the children; pods and kept claims outlive their owners, so a label tells theirs."""
        watches, key, uid = self._tools.watches, record.key, record.uid
        return JobChildren(
            jobs=owned(uid, watches.of(JOBS, key)),
            pods=labeled(uid, watches.of(PODS, key)),
            deployments=owned(uid, watches.of(DEPLOYMENTS, key)),
            others={kind.name: labeled(uid, watches.of(kind, key)) for kind in OTHERS},
        )

    def _poll(self, record: JobRecord, job: DistillJob, state: JobState, children: JobChildren) -> None:
        """Have the aggregator looked at for as long as there is, or should be, one."""
        pod = children.aggregator_pod
        if pod is not None:
            self._tools.poller.watch(Target(record.key, record.uid, pod.name, pod.ip))
        elif job.spec.suspend or state.outcome is not None:
            self._tools.poller.forget(record.key)
        else:
            self._tools.poller.watch(Target(record.key, record.uid))

    async def _find_out(self, record: JobRecord, held: Held) -> None:
        """See what became of a write that was refused or not answered.

        It may have been carried out, even when it was refused: the connection breaks, the client sends it again, and
        the server knows that version no more. Then what was decided is still to be told and done.

        Raises:
            ApiError: there is no answer yet.
        """
        assert held.tried is not None
        memory, decision = held.tried
        status = (await self._statuses.read_again(record)).get("status") or {}
        held.tried = None
        if status.get("memory") == memory and decision is not None:
            before, held.state, held.written = held.state, decision.state, status
            held.owe(decision)
            self._tell(record, before, decision)
        elif status.get("memory") != held.written.get("memory"):
            self._held.pop(record.key, None)  # somebody else decides here, and nothing that is held is worth anything

    def _tell(self, record: JobRecord, before: JobState, decision: Decision) -> None:
        """Tell what was decided, once it is durable."""
        self._tools.events.tell(record, decision.events)
        for name, student in decision.state.students.items():
            past = before.students.get(name, StudentState()).restarts
            for cause in Cause:
                num_new = getattr(student.restarts, cause) - getattr(past, cause)
                if num_new > 0:
                    self._tools.metrics.restarts.labels(cause).inc(num_new)

    def _tell_taken(self, key: JobKey, held: Held, message: str) -> None:
        """Show at once that a name is taken, and look now and then whether it still is."""
        is_news, held.taken = message != held.taken, message
        self._tools.queue.add_at(key, self._tools.clock() + (0.0 if is_news else TAKEN_SECONDS))

    def _wake(self, record: JobRecord, job: DistillJob, decision: Decision, observation: Observation) -> None:
        wakes = [*observation.wakes, decision.next_wake_seconds, _expiry_seconds(job, decision.state)]
        if any(wake is not None for wake in wakes):
            self._tools.queue.add_at(record.key, min(wake for wake in wakes if wake is not None))

    async def _ask_why(self, record: JobRecord, held: Held, observation: Observation) -> None:
        """Find out why Jobs make no pods; whoever reads the status should not have to."""
        now_seconds = self._tools.clock()
        question = held.no_pod.next_question(observation.no_pod_jobs, now_seconds)
        if question is None:
            self._questions.over(record.key)
            return
        due_seconds, job = question
        if due_seconds <= now_seconds:
            due_seconds = self._questions.turn(record.key, now_seconds)
        if due_seconds > now_seconds:
            self._tools.queue.add_at(record.key, due_seconds)
            return
        self._questions.over(record.key)
        held.no_pod.take(job, await no_pod_message(self._tools.api, job), now_seconds)
        self._tools.queue.add(record.key)

    async def _expire(self, record: JobRecord, job: DistillJob, state: JobState) -> None:
        """Delete a job whose time after its end is over."""
        expiry_seconds = _expiry_seconds(job, state)
        if expiry_seconds is not None and self._tools.clock() >= expiry_seconds:
            await self._tools.api.delete(job_path(record.key), record.uid)


def _expiry_seconds(job: DistillJob, state: JobState) -> float | None:
    if state.outcome is None or job.spec.ttl_seconds_after_finished is None:
        return None
    return state.outcome.time_seconds + job.spec.ttl_seconds_after_finished
