"""A real aggregator process on loopback, and real clients."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from distilljob_core.exchange import CloseRecord, Identity, NeedRows, NotYet, Offer, RoundKey, SplitShape
from distilljob_core.results import StudentSummary
from distilljob_core.round_table import RoundTable
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split
from distilljob_core.softlabels.grid import renormalize
from forks import Forked, servants

AGGREGATOR = "distilljob_aggregator.main"
UID = "11111111-2222-3333-4444-555555555555"


class Aggregator:
    """One aggregator process and its folders; may be killed and started again."""

    def __init__(self, folder: Path, spec: dict, env: dict[str, str]) -> None:
        self.folder = folder
        self.state, self.results, self.control = folder / "state", folder / "results", folder / "control.json"
        self.log = folder / "log"
        job = {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "test", "uid": UID},
            "spec": spec,
        }
        (folder / "job.json").write_text(json.dumps(job))
        self.env = {**os.environ, **env, "DISTILLJOB_SPEC_FILE": str(folder / "job.json"), "DISTILLJOB_NAME": "test"}
        self.process: Forked | None = None

    @property
    def address(self) -> str:
        return f"file:{self.state}/grpc.address"

    def start(self, *more: str) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.process.close()
        for name in ("grpc.address", "http.address"):
            (self.state / name).unlink(missing_ok=True)
        arguments = [f"--state={self.state}", f"--results={self.results}", f"--control={self.control}"]
        arguments += ["--bind=127.0.0.1", "--grpc-port=0", "--http-port=0", *more]
        with self.log.open("ab") as log:
            self.process = servants().start(AGGREGATOR, arguments, self.env, stdout=log.fileno(), stderr=log.fileno())
        self.until(lambda: (self.state / "http.address").exists())

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.close()
        return code

    def http(self, path: str) -> str:
        address = (self.state / "http.address").read_text().strip()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:
            return reply.read().decode()

    def is_ready(self) -> bool:
        try:
            return self.http("/readyz") == "ready\n"
        except HTTPError:
            return False

    def table(self) -> RoundTable:
        return RoundTable.model_validate_json(self.http("/v1/status"))

    def metric(self, name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(self.http("/metrics")):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None

    def rejected(self, reason: str) -> float:
        return self.metric("distilljob_rejected_total", reason=reason) or 0.0

    def wish(self, **wishes) -> None:
        temporary = self.control.with_suffix(".tmp")
        temporary.write_text(json.dumps(wishes))
        temporary.replace(self.control)

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Student:
    """One attempt of one student, with soft labels made from its name."""

    def __init__(
        self,
        aggregator: Aggregator,
        name: str,
        shapes: dict,
        make_summary: Callable[..., StudentSummary],
        attempt: int = 1,
        **options,
    ) -> None:
        self.name = name
        self.who = Identity(UID, name, attempt, f"pod-{name}-{attempt}")
        self.shapes = shapes
        self._make_summary = make_summary
        self.client = AggregatorClient(aggregator.address, **options)

    def join(self, **options):
        return self.client.join(self.who, self.shapes, **options)

    def labels(self, key: RoundKey) -> np.ndarray:
        shape = self.shapes[key.split]
        seed = [key.cycle, key.split, *self.name.encode()]
        z_NK = np.random.default_rng(seed).normal(size=(shape.num_rows, shape.num_classes)).astype(np.float32)
        p_NK = np.exp(3 * z_NK)
        return p_NK / p_NK.sum(axis=1, keepdims=True)

    def blocks(self, key: RoundKey, size: int = 1000) -> Callable[[int], Iterator[np.ndarray]]:
        def source(first_row: int) -> Iterator[np.ndarray]:
            p_NK = self.labels(key)
            return (p_NK[row : row + size] for row in range(first_row, len(p_NK), size))

        return source

    def offer(self, key: RoundKey, weight: int = 90, digest: str = "") -> Offer:
        return Offer(key, weight, weight, 100, "Float16", digest or f"{self.name}-{key.cycle}-{key.split}", 0.5)

    def upload(self, key: RoundKey, weight: int = 90) -> CloseRecord | None:
        return self.client.upload(self.offer(key, weight), self.blocks(key))

    def wait(self, key: RoundKey) -> CloseRecord:
        while isinstance(answer := self.client.wait(key), NotYet):
            pass
        assert not isinstance(answer, NeedRows)
        return answer

    def teacher(self, key: RoundKey) -> np.ndarray:
        return np.concatenate([rows for _, rows in self.client.teacher(key)])

    def summary(self) -> StudentSummary:
        return self._make_summary(self.name, attempt=self.who.attempt)


def reference_teacher(record: CloseRecord, students: dict[str, Student]) -> np.ndarray:
    """What every student must get: exact integer sums of the contributors' codes, rounded once, renormalized."""
    float16 = codec(record.codec)
    num_classes = next(iter(students.values())).shapes[record.round.split].num_classes
    total_NK: np.ndarray | int = 0
    for part, weight in zip(record.contributions, record.weights_used(), strict=True):
        codes = float16.encode(students[part.student].labels(record.round))
        total_NK = total_NK + weight * float16.decode(codes.tobytes(), num_classes).astype(np.int64)
    codes = float16.encode_grid(total_NK / np.float64(record.weight_sum))
    return renormalize(float16.decode(codes.tobytes(), num_classes))


@pytest.fixture
def reference() -> Callable[..., np.ndarray]:
    """Compute a round's teacher from its record and the students, by name."""
    return reference_teacher


@pytest.fixture
def shapes() -> dict[Split, SplitShape]:
    return {Split.TRAIN: SplitShape(5000, 100, "train"), Split.EVALUATION: SplitShape(700, 100, "evaluation")}


@pytest.fixture
def spec() -> Callable[..., dict]:
    def make(*students: str, cycles: int = 1, method: dict | None = None, **more) -> dict:
        networks = [{"name": name, "model": {"name": "mlp"}} for name in students]
        return {
            "dataset": {"name": "digits"},
            "method": {"cycles": cycles, "independentEpochs": 1, "distillEpochs": 1, **(method or {})},
            "students": networks,
            **more,
        }

    return make


@pytest.fixture
def start_aggregator(tmp_path: Path) -> Iterator[Callable[..., Aggregator]]:
    started: list[Aggregator] = []

    def start(spec: dict, **env: str) -> Aggregator:
        folder = tmp_path / f"aggregator-{len(started)}"
        folder.mkdir()
        aggregator = Aggregator(folder, spec, env)
        started.append(aggregator)
        aggregator.start()
        return aggregator

    yield start
    for aggregator in started:
        if aggregator.process is not None:
            aggregator.stop()


@pytest.fixture
def make_student(shapes, summary) -> Iterator[Callable[..., Student]]:
    made: list[Student] = []

    def make(aggregator: Aggregator, name: str, attempt: int = 1, **options) -> Student:
        made.append(Student(aggregator, name, options.pop("shapes", shapes), summary, attempt, **options))
        return made[-1]

    yield make
    for student in made:
        student.client.close()
