"""Kills at every place of a run, in this process: the next attempt must end with the same bits."""

import hashlib
import json
import random
import sys
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import structlog.testing
import torch
from prometheus_client import CollectorRegistry

from distilljob_aggregator.accumulator import Accumulator
from distilljob_core.errors import DeviceError, Diverged, Mismatch
from distilljob_core.exchange import Identity
from distilljob_core.exit_codes import ExitCode
from distilljob_core.softlabels.codecs import codec
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import planned_epochs, resolve_students
from distilljob_trainer import numerics, sealed, session
from distilljob_trainer.checkpoint import Checkpoints
from distilljob_trainer.data import Streamed
from distilljob_trainer.data.digits import digits
from distilljob_trainer.evaluate import BLOCK_ROWS
from distilljob_trainer.journal import Journal
from distilljob_trainer.leaving import Leaving, Left
from distilljob_trainer.metrics import StudentMetrics
from distilljob_trainer.numerics import Numerics
from distilljob_trainer.progress import Progress
from distilljob_trainer.run import Run
from distilljob_trainer.surroundings import Surroundings
from distilljob_trainer.teacher import Classroom, InProcessTeacher

NOISY = [{"name": "noisy", "gpus": 0, "model": {"name": "noisy"}}]
DROP = [{"name": "drop", "gpus": 0, "model": {"name": "drop_bn"}}]


class Killed(Exception):
    pass


class KilledOnceSaved(Checkpoints):
    """Stands for a kill -9 right behind the first checkpoint of an attempt."""

    def save(self, state, groups):
        super().save(state, groups)
        raise Killed


class Unsaved(Checkpoints):
    """Of an attempt that is killed before its first checkpoint is whole."""

    def save(self, state, groups):
        return 0


class KillingAfter(Leaving):
    """Stands for kill -9: nothing is saved when it strikes."""

    def __init__(self, checks: int, place) -> None:
        super().__init__()
        self.checks, self._place = checks, place

    def check(self) -> None:
        super().check()
        self.checks -= 1
        if self.checks < 0:
            raise Killed(self._place())


class Bench:
    """One student on one directory, attempt after attempt; the classroom outlives them, as the aggregator does."""

    def __init__(self, directory: Path, tree: dict) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.spec = check_job(tree).spec
        self.student = resolve_students(self.spec)[0]
        self.classroom = Classroom((self.student.name,), self.spec.method.cycles, codec("Float16"), Accumulator)
        self.journals = ExitStack()

    def settings(self, job_uid="uid-1") -> session.Settings:
        who = Identity(job_uid, self.student.name, 1, "pod-1")
        return session.Settings(Path(), who, "", None, Path(), self.directory, "127.0.0.1", 0, "cpu")

    def attempt(self, *, leaving=None, checkpoints=Checkpoints, interval_seconds=0.0) -> Run:
        task, student, notes = session.prepare(self.spec, self.student, self.settings())
        task = replace(task, checkpoint_interval_seconds=interval_seconds)
        journal = Journal(self.directory / "metrics.jsonl", notes.journal_bytes)
        self.journals.callback(journal.close)
        progress = Progress(planned_epochs(self.spec.method), notes.seconds, 0.0)
        around = Surroundings(
            teacher=InProcessTeacher(self.classroom, student.name),
            progress=progress,
            leaving=leaving or Leaving(),
            metrics=StudentMetrics(CollectorRegistry()),
            checkpoints=checkpoints(self.directory),
            journal=journal,
        )
        return Run(task, student, notes, around)

    def killed_after(self, checks: int, **options) -> tuple[str, int] | None:
        """Run until killed; gives phase and step of the kill, None when the run came to its end first."""
        places = []
        leaving = KillingAfter(checks, lambda: None)
        run = self.attempt(leaving=leaving, **options)
        try:
            run.train()
        except Killed:
            places.append((run.around.progress.phase.value, run.student.cursor.steps))
        return places[0] if places else None

    def journal(self) -> list[dict]:
        return [json.loads(line) for line in (self.directory / "metrics.jsonl").read_text().splitlines()]


def outcome(run: Run) -> tuple:
    """Everything that a resume must not change."""
    digest = hashlib.sha256()
    for weights in (
        run.student.model.state_dict(),
        run.student.answering.state_dict(),
        run.notes.selected_weights,
    ):
        for name, tensor in sorted(weights.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest(), run.notes.selection, run.notes.cycles, run.student.cursor


def without_seconds(lines: list[dict]) -> list[dict]:
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]


@pytest.fixture
def bench(tmp_path, tree):
    def make(name="bench", **changes):
        changes = {"method": {"burnInEpochs": 1}, "students": DROP, **changes}
        benches.append(Bench(tmp_path / name, tree(**changes)))
        return benches[-1]

    benches = []
    yield make
    for one in benches:
        one.journals.close()


@pytest.mark.parametrize("interval_seconds", [0.0, 1e9], ids=["every-step", "phase-edges-only"])
def test_a_kill_anywhere_leaves_no_trace(bench, interval_seconds):
    whole = bench("whole")
    expected = whole.attempt(interval_seconds=interval_seconds)
    expected.train()
    kills = Counter()
    for checks in range(0, 60, 1 if interval_seconds else 2):
        job = bench(f"kill-{checks}")
        kill = job.killed_after(checks, interval_seconds=interval_seconds)
        if kill is None:
            break
        kills[kill[0]] += 1
        run = job.attempt(interval_seconds=interval_seconds)
        assert run.student.cursor.steps == 0 or (job.directory / "metrics.jsonl").exists()
        run.train()
        assert outcome(run) == outcome(expected), (checks, kill)
        assert without_seconds(job.journal()) == without_seconds(whole.journal()), (checks, kill)
    assert kills.keys() == {"Independent", "Distilling", "Evaluating", "Labeling"}, kills


def test_many_kills_in_one_run_leave_no_trace(bench):
    expected = bench("whole").attempt()
    expected.train()
    job, rng = bench("killed"), random.Random(7)
    num_kills, resumed_steps = 0, []
    while job.killed_after(rng.randint(1, 7)) is not None:
        num_kills += 1
        resumed_steps.append(job.attempt().student.cursor.steps)
    assert num_kills >= 5
    assert max(resumed_steps) > 0
    final = job.attempt()
    final.train()
    assert outcome(final) == outcome(expected)


def test_a_network_may_draw_from_any_global_generator(bench):
    """In training and in evaluation mode alike: what it draws is neither in a checkpoint nor lost with a process."""
    whole = bench("whole", students=NOISY)
    expected = whole.attempt()
    expected.train()
    assert outcome(expected)[1].last.test > 0
    random.seed(1)
    np.random.seed(1)
    again = bench("again", students=NOISY).attempt()
    again.train()
    assert outcome(again) == outcome(expected)
    kills = set()
    for checks in range(0, 60, 3):
        job = bench(f"kill-{checks}", students=NOISY)
        if (kill := job.killed_after(checks)) is None:
            break
        kills.add(kill[0])
        run = job.attempt()
        run.train()
        assert outcome(run) == outcome(expected), (checks, kill)
        assert without_seconds(job.journal()) == without_seconds(whole.journal()), (checks, kill)
    assert "Labeling" in kills, kills


@pytest.mark.parametrize("decay", [None, 0.8], ids=["raw", "average"])
def test_buffers_that_a_state_dict_leaves_out_are_resumed(bench, decay):
    changes = {
        "students": [{"name": "net", "gpus": 0, "model": {"name": "centered"}}],
        "training": {"emaDecay": decay},
        "method": {"burnInEpochs": 0, "cycles": 1, "distillEpochs": 1},
    }
    expected = bench("whole", **changes).attempt()
    expected.train()
    job = bench("killed", **changes)
    test_blocks = -(-expected.task.data.test.num_samples // BLOCK_ROWS)
    assert job.killed_after(3 + 1 + test_blocks) == ("Labeling", 3)
    run = job.attempt()
    assert run.student.cursor.steps == 3
    run.train()
    assert torch.equal(run.student.model.mean, expected.student.model.mean)
    assert outcome(run) == outcome(expected)


class Drawing:
    """Augments digits by draws from all global generators."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        x, y = self.dataset[index]
        return x + 0.1 * (torch.rand(x.shape) + random.random() + np.random.rand()), y


def streamed_digits(split, root, **options):
    samples = digits(split, root, **options)
    return Streamed(samples, samples.labels_N, samples.classes, augmented=Drawing(samples))


OPTIMIZERS = ({"kind": "SGD"}, {"kind": "AdamW", "learningRate": 0.01})
SCHEDULES = ({"kind": "MultiStep", "milestones": [0.3, 0.6]}, {"kind": "Cosine", "warmupEpochs": 1})
NETWORKS = {(0, 0): "mlp_small", (0, 1): "drop", (1, 0): "cnn_bn_small", (1, 1): "drop_bn"}
"""By BatchNorm and dropout."""


@pytest.mark.parametrize("adamw", [0, 1], ids=["sgd", "adamw"])
@pytest.mark.parametrize("cosine", [0, 1], ids=["multistep", "cosine"])
@pytest.mark.parametrize("batchnorm", [0, 1], ids=["plain", "batchnorm"])
def test_every_kind_of_state_survives_a_kill_behind_every_step(bench, monkeypatch, adamw, cosine, batchnorm):
    """Orthogonal array L8: of these seven pairs of options, any two meet in each of their four combinations.

    Optimizer, schedule, BatchNorm, dropout, moving average, precision, dataset in memory or streamed. Attempts are
    killed by turns right behind their first checkpoint, and at some later place without one.
    """
    dropout, average, bfloat16, streams = (
        adamw ^ cosine,
        adamw ^ batchnorm,
        cosine ^ batchnorm,
        adamw ^ cosine ^ batchnorm,
    )
    # Where the CPU lacks bfloat16, torch computes it in software: slow, which is why it is refused, but as exact.
    monkeypatch.setattr(numerics, "_has_bfloat16", lambda _device: True)
    monkeypatch.setitem(sys.modules, "streams", SimpleNamespace(digits=streamed_digits))
    changes = {
        "dataset": {"name": "streams:digits" if streams else "digits"},
        "method": {"burnInEpochs": 0, "distillEpochs": 1},
        "training": {
            "optimizer": OPTIMIZERS[adamw],
            "schedule": SCHEDULES[cosine],
            "emaDecay": 0.8 if average else None,
            "precision": "BFloat16" if bfloat16 else "Float32",
            "dataLoaderWorkers": 0,
        },
        "students": [{"name": "net", "gpus": 0, "model": {"name": NETWORKS[batchnorm, dropout]}}],
    }
    expected = bench("whole", **changes).attempt()
    expected.train()
    assert (expected.student.average is not None, expected.notes.numerics.precision) == (
        bool(average),
        "BFloat16" if bfloat16 else "Float32",
    )
    job, kills, steps = bench("killed", **changes), Counter(), set()
    for checks in cycle(range(9)):
        run = job.attempt(checkpoints=KilledOnceSaved)
        steps.add(run.student.cursor.steps)
        with suppress(Killed):
            run.train()
            break
        if place := job.killed_after(checks, checkpoints=Unsaved):
            kills[place[0]] += 1
    assert steps == set(range(expected.student.cursor.steps + 1))
    assert kills.keys() == {"Independent", "Distilling", "Evaluating", "Labeling"}, kills
    assert outcome(run) == outcome(expected)


def test_a_wish_to_leave_is_met_between_two_steps_and_loses_nothing(bench):
    expected = bench("whole").attempt()
    expected.train()
    job = bench("left")
    run = job.attempt(interval_seconds=1e9)
    run.around.leaving.check = _wish_after(run.around.leaving, 5)
    with pytest.raises(Left) as left:
        run.train()
    assert left.value.code == ExitCode.TERMINATED
    run.save()
    steps = run.student.cursor.steps
    resumed = job.attempt()
    assert resumed.student.cursor.steps == steps > 0
    resumed.train()
    assert outcome(resumed) == outcome(expected)


def _wish_after(leaving, checks):
    check = leaving.check

    def counted():
        nonlocal checks
        checks -= 1
        if checks == 0:
            leaving.request(ExitCode.TERMINATED)
        check()

    return counted


@pytest.mark.parametrize("damage", ["flip", "cut", "no-json"])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(bench, damage, suffix):
    expected = bench("whole").attempt()
    expected.train()
    job = bench("damaged")
    assert job.killed_after(12) is not None
    newest = max(job.directory.glob("checkpoint-*.json"))
    target = newest.with_suffix(suffix)
    content = bytearray(target.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    target.write_bytes({"cut": content[: len(content) // 2], "flip": content, "no-json": b""}[damage])
    steps_saved = sealed_steps(min(job.directory.glob("checkpoint-*.json")))
    run = job.attempt()
    assert run.student.cursor.steps == steps_saved
    run.train()
    assert outcome(run) == outcome(expected)


def test_a_checkpoint_of_another_version_is_neither_used_nor_removed(bench):
    job = bench()
    job.attempt().save()
    (path,) = job.directory.glob("checkpoint-*.json")
    body, tensors = sealed.read(path)
    sealed.write(path, body | {"invented_later": 1}, tensors)
    with pytest.raises(Mismatch, match="another version"):
        job.attempt()
    assert path.exists()


def sealed_steps(path: Path) -> int:
    return sealed.read(path)[0]["cursor"]["steps"]


def test_two_checkpoints_are_kept(bench):
    job = bench()
    job.attempt().train()
    assert len(list(job.directory.glob("checkpoint-*"))) == 4


def test_a_full_disk_leaves_the_last_checkpoint_intact(bench, monkeypatch):
    job = bench()
    assert job.killed_after(9) is not None
    before = {path.name: path.read_bytes() for path in job.directory.glob("checkpoint-*")}
    run = job.attempt()

    def full(path, content):
        if path.suffix == ".json":
            raise StorageFull("no space left")
        write(path, content)

    from distilljob_core.errors import StorageFull

    write = sealed.write_atomically
    monkeypatch.setattr(sealed, "write_atomically", full)
    with pytest.raises(StorageFull):
        run.train()
    assert {path.name: path.read_bytes() for path in job.directory.glob("checkpoint-*")} == before


def test_another_jobs_checkpoint_is_refused(bench):
    job = bench()
    assert job.killed_after(5) is not None
    with pytest.raises(Mismatch, match="belongs to student drop of job uid-1, not to drop of uid-2"):
        session.prepare(job.spec, job.student, job.settings("uid-2"))


def changed_identity(job: Bench, **changes) -> Numerics:
    """Let the newest checkpoint come from an attempt that computed otherwise; gives the identity that it stores."""
    newest = max(job.directory.glob("checkpoint-*.json"))
    body, tensors = sealed.read(newest)
    body["numerics"] |= changes
    sealed.write(newest, body, tensors)
    return Numerics(**body["numerics"])


@pytest.mark.parametrize(
    "stored", [{"device": "NVIDIA H100"}, {"cpu_capability": "AVX2"}, {"torch": "2.0.0"}, {"cuda": "12.8"}], ids=str
)
def test_what_cannot_be_imposed_goes_on_and_is_never_called_exact_again(bench, stored):
    job = bench()
    assert job.killed_after(5) is not None
    kept = changed_identity(job, **stored)
    ((name, value),) = stored.items()
    with structlog.testing.capture_logs() as logs:
        resumed = job.attempt()
    (warning,) = (line for line in logs if line["log_level"] == "warning")
    (reason,) = warning["differing"]
    assert reason.startswith(f"{name} was {value}, is ")
    assert resumed.notes.inexact_reasons == (reason,)
    assert resumed.notes.numerics == kept
    assert resumed.student.cursor.steps > 0
    resumed.save()
    changed_identity(job, **{name: getattr(numerics.probe(torch.device("cpu"), "Float32"), name)})
    assert job.attempt().notes.inexact_reasons == (reason,)


def test_threads_and_precision_are_those_of_the_first_start(bench, monkeypatch):
    monkeypatch.setattr(numerics, "_has_bfloat16", lambda _device: True)
    job = bench()
    assert job.killed_after(5) is not None
    changed_identity(job, threads=2, precision="BFloat16")
    resumed = job.attempt()
    assert torch.get_num_threads() == 2
    with resumed.student.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16
    assert resumed.notes.inexact_reasons == ()


def test_a_device_that_lacks_the_precision_of_the_first_start_is_refused(bench, monkeypatch):
    monkeypatch.setattr(numerics, "_has_bfloat16", lambda _device: False)
    job = bench()
    assert job.killed_after(5) is not None
    changed_identity(job, precision="BFloat16")
    with pytest.raises(DeviceError, match=r"this device \(cpu\) has no BFloat16") as error:
        job.attempt()
    assert error.value.exit_code == ExitCode.DEVICE
    assert max(job.directory.glob("checkpoint-*.json")).exists()


def test_the_schedule_is_the_one_of_the_first_start(bench, tree):
    job = bench()
    assert job.killed_after(5) is not None
    job.spec = check_job(
        tree(method={"burnInEpochs": 1}, students=DROP, training={"optimizer": {"learningRate": 9.0}})
    ).spec
    job.student = resolve_students(job.spec)[0]
    assert job.attempt().task.hp.learning_rate.base == 0.05


def test_a_diverged_student_says_where_and_what_to_change(bench):
    job = bench(
        training={"optimizer": {"learningRate": 900.0}},
        students=[{"name": "mlp", "gpus": 0, "model": {"name": "mlp_small"}}],
    )
    run = job.attempt()
    with pytest.raises(Diverged) as error:
        run.train()
    step = run.student.cursor.steps
    assert str(error.value) == (
        f"student mlp: loss is NaN at step {step}; lower training.optimizer.learningRate (900) or set clipNorm"
    )
    saved = Checkpoints(job.directory).newest()
    assert saved is not None
    assert all(torch.isfinite(tensor).all() for tensor in saved[1]["model"].values())


def test_metrics_have_one_line_an_epoch_and_a_cycle(bench):
    job = bench()
    run = job.attempt()
    run.train()
    lines = job.journal()
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == list(range(1, 8))
    assert [line["cycle"] for line in lines if line["kind"] == "cycle"] == [1, 2]
    assert [line["split"] for line in lines if line["kind"] == "exchange"] == ["train", "train"]
    assert lines[-1]["divergence"] > 0


def test_the_loss_told_is_the_one_that_is_minimized(bench):
    job = bench(method={"ramp": {"kind": "Fixed", "alpha": 0.25, "beta": 3.0}})
    run = job.attempt()
    run.train()
    lines = [line for line in job.journal() if line["kind"] == "epoch"]
    for line in lines:
        alpha, beta = (0.25, 3.0) if line["stage"] == "Distill" else (1.0, 0.0)
        minimized = alpha * line["cross_entropy"] + beta * line["divergence"]
        assert line["loss"] == pytest.approx(minimized, rel=1e-6)
    assert run.around.progress.loss == lines[-1]["loss"]


def test_a_checkpoint_knows_which_closes_were_seen_and_where_t_in_ended(bench):
    job = bench()
    job.attempt().train()
    state, _ = Checkpoints(job.directory).newest()
    assert state.closed_seen == 2
    tests = [line["test_accuracy"] for line in job.journal() if line["kind"] == "epoch"]
    assert state.selection.independent == tests[4]
