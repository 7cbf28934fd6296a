"""A whole world that misbehaves at random, and what must hold in it whatever happens.

Students train, crash, hang, leave early, park and get lost; the aggregator restarts; scrapes fail, go stale, say NaN or
speak of dead attempts; orders get lost between state and deed; the watcher's clock jumps. After each decision the
invariants are checked; at the end the world heals, and the job must come to an end by itself.
"""

import json
import math
from dataclasses import dataclass, field, replace
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from distilljob_core import progress as metrics
from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import EndReason, JobState, Manner, Start, state_from_json, state_to_json
from distilljob_core.lifecycle.seen import AggregatorSeen, AttemptSeen, AttemptStanding, Seen, StudentSeen, Wishes
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import as_of, read_progress, scrape_failed
from distilljob_core.results import StudentSummary
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView
from distilljob_core.spec.job import DistillJobSpec

NAMES = ("a", "b", "c", "d")
NUM_ROUNDS = 3
AGGREGATOR_AHEAD_SECONDS = 7777.0
LIMITS = {
    StudentPhase.STARTING: 300,
    StudentPhase.INDEPENDENT: 60,
    StudentPhase.FETCHING: 90,
    StudentPhase.WAITING: 90,
    StudentPhase.PARKED: 120,
}
PICK = st.integers(0, 3)
BLIND = ("failed", "stale", "clock", "nan", "lie")
PENDING, RUNNING, ENDED, GONE, UNREACHABLE = AttemptStanding


@dataclass
class Process:
    """One attempt as it truly is; times are true."""

    attempt: int
    uid: str
    started: float
    stamp: float
    standing: AttemptStanding = RUNNING
    exit_code: int | None = None
    disrupted: bool = False
    joined: bool = False
    frozen: bool = False
    trained: bool = False
    phase: StudentPhase = StudentPhase.STARTING
    last_step: float = 0.0
    was_told_to_park: bool = False

    @property
    def is_live(self):
        return self.standing is not ENDED


@dataclass
class Row:
    """What the aggregator has durably of one student, and what it heard since it started."""

    attempt: int = 0
    uid: str = ""
    fetched: int = 0
    parked: bool = False
    done: bool = False
    dropped: bool = False
    heard: dict = field(default_factory=dict)


class World(RuleBasedStateMachine):
    """Truth, what is seen of it, and the lifecycle between them."""

    @initialize(
        places=st.sampled_from([None, 1, 2]),
        quorum=st.sampled_from([None, 2]),
        budget=st.integers(0, 6),
        skew=st.sampled_from([0.0, -1e6]),
        times=st.integers(0, 3),
    )
    def begin(self, places, quorum, budget, skew, times):
        drop = "DropStudent" if quorum else "Fail"
        self.spec = DistillJobSpec.model_validate(
            {
                "dataset": {"name": "digits"},
                "students": [{"name": name, "model": {"name": "x"}} for name in NAMES],
                "placement": {"maximumConcurrentStudents": places},
                "quorum": {"minimumStudents": quorum},
                "startupDeadlineSeconds": 2000,
                "failurePolicy": {
                    "maxRestartsPerStudent": budget,
                    "maxRestarts": 10,
                    "onBudgetExhausted": drop,
                    "onDivergence": drop,
                    "backoff": {"maxSeconds": 40},
                    "nodeLost": {"forceDeleteAfterSeconds": 500},
                    "hang": {
                        "startupSeconds": 300,
                        "steadySeconds": 60,
                        "exchangeSeconds": 90,
                        "checkpointSeconds": 120,
                        "maxRestartsPerStudent": 3,
                    },
                },
            }
        )
        self.true, self.skew = 2e6, skew
        self.watching_since = self.now
        self.wishes = Wishes()
        self.state = JobState("uid")
        self.processes = {name: [] for name in NAMES}
        self.rows = {name: Row() for name in NAMES}
        self.delivered, self.closes = set(), []
        self.aggregator_up, self.aggregator_stamp = True, self.now
        self.table_readable, self.scrape = True, "fresh"
        self.obey(self.decide())
        self.students_work(NAMES, times)

    @property
    def now(self):
        return self.true + self.skew

    # What the students and the aggregator do

    def live(self, name):
        return [process for process in self.processes[name] if process.is_live]

    def working(self, name):
        return next((p for p in self.live(name) if p.standing is RUNNING and not p.frozen), None)

    def exit(self, process, code):
        process.standing, process.exit_code = ENDED, code

    def step(self, name):
        """Let a student do its next piece of work."""
        process, row = self.working(name), self.rows[name]
        if process is None or not self.aggregator_up:
            return
        if not process.joined:
            self.join(process, row)
        elif (row.attempt, row.uid) != (process.attempt, process.uid) or row.dropped:
            self.exit(process, 83)
        elif row.parked:
            process.was_told_to_park = True
            self.exit(process, 75)
        else:
            self.work(name, process, row)
        self.hear(process, row)

    def join(self, process, row):
        if process.attempt < row.attempt or (process.attempt == row.attempt and process.uid != row.uid) or row.dropped:
            self.exit(process, 83)
            return
        row.attempt, row.uid, row.parked = process.attempt, process.uid, False
        process.joined, process.phase, process.last_step = True, StudentPhase.STARTING, self.true

    def work(self, name, process, row):
        process.last_step = self.true
        if row.fetched < len(self.closes):
            row.fetched += 1
            process.phase, process.trained = StudentPhase.INDEPENDENT, False
        elif len(self.closes) == NUM_ROUNDS:
            row.done = True
            self.exit(process, 0)
        elif not process.trained and name not in self.delivered:
            process.phase, process.trained = StudentPhase.INDEPENDENT, True
        else:
            self.delivered.add(name)
            process.phase = StudentPhase.WAITING
            row.parked = any(not self.live(other) for other in self.missing())
            self.close()

    def missing(self):
        return [name for name, row in self.rows.items() if not row.dropped and name not in self.delivered]

    def close(self):
        if self.delivered and not self.missing() and len(self.closes) < NUM_ROUNDS:
            split = "evaluation" if len(self.closes) == NUM_ROUNDS - 1 else "train"
            names = [name for name in NAMES if name in self.delivered]
            self.closes.append(
                CloseView(cycle=1, split=split, contributors=names, weights=[], missing=[], last=split != "train")
            )
            self.delivered = set()

    def hear(self, process, row):
        if self.aggregator_up and process.joined and (row.attempt, row.uid) == (process.attempt, process.uid):
            known = row.heard.get("attempt") == process.attempt
            step = process.last_step if known else self.true
            row.heard = {"attempt": process.attempt, "uid": process.uid, "phase": process.phase, "step": step}
            row.heard["beat"] = self.true

    # What the watcher sees

    def seen(self):
        students = {}
        for name, processes in self.processes.items():
            students[name] = StudentSeen(
                tuple(
                    AttemptSeen(
                        process.attempt,
                        process.standing,
                        process.uid,
                        started_seconds=process.stamp,
                        exit_code=process.exit_code,
                        disrupted=process.disrupted,
                    )
                    for process in processes
                )
            )
        aggregator = AggregatorSeen(True, self.aggregator_up, self.aggregator_stamp)
        table = self.table() if self.aggregator_up and self.table_readable else None
        return Seen(self.watching_since, students, aggregator, self.progress(), table)

    def view(self, name):
        row, expected = self.rows[name], not (self.rows[name].done or self.rows[name].dropped)
        phase = row.heard.get("phase", StudentPhase.STARTING)
        phase = StudentPhase.PARKED if row.parked and not self.live(name) else phase
        return StudentView.model_construct(
            name=name,
            phase=StudentPhase.DROPPED if row.dropped else phase,
            attempt=row.attempt,
            pod_uid=row.uid,
            rows_durable=int(name in self.delivered),
            parked_attempt=row.attempt if row.parked else None,
            owes_rows=expected and len(self.closes) < NUM_ROUNDS and name not in self.delivered,
            behind=expected and row.fetched < len(self.closes),
            summary=StudentSummary.model_construct(name=name, attempt=row.attempt) if row.done else None,
        )

    def table(self):
        kept = [row for row in self.rows.values() if not row.dropped]
        return RoundTable.model_construct(
            open=None if len(self.closes) == NUM_ROUNDS else RoundView(cycle=1, split="train", open_seconds=0.0),
            closes=list(self.closes),
            students=[self.view(name) for name in NAMES],
            complete=bool(kept) and all(row.done for row in kept),
            storage_full=None,
        )

    def progress(self):
        if self.scrape == "failed" or not self.aggregator_up:
            return scrape_failed("connection refused")
        clock = math.nan if self.scrape == "clock" else self.true + AGGREGATOR_AHEAD_SECONDS
        samples = [(metrics.CLOCK, {}, clock)]
        for name, row in self.rows.items():
            samples += self.student_samples(name, row.heard) if row.heard else []
        taken = self.now - (60.0 if self.scrape == "stale" else 0.0)
        progress = read_progress(samples)
        return as_of(progress, taken_seconds=taken, now_seconds=self.now, stale_after_seconds=30.0)

    def student_samples(self, name, heard):
        labels = {"student": name}
        lies = self.scrape == "lie"
        attempt = heard["attempt"] - 1 if lies else heard["attempt"]
        step = 0.0 if lies else math.nan if self.scrape == "nan" else heard["step"] + AGGREGATOR_AHEAD_SECONDS
        return [
            (metrics.INFO, labels | {"attempt": str(attempt), "pod_uid": heard["uid"]}, 1.0),
            (metrics.LAST_PROGRESS, labels, step),
            (metrics.LAST_HEARTBEAT, labels, heard["beat"] + AGGREGATOR_AHEAD_SECONDS),
            *((metrics.PHASE, labels | {"phase": phase}, float(phase is heard["phase"])) for phase in StudentPhase),
        ]

    # Deciding, and carrying it out

    def decide(self):
        before, seen = self.state, self.seen()
        decision = decide(self.spec, self.wishes, seen, before, self.now)
        again = decide(self.spec, self.wishes, seen, decision.state, self.now)
        assert (again.actions, again.events, again.state) == ((), (), decision.state), "decides twice"
        assert state_from_json(json.loads(json.dumps(state_to_json(decision.state)))) == decision.state
        assert decision.next_wake_seconds is None or decision.next_wake_seconds > self.now
        self.check_change(before, decision, seen)
        self.state = decision.state
        return decision

    def check_change(self, before, decision, seen):
        after = decision.state
        assert before.outcome is None or before.outcome == after.outcome, "an end changed"
        for action in decision.actions:
            if isinstance(action, Start):
                assert after.outcome is None, "starts after the end"
                assert not self.wishes.suspend, "starts while suspended"
                assert after.students[action.student].standing != "Dropped", "starts a dropped student"
                assert not self.rows[action.student].done or not seen.table, "starts a finished student"
            elif action.reason is EndReason.HANG:
                self.check_hang(action, decision)
        for name, student in after.students.items():
            old = before.students.get(name)
            if old is None:
                continue
            assert student.attempt >= old.attempt, "attempt numbers shrink"
            assert student.restarts.total <= old.restarts.total + 1
            assert old.standing != "Dropped" or student.standing == "Dropped", "a dropped student comes back"
            if student.restarts != old.restarts and (ended := self.process(name, old.attempt)):
                assert not ended.was_told_to_park or old.ending, "a park is counted as a restart"
            if old.ending and old.ending.reason is EndReason.RESTARTED and old.ending.attempt == old.attempt:
                assert student.restarts.total <= old.restarts.total, "a wish is counted as a failure"

    def check_hang(self, action, decision):
        is_in_sight = bool(self.rows[action.student].heard)
        assert self.scrape not in ("failed", "stale", "clock"), "a blind watcher ends somebody"
        assert self.scrape != "nan" or not is_in_sight, "a sample that is no number is held against a student"
        process = self.process(action.student, action.attempt)
        if process and process.is_live and action.manner is Manner.KEEP_EVIDENCE and not process.frozen:
            since = process.last_step if process.joined else process.started
            assert self.true - since >= min(LIMITS[process.phase], 60), "a working student is taken for hung"
            waits = process.phase is StudentPhase.WAITING and self.rows[action.student].fetched == len(self.closes)
            assert not (waits and process.joined and self.aggregator_up), "a waiting student is taken for hung"

    def process(self, name, attempt):
        return next((process for process in self.processes[name] if process.attempt == attempt), None)

    def obey(self, decision):
        for name in decision.control.dropped:
            if self.aggregator_up and not self.rows[name].done:
                self.rows[name].dropped = True
                self.delivered.discard(name)
        self.close()
        for action in decision.actions:
            process = self.process(action.student, action.attempt)
            if isinstance(action, Start):
                if process is None:
                    uid = f"{action.student}-{action.attempt}-{self.true}"
                    made = Process(action.attempt, uid, self.true, self.now, last_step=self.true)
                    self.processes[action.student].append(made)
            elif action.manner is Manner.FORCE:
                self.processes[action.student] = [p for p in self.processes[action.student] if p is not process]
            elif process and process.standing in (PENDING, RUNNING):
                self.exit(process, 143)

    # What can happen

    @rule()
    def decide_and_obey(self):
        self.obey(self.decide())

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0, 95.0, 400.0]))
    def time_passes(self, seconds):
        self.true += seconds
        for name in NAMES:
            if process := self.working(name):
                self.hear(process, self.rows[name])

    @rule(names=st.permutations(NAMES), times=st.integers(1, 4))
    def students_work(self, names, times):
        for _ in range(times):
            self.true += 5.0
            for name in names:
                self.step(name)
            self.obey(self.decide())

    @rule(pick=PICK, code=st.sampled_from([0, 0, 1, 1, 75, 83, 137, 143]), disrupted=st.booleans())
    def exits(self, pick, code, disrupted):
        if process := self.picked(pick):
            self.exit(process, code)
            process.disrupted = disrupted

    @rule(pick=PICK)
    def diverges(self, pick):
        process = self.picked(pick)
        if process and self.spec.failure_policy.on_divergence == "DropStudent":
            self.exit(process, 85)

    @rule(picks=st.lists(PICK, min_size=1, max_size=4), seconds=st.sampled_from([1.0, 65.0, 130.0, 310.0]))
    def hang(self, picks, seconds):
        for pick in picks:
            if process := self.picked(pick):
                process.frozen = True
        self.time_passes(seconds)
        self.obey(self.decide())

    @rule(pick=PICK, standing=st.sampled_from([PENDING, UNREACHABLE, RUNNING]))
    def changes_standing(self, pick, standing):
        process = self.picked(pick, every=True)
        if process and not (standing is PENDING and process.joined):
            process.standing = standing

    @rule(pick=PICK)
    def vanishes(self, pick):
        process = self.picked(pick, every=True)
        for name in NAMES:
            self.processes[name] = [each for each in self.processes[name] if each is not process]

    def picked(self, pick, *, every=False):
        """One of the processes that work, or of all that live."""
        found = [p for name in NAMES for p in self.live(name) if every or (p.standing is RUNNING and not p.frozen)]
        return found[pick % len(found)] if found else None

    @rule(up=st.sampled_from([True, True, False]))
    def aggregator_restarts(self, up):
        self.aggregator_up, self.aggregator_stamp = up, self.now
        for row in self.rows.values():
            row.heard = {}

    @rule(scrape=st.sampled_from(["fresh", "fresh", "fresh", *BLIND]), readable=st.booleans())
    def sight_changes(self, scrape, readable):
        self.scrape, self.table_readable = scrape, readable

    @rule(obeyed=st.integers(0, 2))
    def watcher_is_killed_between_state_and_deeds(self, obeyed):
        decision = self.decide()
        self.obey(replace(decision, actions=decision.actions[:obeyed]))
        self.true += 1.0
        self.watching_since = self.now

    @rule(seconds=st.sampled_from([-3600.0, -1.0, 3600.0]))
    def clock_jumps(self, seconds):
        self.skew += seconds
        self.watching_since = self.now

    @rule(suspend=st.booleans())
    def user_changes_his_mind(self, suspend):
        self.wishes = replace(self.wishes, suspend=suspend)

    @rule(name=st.sampled_from(NAMES))
    def user_restarts(self, name):
        known = self.state.students.get(name)
        self.wishes = replace(self.wishes, restarts={**self.wishes.restarts, name: known.attempt if known else 0})

    def suffer(self, random):
        """Let one thing happen that a seed chooses; ordinary things most of the time."""
        pick = random.randint(0, 3)
        ordinary = [
            self.decide_and_obey,
            lambda: self.time_passes(random.choice([1.0, 20.0])),
            lambda: self.students_work(random.sample(NAMES, len(NAMES)), 1),
            lambda: self.sight_changes("fresh", True),
        ]
        trouble = [
            lambda: self.exits(pick, random.choice([0, 1, 75, 83, 137, 143]), random.random() < 0.5),
            lambda: self.diverges(pick) if random.random() < 0.2 else None,
            lambda: self.hang([pick], 65.0),
            lambda: self.hang(list(range(4)), random.choice([65.0, 130.0, 310.0])),
            lambda: self.time_passes(random.choice([61.0, 95.0, 400.0])),
            lambda: self.changes_standing(pick, random.choice([PENDING, UNREACHABLE, RUNNING])),
            lambda: self.vanishes(pick),
            lambda: self.aggregator_restarts(random.random() < 0.7),
            lambda: self.sight_changes(random.choice(BLIND), random.random() < 0.5),
            lambda: self.watcher_is_killed_between_state_and_deeds(random.randint(0, 2)),
            lambda: self.clock_jumps(random.choice([-3600.0, -1.0, 3600.0])),
            lambda: self.user_changes_his_mind(random.random() < 0.3),
            lambda: self.user_restarts(random.choice(NAMES)),
        ]
        random.choice(ordinary if random.random() < 0.7 else trouble)()

    # What must hold

    @invariant()
    def at_most_one_attempt_of_a_student_lives(self):
        assert all(len(self.live(name)) <= 1 for name in NAMES)

    @invariant()
    def at_most_as_many_live_as_there_are_places(self):
        places = self.spec.placement.maximum_concurrent_students or len(NAMES)
        assert sum(bool(self.live(name)) for name in NAMES) <= places

    @invariant()
    def no_budget_is_overspent(self):
        accounts = [student.account for student in self.state.students.values()]
        policy = self.spec.failure_policy
        assert all(account.spent <= policy.max_restarts_per_student for account in accounts)
        assert all(account.spent_hangs <= policy.hang.max_restarts_per_student for account in accounts)
        assert sum(account.charged for account in accounts) <= policy.max_restarts

    def teardown(self):
        """Heal the world: the job must come to an end by itself."""
        self.aggregator_up, self.table_readable, self.scrape, self.wishes = True, True, "fresh", Wishes()
        for _ in range(400):
            if self.state.outcome:
                break
            for name in NAMES:
                for process in self.live(name):
                    process.standing = RUNNING
            self.true += 15.0
            for name in NAMES:
                self.step(name)
                if process := self.working(name):
                    self.hear(process, self.rows[name])
            self.obey(self.decide())
        assert self.state.outcome, "a healed world does not come to an end"


@pytest.mark.parametrize("seed", range(80))
def test_a_long_life_full_of_trouble_ends_well(seed):
    random = Random(seed)
    world = World()
    places, quorum = random.choice([None, None, 1, 2, 3]), random.choice([None, 2])
    world.begin(places, quorum, random.randint(0, 6), random.choice([0.0, -1e6]), random.randint(0, 3))
    for _ in range(150):
        if not world.state.outcome:
            world.suffer(random)
            world.at_most_one_attempt_of_a_student_lives()
            world.at_most_as_many_live_as_there_are_places()
            world.no_budget_is_overspent()
    world.teardown()


World.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestWorld = World.TestCase
