"""One attempt of one student, from its arguments to its end. All effects start here."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog
import torch
from prometheus_client import CollectorRegistry, start_http_server

from distilljob_core.artifacts import METRICS_FILE
from distilljob_core.errors import SpecError
from distilljob_core.exchange import Identity, SplitShape
from distilljob_core.exit_codes import ExitCode
from distilljob_core.files import DirectoryLock
from distilljob_core.phases import StudentPhase
from distilljob_core.results import StudentSummary
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.frames import Split
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.load import load_job
from distilljob_core.spec.resolve import ResolvedStudent, planned_epochs, resolve_students
from distilljob_trainer import build, numerics, threads, waited
from distilljob_trainer.algorithm import Student
from distilljob_trainer.checkpoint import Checkpoints, Groups, State, check_owner
from distilljob_trainer.data.split import Data
from distilljob_trainer.export import describe
from distilljob_trainer.finish import finish
from distilljob_trainer.heartbeats import Heartbeats
from distilljob_trainer.journal import Journal
from distilljob_trainer.leaving import Leaving, Left, leave_in_order_on_signals
from distilljob_trainer.metrics import StudentMetrics
from distilljob_trainer.notes import Notes, Task, restore
from distilljob_trainer.progress import Progress
from distilljob_trainer.remote import RemoteTeacher, newest_lesson
from distilljob_trainer.run import Run
from distilljob_trainer.surroundings import Surroundings

log = structlog.get_logger()

Saved = tuple[State, Groups]


@dataclass(frozen=True, slots=True)
class Settings:
    """Who this process is and where everything lies; from its arguments and environment."""

    spec_file: Path
    who: Identity
    aggregator: str
    tls_dir: Path | None
    data_dir: Path
    checkpoint_dir: Path
    bind: str
    http_port: int
    device: Literal["auto", "cpu", "cuda"]


def run_student(settings: Settings) -> StudentSummary:
    """Run one attempt to its end; gives the terminal record that the aggregator has.

    Raises:
        Left: on SIGTERM, or parked; everything is saved.
        DistillJobError: whatever else ends it.
    """
    begun_seconds = time.monotonic()
    spec, resolved = read_spec(settings.spec_file, settings.who.student)
    settings.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(settings.checkpoint_dir))
        task, student, notes = prepare(spec, resolved, settings)
        progress = Progress(planned_epochs(spec.method), notes.seconds, begun_seconds)
        around, client = _surround(stack, settings, task, student, notes, progress)
        run = Run(task, student, notes, around)
        network = describe(resolved.name, resolved.model.name, resolved.model.options, task.data)
        try:
            run.train()
        except Left:
            run.save()
            raise
        with run.interruptible():  # saves on its own: its lines are written again by whoever finishes again
            return finish(run, network, settings.who.attempt, client, settings.checkpoint_dir / "export")


def read_spec(path: Path, student: str) -> tuple[DistillJobSpec, ResolvedStudent]:
    """Read the job's snapshot and find this student in it.

    Raises:
        SpecError: the file is missing or wrong, or has no such student.
    """
    try:
        spec = load_job(path.read_text()).spec
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; DISTILLJOB_SPEC_FILE must name the job's file") from error
    for resolved in resolve_students(spec):
        if resolved.name == student:
            return spec, resolved
    raise SpecError(f"{path} has no student {student!r}; DISTILLJOB_STUDENT must name one of spec.students")


def prepare(spec: DistillJobSpec, resolved: ResolvedStudent, settings: Settings) -> tuple[Task, Student, Notes]:
    """Load data and network, and put the student where its newest checkpoint has it."""
    saved = Checkpoints(settings.checkpoint_dir).newest()
    if saved is not None:
        check_owner(saved[0], settings.who.job_uid, resolved.name)
    device = numerics.choose_device(settings.device, resolved.gpus)
    numerics.prepare(device, threads.num_threads())
    notes = _take_up(saved, resolved, device)
    samples = build.load_data(spec, resolved, settings.data_dir).to(device)
    student = build.build_student(resolved, samples, device, notes.numerics.precision)
    hp = build.hyperparameters(spec, resolved)
    if saved is not None:
        restore(student, *saved)
        notes.seconds = waited.taken_up(settings.checkpoint_dir, notes.seconds)
        hp = replace(hp, learning_rate=saved[0].learning_rate)
    interval_seconds = spec.checkpoints.interval_seconds
    task = Task(settings.who.job_uid, samples, hp, build.exchange_rules(spec), interval_seconds)
    return task, student, notes


def _take_up(saved: Saved | None, resolved: ResolvedStudent, device: torch.device) -> Notes:
    """Begin notes, or take up those of the attempt before and compute as it did."""
    if saved is None:
        precision = numerics.choose_precision(resolved.training.precision, device)
        return Notes(numerics.probe(device, precision))
    notes = Notes.of(*saved)
    differing = numerics.impose(notes.numerics, device)
    if differing:
        log.warning("this machine computes differently: the run goes on, but not exactly", differing=differing)
    notes.inexact_reasons = tuple(dict.fromkeys((*notes.inexact_reasons, *differing)))
    return notes


def _surround(
    stack: ExitStack, settings: Settings, task: Task, student: Student, notes: Notes, progress: Progress
) -> tuple[Surroundings, AggregatorClient]:
    """Open what the run talks to: metrics, aggregator, signals; the stack closes it again."""
    registry = CollectorRegistry()
    metrics = StudentMetrics(registry)
    server, _ = start_http_server(settings.http_port, settings.bind, registry)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    client = stack.enter_context(
        AggregatorClient(settings.aggregator, tls_dir=settings.tls_dir, on_progress=progress.tick)
    )
    directory = settings.checkpoint_dir
    closed_seen = max(notes.closed_seen, newest_lesson(directory))
    joined = client.join(settings.who, _shapes(task.data), closed_seen=closed_seen)
    leaving = Leaving()
    leave_in_order_on_signals(leaving)
    heartbeats = Heartbeats(client, progress, leaving, joined.heartbeat_interval_seconds)
    heartbeats.start()
    stack.callback(heartbeats.join)
    stack.callback(leaving.request, ExitCode.DONE)
    log.info("joined", open=str(joined.open), resumed_at_step=student.cursor.steps)
    journal = Journal(directory / METRICS_FILE, notes.journal_bytes)
    stack.callback(journal.close)
    around = Surroundings(
        teacher=RemoteTeacher(client, directory, student.sums.device, _followed(progress, leaving, directory)),
        progress=progress,
        leaving=leaving,
        metrics=metrics,
        checkpoints=Checkpoints(directory),
        journal=journal,
    )
    return around, client


def _followed(progress: Progress, leaving: Leaving, directory: Path) -> Callable[[StudentPhase], None]:
    """Note what the exchange is at; again and again while it waits."""

    def enter(phase: StudentPhase) -> None:
        progress.enter(phase)
        if phase is StudentPhase.WAITING:
            waited.keep(directory, progress.fold())
            leaving.nudge()  # all rows are durable: the next heartbeat may be told to park

    return enter


def _shapes(samples: Data) -> dict[Split, SplitShape]:
    prints = {Split.TRAIN: samples.train_fingerprint, Split.EVALUATION: samples.evaluation_fingerprint}
    return {split: SplitShape(of.num_rows, of.num_classes, of.digest) for split, of in prints.items()}
