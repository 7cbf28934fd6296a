"""Random histories of joins, uploads, kills, parks, drops, deadlines and damaged disks, against the promises.

The disk is real and so are sums, files and teachers; only network and threads are left out.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from distilljob_aggregator.rounds import admission
from distilljob_aggregator.rounds.due import Wishes
from distilljob_aggregator.rounds.events import Finished
from distilljob_core.errors import Conflict, Fenced, Mismatch, NotOpen, RowsOutOfRange, TeacherNotReady
from distilljob_core.exchange import CloseRecord, Directive
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split

STUDENTS = st.sampled_from("abc")


def without_observations(state):
    """What the journal alone must bring back."""
    uploads = {name: replace(upload, durable_rows=0) for name, upload in state.uploads.items()}
    students = {name: replace(student, barrier_seconds=0.0) for name, student in state.students.items()}
    return replace(
        state, uploads=uploads, students=students, open_seconds=0.0, waited_seconds=0.0, deadline_seconds=0.0
    )


class Histories(RuleBasedStateMachine):
    exchange_in: ClassVar[Callable]
    summary: ClassVar[Callable]

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.closes: tuple[CloseRecord, ...] = ()
        self.fenced: set[int] = set()

    def teardown(self):
        self.job.directory.close()
        shutil.rmtree(self.folder)

    @initialize(
        concurrent=st.sampled_from([None, 1, 2]),
        quorum=st.sampled_from([None, 1, 2]),
        history=st.sampled_from([None, 1]),
        method=st.sampled_from(["MD", "MD", "Independent"]),
    )
    def begin(self, concurrent, quorum, history, method):
        self.job = Histories.exchange_in(
            self.folder,
            maximum_concurrent=concurrent,
            minimum_students=quorum,
            cycle_deadline_seconds=quorum and 60,
            teacher_history=history,
            method=method,
            cycles=2,
        )

    @rule(name=STUDENTS, attempt=st.integers(1, 3), other_pod=st.booleans())
    def join(self, name, attempt, other_pod):
        before = self.job.state.students[name].token
        with suppress(Fenced):
            token = self.job.join(name, attempt, f"{name}-{attempt}{'x' * other_pod}")
            if token != before and before:
                self.fenced.add(before)

    @rule(name=STUDENTS, digest=st.sampled_from("112"), weight=st.sampled_from([0, 3, 7]))
    def open(self, name, digest, weight):
        student = self.job.state.students[name]
        if student.token and not student.is_dropped:
            with suppress(NotOpen, Mismatch, TeacherNotReady):
                self.job.open(name, digest=digest, weight=weight)

    @rule(name=STUDENTS, num_rows=st.integers(1, 7), durable=st.booleans())
    def upload(self, name, num_rows, durable):
        upload = self.job.state.uploads.get(name)
        left = 0 if upload is None else self.job.state.num_rows(upload.offer.round) - upload.durable_rows
        if left:
            with suppress(NotOpen, RowsOutOfRange, Conflict):
                self.job.rows(name, upload.durable_rows, min(num_rows, left), durable=durable)

    @rule(name=STUDENTS, digest=st.sampled_from("12"), weight=st.sampled_from([0, 4]))
    def bring_everything(self, name, digest, weight):
        student = self.job.state.students[name]
        with suppress(NotOpen, TeacherNotReady, Fenced, Mismatch):
            if not student.token or student.is_parked or student.is_dropped:
                self.job.join(name, student.attempt + 1)
            if not isinstance(self.job.open(name, digest=digest, weight=weight), CloseRecord):
                self.job.all_rows(name)

    @rule(names=st.sampled_from(["abc", "cab", "ab"]), weight=st.sampled_from([0, 5, 5, 5]))
    def everybody_brings_everything(self, names, weight):
        for name in names:
            self.bring_everything(name, "1", weight)
            self.job.settle()

    @rule(name=STUDENTS, phase=st.sampled_from([StudentPhase.WAITING, StudentPhase.DISTILLING]))
    def heartbeat(self, name, phase):
        event = admission.unpark(self.job.state, name=name, phase=phase)
        if event is not None:
            self.job.commit(event)

    @rule(seconds=st.sampled_from([1, 100]))
    def pass_time(self, seconds):
        self.job.pass_time(seconds)

    @rule()
    def work(self):
        self.job.step()

    @rule()
    def settle(self):
        self.job.settle()

    @precondition(lambda self: not self.job.wishes.dropped)
    @rule(name=STUDENTS)
    def drop(self, name):
        self.job.wishes = replace(self.job.wishes, dropped=frozenset({name}))

    @rule(cycle=st.sampled_from([None, 1]))
    def wish_to_stop(self, cycle):
        self.job.wishes = replace(self.job.wishes, stop_after_cycle=cycle)

    @rule(names=st.sampled_from(["abc", "a", "bc"]))
    def finish(self, names):
        for name in names if self.job.state.active is None else "":
            student = self.job.state.students[name]
            if student.token and student.is_expected:
                self.job.commit(Finished(name, Histories.summary(name), 5.0))

    @rule()
    def kill(self):
        self.job.restart()

    @rule(data=st.data())
    def damage_and_kill(self, data):
        self.job.directory.close()
        files = sorted(self.folder.glob("spool/*/*"))
        if files:
            file = data.draw(st.sampled_from(files))
            content = bytearray(file.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1
            file.write_bytes(content)
        self.job.restart()

    @invariant()
    def each_student_has_at_most_one_token_and_fenced_ones_stay_dead(self):
        live = [student.token for student in self.job.state.students.values() if student.token]
        assert len(set(live)) == len(live)
        assert not self.fenced & set(live)
        for student in self.job.state.students.values():
            assert not student.token or student.pod_uid not in student.fenced_pod_uids

    @invariant()
    def what_is_closed_stays_as_it_is(self):
        closes = self.job.state.closes
        assert closes[: len(self.closes)] == self.closes
        self.closes = closes
        keys = [record.round for record in closes]
        assert keys == sorted(set(keys))
        assert self.job.state.active not in keys or self.job.state.closing == closes[-1]
        assert not any(record.last for record in closes[:-2])

    @invariant()
    def the_journal_brings_everything_back(self):
        assert without_observations(self.job.replayed()) == without_observations(self.job.state)

    @invariant()
    def teachers_are_exactly_the_contributors(self):
        for record in self.closes:
            if record.round in self.job.state.stored:
                assert self.job.teacher(record.round) == self.job.reference(record)

    @invariant()
    def everybody_contributes_all_or_nothing(self):
        plan = self.job.plan
        for record in self.closes:
            names = [part.student for part in record.contributions]
            assert set(names).isdisjoint(record.missing)
            dropped = {name for name in plan.students if self.job.state.students[name].is_dropped}
            assert set(names) | set(record.missing) | dropped == set(plan.students)
            if record.missing:
                assert plan.minimum_students is not None
                assert len(names) >= plan.minimum_students

    @invariant()
    def only_complete_students_are_parked_in_an_open_round(self):
        state = self.job.state
        places = state.plan.maximum_concurrent
        assert places is not None or not any(student.is_parked for student in state.students.values())

    @invariant()
    def nobody_is_told_to_park_whose_rows_are_wanted(self):
        for name in self.job.state.missing():
            assert admission.directive(self.job.state, name) is Directive.GO_ON

    @invariant()
    def a_complete_job_has_its_evaluation(self):
        if self.job.state.is_complete:
            assert self.closes[-1].round.split is Split.EVALUATION
            assert not any(student.is_expected for student in self.job.state.students.values())


def test_no_history_breaks_the_promises(exchange_in, summary):
    Histories.exchange_in, Histories.summary = exchange_in, summary
    Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, derandomize=True)
    run_state_machine_as_test(Histories, settings=Histories.TestCase.settings)


def test_the_wish_file_is_not_asked_for_what_is_decided(exchange_in, tmp_path):
    job = exchange_in(tmp_path, 1, cycles=3)
    job.join("a")
    job.wishes = Wishes(stop_after_cycle=1)
    job.bring("a")
    job.settle()
    job.wishes = Wishes()
    job.restart()
    assert job.state.closes[0].last
    assert job.state.active is not None
    assert job.state.active.split is Split.EVALUATION
