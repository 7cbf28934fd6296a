"""The real trainer as processes, against the real aggregator: the whole method, kills, parking, and ways to fail."""

import faulthandler
import hashlib
import json
import os
import queue
import re
import resource
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import structlog
import torch
from PIL import Image

from distilljob_aggregator.accumulator import Accumulator
from distilljob_core.errors import Retryable
from distilljob_core.exit_codes import ExitCode
from distilljob_core.measurements import read_measurements
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.codecs import codec
from distilljob_core.spec.base import merge
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_core.termination import read_termination_message
from distilljob_trainer import build, sealed
from distilljob_trainer.checkpoint import Checkpoints
from distilljob_trainer.cohort import train_together
from distilljob_trainer.export import load
from distilljob_trainer.main import main
from distilljob_trainer.teacher import Classroom

BIN = Path(sys.executable).parent
LIMIT_SECONDS = 120

SMALL = {
    "dataset": {"name": "digits", "options": {"train_samples": 200}},
    "method": {"cycles": 2, "independentEpochs": 2, "distillEpochs": 3},
    "training": {"batchSize": 32, "optimizer": {"learningRate": 0.05}},
    "checkpoints": {"intervalSeconds": 1},
    "students": [
        {"name": "mlp", "gpus": 0, "model": {"name": "mlp_small"}},
        {"name": "bn", "gpus": 0, "model": {"name": "cnn_bn_small"}},
    ],
}
ALONE = SMALL["students"][1:]
TRIO = [*SMALL["students"], {"name": "cnn", "gpus": 0, "model": {"name": "cnn_small"}}]
TORN = """
def make(num_classes):
    raise ValueError("no layer conv9; there are:\\n    conv1\\n")
"""

Line = dict[str, object]


class Process:
    """A process whose JSON log is read line by line."""

    def __init__(self, command: list[str], environment: dict[str, str], errors: Path | None) -> None:
        self.errors = errors
        self.lines: list[Line] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        with ExitStack() as stack:
            stderr = subprocess.STDOUT if errors is None else stack.enter_context(errors.open("wb"))
            self._popen = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._popen.stdout:
            self._queue.put(line)
        self._queue.put(None)

    def until(self, wanted: Callable[[Line], bool]) -> Line:
        """Wait for a log line."""
        while (text := self._queue.get(timeout=LIMIT_SECONDS)) is not None:
            self.lines.append(json.loads(text))
            if wanted(self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"never said: {self.lines[-3:]}, {self.errors and self.errors.read_text()}")

    def exit_code(self) -> int:
        """Wait for the end, reading to the last line."""
        while (text := self._queue.get(timeout=LIMIT_SECONDS)) is not None:
            self.lines.append(json.loads(text))
        return self._popen.wait(LIMIT_SECONDS)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def close_input(self) -> None:
        self._popen.stdin.close()

    def close(self) -> None:
        """Nobody stays behind."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            pipe.close()


class Job:
    """One job's aggregator and the attempts of its students."""

    def __init__(self, folder: Path, changes: dict[str, object], stack: ExitStack) -> None:
        self.folder = folder
        self.folder.mkdir()
        self._stack = stack
        self.spec = merge(SMALL, changes)
        self.tree = {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "small", "uid": f"uid-{folder.name}"},
            "spec": self.spec,
        }
        (folder / "job.json").write_text(json.dumps(self.tree))
        self.attempts = dict.fromkeys(self.names, 0)
        self.environment = {"OMP_NUM_THREADS": "1"}
        self.aggregator = self._start(
            None,
            "distilljob-aggregator",
            f"--state={folder}/state",
            f"--results={folder}/results",
            f"--control={folder}/control.json",
            "--grpc-port=0",
        )

    @property
    def names(self) -> list[str]:
        return [str(student["name"]) for student in self.spec["students"]]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, student: str, *options: str) -> Process:
        """Start the next attempt."""
        folders, environment = self.describe(student)
        errors = self.folder / f"{student}-{self.attempts[student]}.stderr"
        return self._start(errors, "distilljob-trainer", *folders, *options, **environment)

    def describe(self, student: str) -> tuple[list[str], dict[str, str]]:
        """Give arguments and environment of the next attempt."""
        self.attempts[student] += 1
        attempt = str(self.attempts[student])
        own = {
            "DISTILLJOB_STUDENT": student,
            "DISTILLJOB_ATTEMPT": attempt,
            "DISTILLJOB_POD_UID": f"pod-{student}-{attempt}",
            "DISTILLJOB_AGGREGATOR": f"file:{self.folder}/state/grpc.address",
        }
        return [f"--checkpoints={self.folder}/{student}", f"--data={self.folder}/data"], self._common() | own

    def _start(self, errors: Path | None, program: str, *arguments: str, **own: str) -> Process:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DISTILLJOB_")}
        environment |= self.environment | self._common() | own
        command = [str(BIN / program), *arguments, "--bind=127.0.0.1", "--http-port=0"]
        process = Process(command, environment, errors)
        self._stack.callback(process.close)
        return process

    def _common(self) -> dict[str, str]:
        return {
            "DISTILLJOB_SPEC_FILE": f"{self.folder}/job.json",
            "DISTILLJOB_NAME": "small",
            "DISTILLJOB_UID": self.tree["metadata"]["uid"],
        }

    def run(self) -> None:
        """Run all students to their end, at once."""
        running = [self.start(name) for name in self.names]
        assert [process.exit_code() for process in running] == [ExitCode.DONE] * len(running)
        self.wait_until_complete()

    def wait_until_complete(self) -> None:
        """Wait for result.json."""
        self.aggregator.until(lambda line: line["event"] == "complete")

    def weights(self) -> dict[str, str]:
        """Sha256 of every student's final weights."""
        files = {name: self.results / f"{name}.safetensors" for name in self.names}
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}

    def result(self) -> dict:
        return json.loads((self.results / "result.json").read_text())


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    with ExitStack() as stack:
        yield lambda name="job", **changes: Job(tmp_path / name, changes, stack)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Two students, all at once, nobody harmed."""
    with ExitStack() as stack:
        whole = Job(tmp_path_factory.mktemp("jobs") / "whole", {}, stack)
        whole.run()
        yield whole


def test_three_architectures_reach_95_percent_on_digits(job):
    digits = job(
        students=TRIO,
        dataset={"options": {"train_samples": 1000}},
        method={"independentEpochs": 6, "distillEpochs": 10},
    )
    digits.run()
    result = digits.result()
    assert result["exact"]
    assert all(student["accuracy"]["last"] >= 0.95 for student in result["students"]), result["students"]
    assert result["ensemble"]["accuracy"] >= 0.95
    assert len(result["teacherGain"]) == 2
    assert all(
        cycle["teacherCrossEntropy"] <= cycle["meanCrossEntropy"] + 1e-3 for cycle in result["students"][0]["cycles"]
    )


def test_the_exchange_gives_the_weights_of_one_process_bit_for_bit(undisturbed):
    spec = check_job(undisturbed.tree).spec
    students = resolve_students(spec)
    data = build.load_data(spec, students[0], Path())
    torch.set_num_threads(1)
    members = [
        (build.build_student(one, data, torch.device("cpu"), "Float32"), build.hyperparameters(spec, one))
        for one in students
    ]
    room = Classroom(tuple(one.name for one in students), spec.method.cycles, codec("Float16"), Accumulator)
    list(train_together(members, data, build.exchange_rules(spec), room))
    for student, _ in members:
        theirs = safetensors.torch.load_file(undisturbed.results / f"{student.name}.safetensors")
        ours = student.model.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_exports_load_and_the_ensemble_is_as_good_as_the_result_says(undisturbed):
    spec = check_job(undisturbed.tree).spec
    test = build.load_data(spec, resolve_students(spec)[0], Path()).test
    x, y_N = test.batch(torch.arange(test.num_samples))
    result = undisturbed.result()
    with torch.no_grad():
        for student in result["students"]:
            for kind, suffix in (("last", ""), ("selected", "-selected")):
                model = load(undisturbed.results / f"{student['name']}{suffix}.safetensors")
                assert not model.training
                assert (model(x).argmax(dim=1) == y_N).double().mean().item() == student["accuracy"][kind]
        p_NK = load(undisturbed.results / "ensemble.json")(x)
    assert (p_NK.argmax(dim=1) == y_N).double().mean().item() == pytest.approx(result["ensemble"]["accuracy"])
    assert p_NK.sum(dim=1).sub(1).abs().max() < 1e-5


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Job, str], int]]:
    """Run one attempt without a process of its own, as if Kubernetes asked for its last word."""
    word = tmp_path / "termination-log"
    word.touch()
    monkeypatch.setattr("distilljob_trainer.main.TERMINATION_LOG", word)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(job: Job, student: str) -> int:
        arguments, environment = job.describe(student)
        return main([*arguments, "--bind=127.0.0.1", "--http-port=0"], environment)

    yield run
    faulthandler.unregister(signal.SIGTERM)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    structlog.reset_defaults()


def test_one_student_without_distillation_is_independent_bit_for_bit(job, in_this_process, tmp_path):
    alone = {"students": SMALL["students"][1:], "training": {"batchSize": 8}}
    jobs = [
        job("md", **alone, method={"distillEpochs": 0}),
        job("independent", **alone, method={"name": "Independent", "distillEpochs": 0}),
    ]
    for one in jobs:
        assert in_this_process(one, "bn") == ExitCode.DONE
        one.wait_until_complete()
    word = read_termination_message((tmp_path / "termination-log").read_text(), "bn")
    assert word.exit_code == ExitCode.DONE
    assert word.summary is not None
    md, independent = (one.result() for one in jobs)
    assert jobs[0].weights() == jobs[1].weights()
    assert (md["cycles"], independent["cycles"]) == (2, 0)
    assert md["students"][0]["accuracy"]["independent"] == md["students"][0]["accuracy"]["last"]
    assert independent["students"][0]["accuracy"]["independent"] is None
    assert independent["ensemble"]["accuracy"] == independent["students"][0]["accuracy"]["last"]
    steps = 2 * 2 * -(-180 // 8)
    assert md["students"][0]["steps"] == independent["students"][0]["steps"] == steps > 50


def test_a_student_that_leaves_as_it_says_goodbye_tells_its_end_once(job, in_this_process, monkeypatch):
    alone = job("alone", students=ALONE, method={"cycles": 1, "independentEpochs": 1, "distillEpochs": 1})

    def told_to_leave(_client, _summary):
        os.kill(os.getpid(), signal.SIGTERM)
        raise Retryable("the aggregator is away")

    with monkeypatch.context() as patch:
        patch.setattr(AggregatorClient, "finish", told_to_leave)
        assert in_this_process(alone, "bn") == ExitCode.TERMINATED
    assert in_this_process(alone, "bn") == ExitCode.DONE
    alone.wait_until_complete()
    read = read_measurements((alone.results / "bn-metrics.jsonl").read_bytes())
    kinds = Counter(line.kind for line in read.known)
    assert kinds == {
        "epoch": 2, "cycle": 1, "exchange": 2, "logits": 1, "soft_label": 1, "ensemble": 1, "reliability": 2
    }  # fmt: skip


def said(event: str, **fields: object) -> Callable[[Line], bool]:
    return lambda line: line["event"] == event and all(line.get(key) == value for key, value in fields.items())


KILLS = {
    "joined": said("joined"),
    "independent": said("epoch", epoch=1),
    "boundary": said("checkpoint", stage="Exchange"),
    "lesson": said("cycle", cycle=1),
    "distilling": said("epoch", epoch=4),
    "second-cycle": said("epoch", epoch=6),
    "trained": said("checkpoint", stage="Done"),
    "predicted": said("exchange", split="evaluation"),
}


def test_kills_in_every_phase_leave_no_trace(job, undisturbed):
    """Each place is hit once, one attempt after the other, by kill -9."""
    killed = job("killed")
    other = killed.start("mlp")
    resumed_steps = []
    for place, seen in KILLS.items():
        process = killed.start("bn")
        process.until(seen)
        process.send(signal.SIGKILL)
        assert process.exit_code() == -signal.SIGKILL, place
        resumed_steps.append(next(line for line in process.lines if line["event"] == "joined")["resumed_at_step"])
    assert resumed_steps == sorted(resumed_steps)
    assert resumed_steps[-1] > resumed_steps[3] > 0
    last = killed.start("bn")
    assert last.exit_code() == ExitCode.DONE
    assert other.exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == undisturbed.weights()
    assert killed.attempts["bn"] == len(KILLS) + 1


def killed_in_turn(job: Job, student: str, places: list[tuple[Callable[[Line], bool], int]]) -> Process:
    """Kill one attempt after the other where it says so; gives the next one, which has resumed behind step 0."""
    for seen, number in places:
        process = job.start(student)
        process.until(seen)
        process.send(number)
        assert process.exit_code() == (ExitCode.TERMINATED if number == signal.SIGTERM else -number)
    process = job.start(student)
    assert process.until(said("joined"))["resumed_at_step"] > 0
    return process


def test_kills_leave_no_trace_with_adamw_cosine_a_moving_average_and_two_threads(job):
    training = {
        "optimizer": {"kind": "AdamW", "learningRate": 0.01},
        "schedule": {"kind": "Cosine", "warmupEpochs": 1},
        "emaDecay": 0.9,
    }
    whole, killed = (job(name, training=training, students=ALONE) for name in ("whole", "killed"))
    for one in (whole, killed):
        one.environment["OMP_NUM_THREADS"] = "2"
    whole.run()
    hit = ("independent", "lesson", "distilling", "second-cycle", "trained")
    assert killed_in_turn(killed, "bn", [(KILLS[name], signal.SIGKILL) for name in hit]).exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == whole.weights()
    assert [one.result()["exact"] for one in (whole, killed)] == [True, True]


STREAMED = {
    "dataset": {"name": "image_folder", "options": {"train_samples": 200, "size": 8, "stream": True}},
    "training": {"dataLoaderWorkers": 2},
    "students": [{"name": "net", "gpus": 0, "model": {"name": "vgg_mini"}}],
}


@pytest.fixture
def streaming(job):
    """Make a job whose samples are read by two worker processes: noise with a hint of the class."""

    def make(name: str) -> Job:
        made, rng = job(name, **STREAMED), np.random.default_rng(0)
        for split, count in (("train", 100), ("test", 20)):
            for label, kind in enumerate(("ant", "bee")):
                folder = made.folder / "data" / split / kind
                folder.mkdir(parents=True)
                for index in range(count):
                    pixels = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8)
                    pixels[..., label] += 50
                    Image.fromarray(pixels).save(folder / f"{index:03}.png")
        return made

    return make


def descendants(pid: int) -> list[int]:
    """All processes below this one: the fork server, its workers, multiprocessing's tracker."""
    children = [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]
    return [one for child in children for one in (child, *descendants(child))]


def test_workers_end_with_their_student_however_it_dies_and_its_resume_leaves_no_trace(streaming):
    whole, killed = streaming("whole"), streaming("killed")
    whole.run()
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = killed.start("net")
        process.until(said("epoch"))
        below = [os.pidfd_open(pid) for pid in descendants(process.pid)]
        assert len(below) >= 3, "a fork server and two workers"
        process.send(number)
        assert process.exit_code() == (ExitCode.TERMINATED if number == signal.SIGTERM else -number)
        for descriptor in below:
            assert select.select([descriptor], [], [], LIMIT_SECONDS)[0], "it lives on"
            os.close(descriptor)
    last = killed.start("net")
    assert last.until(said("joined"))["resumed_at_step"] > 0
    assert last.exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == whole.weights()


def test_an_image_damaged_while_a_student_trains_ends_it_with_the_files_name(streaming):
    broken = streaming("broken")
    process = broken.start("net")
    process.until(said("epoch"))
    image = broken.folder / "data/train/bee/050.png"
    image.write_bytes(image.read_bytes()[:60])
    assert process.exit_code() == ExitCode.DATA
    assert f"DataError: {image}: not a readable image" in process.errors.read_text()


def test_a_full_disk_costs_an_attempt_and_nothing_else(job, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # its file would find the disk full too
    whole, full = (job(name, students=ALONE) for name in ("whole", "full"))
    whole.run()
    process = full.start("bn")
    process.until(said("checkpoint", stage="Exchange"))
    resource.prlimit(
        process.pid, resource.RLIMIT_FSIZE, (2_000, 2_000)
    )  # a checkpoint is larger, the last words are not
    assert process.exit_code() == ExitCode.CRASH
    (line,) = process.errors.read_text().splitlines()
    assert re.fullmatch(rf"StorageFull: {full.folder}/bn/\S+: File too large; enlarge the volume .*", line)
    assert not list((full.folder / "bn").glob(".*"))
    state, _ = Checkpoints(full.folder / "bn").newest()
    assert state.cursor.steps > 0
    last = full.start("bn")
    assert last.until(said("joined"))["resumed_at_step"] == state.cursor.steps
    assert last.exit_code() == ExitCode.DONE
    full.wait_until_complete()
    assert full.weights() == whole.weights()


def test_a_run_that_another_machine_took_up_is_not_called_exact(job):
    moved = job("moved", students=ALONE)
    process = moved.start("bn")
    process.until(said("epoch", epoch=2))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED
    newest = max((moved.folder / "bn").glob("checkpoint-*.json"))
    body, tensors = sealed.read(newest)
    body["numerics"] |= {"torch": "2.0.0"}
    sealed.write(newest, body, tensors)
    last = moved.start("bn")
    reason = f"torch was 2.0.0, is {torch.__version__}"
    assert last.until(said("this machine computes differently: the run goes on, but not exactly"))["differing"] == [
        reason
    ]
    assert last.exit_code() == ExitCode.DONE
    moved.wait_until_complete()
    result = moved.result()
    assert not result["exact"]
    assert result["students"][0]["inexactReasons"] == [reason]


def test_sigterm_saves_and_leaves_with_143_and_all_stacks(job, undisturbed):
    ended = job("ended")
    other = ended.start("mlp")
    process = ended.start("bn")
    process.until(said("epoch", epoch=2))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED
    assert "Current thread" in process.errors.read_text()
    last = ended.start("bn")
    assert last.until(said("joined"))["resumed_at_step"] > 0
    assert [last.exit_code(), other.exit_code()] == [ExitCode.DONE, ExitCode.DONE]
    ended.wait_until_complete()
    assert ended.weights() == undisturbed.weights()


def test_a_waiting_student_leaves_at_once_on_sigterm(job):
    alone = job("alone")
    process = alone.start("bn")
    process.until(said("checkpoint", stage="Exchange"))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED


def test_students_that_take_turns_get_the_same_weights(job, undisturbed):
    turns = job("turns", placement={"maximumConcurrentStudents": 1})
    waiting, codes = list(turns.names), []
    while waiting:
        name = waiting.pop(0)
        code = turns.start(name).exit_code()
        codes.append(code)
        if code == ExitCode.PARKED:
            waiting.append(name)
        else:
            assert code == ExitCode.DONE
    turns.wait_until_complete()
    assert codes.count(ExitCode.PARKED) >= 3
    assert turns.weights() == undisturbed.weights()


def test_an_old_attempt_is_fenced_and_never_writes_again(job):
    fenced = job("fenced")
    old = fenced.start("bn")
    old.until(said("checkpoint", stage="Exchange"))
    new = fenced.start("bn", f"--checkpoints={fenced.folder}/elsewhere")
    new.until(said("joined"))
    assert old.exit_code() == ExitCode.FENCED
    assert "Fenced: " in old.errors.read_text()


def test_a_student_leaves_with_its_parent(job):
    orphan = job("orphan")
    process = orphan.start("bn", "--exit-with-parent")
    process.until(said("checkpoint", stage="Exchange"))
    process.close_input()
    assert process.exit_code() == ExitCode.TERMINATED


@pytest.mark.parametrize(
    ("changes", "options", "code", "text"),
    [
        pytest.param(
            {"students": [{"name": "x", "gpus": 0, "model": {"name": "no_such_net"}}]},
            (),
            ExitCode.SPEC,
            "no built-in model 'no_such_net'",
            id="unknown-model",
        ),
        pytest.param(
            {"dataset": {"name": "cifar10", "options": {}, "download": "Never"}},
            (),
            ExitCode.DATA,
            "data",
            id="no-data",
        ),
        pytest.param(
            {"students": [{"name": "x", "gpus": 1, "model": {"name": "mlp_small"}}]},
            ("--device=cuda",),
            ExitCode.DEVICE,
            "no CUDA device",
            id="no-device",
        ),
        pytest.param(
            {
                "training": {"optimizer": {"learningRate": 999.0}},
                "students": [{"name": "x", "gpus": 0, "model": {"name": "mlp_small"}}],
            },
            (),
            ExitCode.DIVERGED,
            "student x: loss is ",
            id="diverged",
        ),
        pytest.param(
            {"students": [{"name": "x", "gpus": 0, "model": {"name": "torn:make"}}]},
            (),
            ExitCode.SPEC,
            "model 'torn:make' with options {'num_classes': 10} raised ValueError: no layer conv9; there are: conv1",
            id="error-of-several-lines",
        ),
    ],
)
def test_what_no_restart_can_cure_has_its_own_exit_code_and_one_readable_line(
    job, tmp_path, monkeypatch, changes, options, code, text
):
    (tmp_path / "torn.py").write_text(TORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    broken = job("broken", **changes)
    process = broken.start(broken.names[0], *options)
    assert process.exit_code() == code
    (line,) = process.errors.read_text().splitlines()
    assert text in line
    assert process.lines[-1]["event"] == "failed"
