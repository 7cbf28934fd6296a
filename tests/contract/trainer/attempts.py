"""A trainer's attempts as processes whose JSON log is read line by line, and the aggregator of their job."""

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from distilljob_core.exit_codes import ExitCode
from distilljob_core.spec.base import merge
from forks import Forked, trainers

BIN = Path(sys.executable).parent
TRAINER = "distilljob_trainer.main"
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

Line = dict[str, object]
Child = subprocess.Popen[str] | Forked


def said(event: str, **fields: object) -> Callable[[Line], bool]:
    """Recognize a line of the log."""
    return lambda line: line["event"] == event and all(line.get(key) == value for key, value in fields.items())


class Process:
    """A process whose JSON log is read line by line."""

    def __init__(self, child: Child, errors: Path | None = None) -> None:
        self.errors = errors
        self.lines: list[Line] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._child = child
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._child.stdout:
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
        return self._child.wait(LIMIT_SECONDS)

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, number: int) -> None:
        self._child.send_signal(number)

    def close_input(self) -> None:
        self._child.stdin.close()

    def close(self) -> None:
        """Nobody stays behind."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            pipe.close()


class Job:
    """One job's aggregator and the attempts of its students.

    Args:
        folder: of all that it leaves.
        changes: laid over the small job.
        stack: ends its processes.
        forked: attempts start without the seconds that importing torch costs; else as users start them.
    """

    def __init__(self, folder: Path, changes: dict[str, object], stack: ExitStack, *, forked: bool = True) -> None:
        self.folder = folder
        self.folder.mkdir()
        self._forked = forked
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
        state = [f"--state={folder}/state", f"--results={folder}/results", f"--control={folder}/control.json"]
        command = [str(BIN / "distilljob-aggregator"), *state, "--grpc-port=0", *self._LISTEN]
        self.aggregator = self._opened(self._program(command, self._variables(), subprocess.STDOUT))

    _LISTEN = ("--bind=127.0.0.1", "--http-port=0")

    @property
    def names(self) -> list[str]:
        return [str(student["name"]) for student in self.spec["students"]]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, student: str, *options: str) -> Process:
        """Start the next attempt."""
        folders, own = self.describe(student)
        arguments, environment = [*folders, *options, *self._LISTEN], self._variables() | own
        errors = self.folder / f"{student}-{self.attempts[student]}.stderr"
        with errors.open("wb") as stderr:
            if self._forked:
                child: Child = trainers().start(TRAINER, arguments, environment, stderr=stderr.fileno())
            else:
                child = self._program([str(BIN / "distilljob-trainer"), *arguments], environment, stderr)
        return self._opened(child, errors)

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

    def _program(self, command: list[str], environment: dict[str, str], stderr: int | BinaryIO) -> Child:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )

    def _opened(self, child: Child, errors: Path | None = None) -> Process:
        process = Process(child, errors)
        self._stack.callback(process.close)
        return process

    def _variables(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("DISTILLJOB_")}
        return inherited | self.environment | self._common()

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
