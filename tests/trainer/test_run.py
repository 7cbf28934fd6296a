"""The lines that one student writes on its way, and the seconds it tells, on a clock that the test sets."""

from contextlib import ExitStack
from itertools import count

import pytest
import torch
from prometheus_client import CollectorRegistry

from distilljob_aggregator.accumulator import Accumulator
from distilljob_core.exchange import Identity
from distilljob_core.measurements import read_measurements
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.codecs import codec
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import planned_epochs, resolve_students
from distilljob_trainer import progress as progress_module
from distilljob_trainer import session, waited
from distilljob_trainer.algorithm import Lesson
from distilljob_trainer.checkpoint import Checkpoints
from distilljob_trainer.evaluate import calibrated
from distilljob_trainer.export import describe
from distilljob_trainer.finish import finish
from distilljob_trainer.journal import Journal
from distilljob_trainer.leaving import Leaving
from distilljob_trainer.metrics import StudentMetrics
from distilljob_trainer.progress import Progress
from distilljob_trainer.run import Run
from distilljob_trainer.surroundings import Surroundings
from distilljob_trainer.teacher import Classroom, InProcessTeacher


class Killed(Exception):
    pass


class Clock:
    """Stands for the module `time`: it moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class SlowTeacher(InProcessTeacher):
    """Lets its student wait twice, as a round that stays open does, and may kill it then."""

    def __init__(self, classroom, student, clock, enter) -> None:
        super().__init__(classroom, student)
        self._clock, self._enter = clock, enter
        self.wait_seconds = 0.0
        self.kills = False

    def lesson(self, key) -> Lesson:
        for _ in range(2):
            self._enter(StudentPhase.WAITING)
            self._clock.now += self.wait_seconds
        if self.kills:
            raise Killed
        self._enter(StudentPhase.FETCHING)
        self._clock.now += 1
        return super().lesson(key)


class Bench:
    """One student on one directory, attempt after attempt."""

    def __init__(self, directory, tree, clock) -> None:
        self.directory, self.clock = directory, clock
        self.spec = check_job(tree).spec
        self.student = resolve_students(self.spec)[0]
        self.classroom = Classroom((self.student.name,), self.spec.method.cycles, codec("Float16"), Accumulator)
        self.stack = ExitStack()

    def attempt(self, *, wait_seconds=0.0, kills=False) -> Run:
        who = Identity("uid-1", self.student.name, 1, "pod-1")
        told = session.Settings(self.directory, who, "", None, self.directory, self.directory, "", 0, "cpu")
        task, student, notes = session.prepare(self.spec, self.student, told)
        journal = Journal(self.directory / "metrics.jsonl", notes.journal_bytes)
        self.stack.callback(journal.close)
        progress = Progress(planned_epochs(self.spec.method), notes.seconds, self.clock.now)
        leaving = Leaving()
        teacher = SlowTeacher(
            self.classroom, student.name, self.clock, session._followed(progress, leaving, self.directory)
        )
        teacher.wait_seconds, teacher.kills = wait_seconds, kills
        metrics, checkpoints = StudentMetrics(CollectorRegistry()), Checkpoints(self.directory)
        return Run(task, student, notes, Surroundings(teacher, progress, leaving, metrics, checkpoints, journal))

    def lines(self, kind):
        content = (self.directory / "metrics.jsonl").read_bytes()
        read = read_measurements(content)
        assert read.unreadable == []
        assert content.count(b"\n") == len(read.known)
        return [line for line in read.known if line.kind == kind]


@pytest.fixture
def bench(tmp_path, tree, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    numbers = count()

    def make(**changes):
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        made.append(Bench(directory, tree(**changes), clock))
        return made[-1]

    made = []
    yield make
    for one in made:
        one.stack.close()


class Publisher:
    """Takes what a student publishes."""

    def publish(self, path, name) -> None:
        assert path.exists(), name

    def finish(self, summary) -> None:
        self.summary = summary


def finished(run, directory):
    publisher = Publisher()
    network = describe(run.student.name, "cnn_bn_small", {}, run.task.data)
    finish(run, network, 1, publisher, directory / "export")
    run.around.journal.sync()
    return publisher.summary


def test_every_closed_cycle_has_its_line_its_logits_and_its_soft_label(bench):
    job = bench()
    run = job.attempt()
    run.train()
    run.around.journal.sync()
    for kind in ("cycle", "exchange", "logits", "soft_label"):
        assert [line.cycle for line in job.lines(kind)] == [1, 2], kind
    logits = job.lines("logits")[-1]
    assert logits.smallest < 0 < logits.mean_range <= logits.largest - logits.smallest
    label = job.lines("soft_label")[-1]
    assert label.sample in run.task.data.holdout_ids_N
    assert label.temperature == run.task.rules.temperature
    assert max(label.student_sharp) > max(label.student_soft)
    assert label.student_soft == pytest.approx(label.teacher_soft, abs=1e-3)  # alone in the group: its own teacher


def test_independent_students_close_no_cycle_and_say_so(bench):
    job = bench(method={"name": "Independent"})
    run = job.attempt()
    run.train()
    run.around.journal.sync()
    assert len(job.lines("epoch")) == 6
    assert not any(job.lines(kind) for kind in ("cycle", "exchange", "logits", "soft_label"))


def test_an_epoch_tells_the_learning_rate_of_its_last_step(bench):
    job = bench(training={"schedule": {"kind": "Cosine"}})
    run = job.attempt()
    rates = []
    after_step = run._after_step
    run._after_step = lambda done: (rates.append(done.learning_rate), after_step(done))
    run.train()
    run.around.journal.sync()
    assert [line.learning_rate for line in job.lines("epoch")] == rates[2::3]
    assert len(rates) == 3 * 6


def test_the_end_tells_ensemble_and_calibration_as_the_summary_has_them(bench):
    job = bench()
    run = job.attempt()
    run.train()
    summary = finished(run, job.directory)
    (ensemble,) = job.lines("ensemble")
    own, joint = job.lines("reliability")
    assert (own.predictor, joint.predictor) == ("student", "ensemble")
    for line, known in ((own, summary), (joint, summary.ensemble)):
        assert sum(one.count for one in line.bins) == summary.test_samples
        gaps = [one.count * abs(one.accuracy - one.confidence) for one in line.bins]
        assert sum(gaps) / summary.test_samples == pytest.approx(known.ece)
    assert ensemble.accuracy == summary.ensemble.accuracy
    x, y_N = run.task.data.test.batch(torch.arange(summary.test_samples))
    with torch.no_grad():
        own_NK = run.student.model.eval()(x).softmax(dim=1)
    assert summary.ece == pytest.approx(calibrated(own_NK, y_N).ece, abs=1e-6)
    assert summary.artifacts[-1].name == f"{summary.name}-metrics.jsonl"


def test_an_end_that_is_done_again_leaves_its_lines_once(bench):
    job = bench()
    run = job.attempt()
    run.train()
    finished(run, job.directory)
    finished(job.attempt(), job.directory)
    assert len(job.lines("ensemble")) == 1
    assert [line.predictor for line in job.lines("reliability")] == ["student", "ensemble"]
    assert [line.split for line in job.lines("exchange")] == ["train", "train", "evaluation"]


def test_a_lesson_presented_again_writes_no_line_of_its_cycle(bench):
    job = bench()
    run = job.attempt()
    begin_stage = run._begin_stage

    def begin_distilling():
        begin_stage()
        if run.student.cursor.stage == "Distill":
            raise Killed

    run._begin_stage = begin_distilling
    with pytest.raises(Killed):
        run.train()
    resumed = job.attempt()
    assert resumed.student.cursor.stage == "Distill"
    resumed.train()
    resumed.around.journal.sync()
    for kind in ("cycle", "exchange", "logits", "soft_label"):
        assert [line.cycle for line in job.lines(kind)] == [1, 2], kind


def test_a_round_tells_its_seconds_by_phase(bench):
    job = bench()
    run = job.attempt(wait_seconds=10.0)
    run.train()
    run.around.journal.sync()
    expected = {"Labeling": 0.0, "Uploading": 0.0, "Waiting": 20.0, "Fetching": 1.0}
    assert [line.seconds for line in job.lines("exchange")] == [expected, expected]
    assert run.around.progress.fold()["Waiting"] == 40.0


def test_a_wait_outlives_kills_in_it(bench):
    """What came after the last look at the round is lost, all before it counts."""
    job = bench()
    for wait_seconds in (10.0, 7.0):
        with pytest.raises(Killed):
            job.attempt(wait_seconds=wait_seconds, kills=True).train()
    run = job.attempt(wait_seconds=5.0)
    assert run.around.progress.fold()["Waiting"] == 10.0 + 7.0
    run.train()
    run.around.journal.sync()
    assert [line.seconds["Waiting"] for line in job.lines("exchange")] == [10.0 + 7.0 + 10.0, 10.0]
    assert run.around.progress.fold()["Waiting"] == 37.0


@pytest.mark.parametrize("content", [b"", b'{"Waiting": 1', b"\x00\x00", b"[]", b'{"Waiting": null}'])
def test_damaged_seconds_cost_seconds_and_nothing_else(tmp_path, content):
    waited.keep(tmp_path, {"Waiting": 10.0})
    assert waited.taken_up(tmp_path, {"Labeling": 3.0}) == {"Labeling": 3.0, "Waiting": 10.0}
    (tmp_path / "seconds.json").write_bytes(content)
    assert waited.taken_up(tmp_path, {"Labeling": 3.0}) == {"Labeling": 3.0}


def test_a_wait_that_was_left_in_order_counts_whole(bench):
    job = bench()
    left = job.attempt(wait_seconds=10.0, kills=True)
    with pytest.raises(Killed):
        left.train()
    left.save()
    run = job.attempt(wait_seconds=5.0)
    run.train()
    run.around.journal.sync()
    assert [line.seconds["Waiting"] for line in job.lines("exchange")] == [20.0 + 10.0, 10.0]
