"""The parts of a session that need no other process; the whole is in tests/contract/trainer."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
import torch
from prometheus_client import CollectorRegistry

from distilljob_core.errors import Fenced, SpecError
from distilljob_core.exchange import CloseRecord, Contribution, Directive, NeedRows, NotYet, Offer, RoundKey
from distilljob_core.exit_codes import ExitCode
from distilljob_core.measurements import ExchangeMeasured, read_measurements
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split
from distilljob_trainer import build, heartbeats, main, session
from distilljob_trainer.heartbeats import Heartbeats
from distilljob_trainer.journal import Journal
from distilljob_trainer.leaving import Leaving, Left, leave_in_order_on_signals
from distilljob_trainer.metrics import StudentMetrics
from distilljob_trainer.progress import Progress
from distilljob_trainer.remote import RemoteTeacher, lesson_path, newest_lesson

ENVIRONMENT = {
    "DISTILLJOB_SPEC_FILE": "job.json",
    "DISTILLJOB_UID": "uid",
    "DISTILLJOB_STUDENT": "bn",
    "DISTILLJOB_ATTEMPT": "3",
    "DISTILLJOB_POD_UID": "pod",
    "DISTILLJOB_AGGREGATOR": "host:8470",
}


def settings(environ, *argv):
    return main.read_settings(main.build_parser().parse_args(argv), environ)


def test_settings_come_from_arguments_and_environment():
    read = settings({**ENVIRONMENT, "DISTILLJOB_TLS_DIR": "/tls"}, "--data=/d", "--checkpoints=/c", "--http-port=0")
    assert (read.who.student, read.who.attempt, read.aggregator) == ("bn", 3, "host:8470")
    assert (read.data_dir, read.checkpoint_dir, read.tls_dir, read.http_port) == (
        Path("/d"),
        Path("/c"),
        Path("/tls"),
        0,
    )
    assert settings(ENVIRONMENT).tls_dir is None


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_a_missing_variable_is_named(name):
    rest = {key: value for key, value in ENVIRONMENT.items() if key != name}
    with pytest.raises(SpecError, match=name):
        settings(rest)


def test_an_attempt_that_is_no_number_is_named():
    with pytest.raises(SpecError, match="DISTILLJOB_ATTEMPT must be a number"):
        settings({**ENVIRONMENT, "DISTILLJOB_ATTEMPT": "first"})


def test_a_missing_job_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"absent\.json: No such file"):
        session.read_spec(tmp_path / "absent.json", "bn")


def test_a_student_that_the_job_does_not_have_is_named(tmp_path, tree):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(tree()))
    assert session.read_spec(path, "bn")[1].name == "bn"
    with pytest.raises(SpecError, match="no student 'vgg'"):
        session.read_spec(path, "vgg")


def test_students_of_one_job_have_one_hold_out_and_own_weights_and_orders(group):
    pair = [{"name": name, "gpus": 0, "model": {"name": "mlp_small"}} for name in ("a", "b")]
    job = group(students=pair)
    (first, _), (second, _) = job.members
    assert first.seed != second.seed
    assert not torch.equal(*(next(student.model.parameters()) for student in (first, second)))
    same = group(students=[pair[1]])
    assert torch.equal(same.data.holdout_ids_N, job.data.holdout_ids_N)
    assert torch.equal(next(same.student.model.parameters()), next(second.model.parameters()))


def test_the_optimizer_is_the_resources():
    from distilljob_core.spec.training import Optimizer

    model = torch.nn.Linear(1, 1)
    sgd = build.make_optimizer(model, Optimizer(momentum=0.8, nesterov=True, weight_decay=0.1), fused=False)
    (group,) = sgd.param_groups
    assert (type(sgd).__name__, group["momentum"], group["nesterov"], group["weight_decay"]) == ("SGD", 0.8, True, 0.1)
    adam = build.make_optimizer(model, Optimizer(kind="AdamW", learning_rate=0.001), fused=False)
    assert (type(adam).__name__, adam.param_groups[0]["lr"]) == ("AdamW", 0.001)


class Client:
    """Answers as told; stands for the aggregator where one could not be made to answer so."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []
        self.closed = threading.Event()
        self.beats: list = []

    def heartbeat(self, report):
        self.beats.append(report)
        answer = self.answers.pop(0) if self.answers else Directive.GO_ON
        if isinstance(answer, Exception):
            raise answer
        return answer

    def upload(self, offer, labels):
        self.calls.append("upload")

    def wait(self, key):
        self.calls.append("wait")
        return self.answers.pop(0)

    def teacher(self, key):
        self.calls.append("teacher")
        half = torch.full((3, 2), 0.5).numpy()
        yield 0, half
        yield 3, half

    def close(self):
        self.closed.set()


KEY = RoundKey(1)
RECORD = CloseRecord(KEY, (Contribution("bn", 5, 5, 9, "digest", 1.5),), 5, False, "Float16", True, ("cnn",))
OFFER = Offer(KEY, 5, 5, 9, "Float16", "digest", 1.5)


def teacher(client, directory):
    phases = []
    return RemoteTeacher(client, directory, torch.device("cpu"), phases.append), phases


def test_a_lesson_is_fetched_once_and_kept(tmp_path):
    client = Client(NotYet(("cnn",)), RECORD)
    remote, phases = teacher(client, tmp_path)
    remote.offer(OFFER, None)
    lesson = remote.lesson(KEY)
    assert client.calls == ["upload", "wait", "wait", "teacher"]
    assert phases == [StudentPhase.WAITING, StudentPhase.WAITING, StudentPhase.FETCHING]
    again, _ = teacher(Client(), tmp_path)
    again.offer(OFFER, None)
    kept = again.lesson(KEY)
    assert kept.record == lesson.record == RECORD
    assert torch.equal(kept.p_NK, lesson.p_NK)
    assert newest_lesson(tmp_path) == 1


def test_a_damaged_lesson_is_fetched_again(tmp_path):
    remote, _ = teacher(Client(RECORD), tmp_path)
    remote.lesson(KEY)
    lesson_path(tmp_path, 1).with_suffix(".safetensors").write_bytes(b"damaged")
    client = Client(RECORD)
    again, _ = teacher(client, tmp_path)
    assert again.lesson(KEY).p_NK.shape == (6, 2)
    assert client.calls == ["wait", "teacher"]


def test_rows_that_the_aggregator_lost_are_sent_again(tmp_path):
    client = Client(NeedRows(3), RECORD)
    remote, _ = teacher(client, tmp_path)
    remote.offer(OFFER, None)
    remote.lesson(KEY)
    assert client.calls == ["upload", "wait", "upload", "wait", "teacher"]


def test_two_lessons_are_kept_and_predictions_are_not(tmp_path):
    for cycle in (1, 2, 3):
        key = RoundKey(cycle)
        record = CloseRecord(key, RECORD.contributions, 5, False, "Float16", False, ())
        teacher(Client(record), tmp_path)[0].lesson(key)
    key = RoundKey(3, Split.EVALUATION)
    record = CloseRecord(key, RECORD.contributions, 5, False, "Float16", False, ())
    teacher(Client(record), tmp_path)[0].lesson(key)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["teacher-00000002.json", "teacher-00000003.json"]


def beating(client, phase=StudentPhase.WAITING):
    leaving, progress = Leaving(), Progress(4, {}, 0.0)
    progress.enter(phase)
    beats = Heartbeats(client, progress, leaving, interval_seconds=1000.0)
    beats.start()
    return beats, leaving


def test_a_waiting_student_that_is_told_to_park_leaves(tmp_path):
    client = Client(Directive.GO_ON, Directive.PARK)
    beats, leaving = beating(client)
    leaving.nudge()
    beats.join()
    assert client.closed.is_set()
    with pytest.raises(Left) as left:
        leaving.check()
    assert left.value.code is ExitCode.PARKED


def test_a_training_student_does_not_park():
    client = Client(Directive.PARK, Directive.PARK)
    beats, leaving = beating(client, StudentPhase.DISTILLING)
    leaving.nudge()
    leaving.request(ExitCode.DONE)
    beats.join()
    with pytest.raises(Left) as left:
        leaving.check()
    assert left.value.code is ExitCode.DONE


def test_a_failed_heartbeat_is_no_reason_to_stop():
    client = Client(grpc.RpcError("broken"), Directive.PARK)
    beats, leaving = beating(client)
    leaving.nudge()
    beats.join()
    assert len(client.beats) == 2


def test_a_fenced_student_stops_at_once(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(heartbeats.os, "_exit", codes.append)
    beats, leaving = beating(Client(Fenced("attempt 2 is here")))
    leaving.request(ExitCode.DONE)
    beats.join()
    assert codes == [ExitCode.FENCED]
    assert capsys.readouterr().err == "Fenced: attempt 2 is here\n"


def test_the_first_wish_to_leave_counts():
    leaving = Leaving()
    leaving.check()
    assert not leaving.wait(0)
    leaving.request(ExitCode.TERMINATED)
    leaving.request(ExitCode.DONE)
    assert leaving.wait(0)
    with pytest.raises(Left, match="TERMINATED"):
        leaving.check()


def test_signals_become_a_wish():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    leaving = Leaving()
    try:
        leave_in_order_on_signals(leaving)
        signal.raise_signal(signal.SIGINT)
    finally:
        import faulthandler

        faulthandler.unregister(signal.SIGTERM)
        for number, handler in before.items():
            signal.signal(number, handler)
    with pytest.raises(Left, match="TERMINATED"):
        leaving.check()


def test_progress_counts_changes_ticks_and_steps():
    progress = Progress(8, {"Waiting": 5.0}, 0.0)
    before = progress.report().progress
    progress.enter(StudentPhase.INDEPENDENT)
    progress.trained(32)
    progress.tick()
    progress.place(cycle=1, epoch=0.5, step=1)
    report = progress.report()
    assert report.progress == before + 3
    assert (report.cycle, report.epoch, report.planned_epochs, report.step) == (1, 0.5, 8, 1)
    assert report.samples_per_second > 0
    progress.enter(StudentPhase.WAITING)
    assert progress.report().samples_per_second == 0
    seconds = progress.fold()
    assert seconds["Waiting"] >= 5.0
    assert {"Starting", "Independent", "Waiting"} == seconds.keys()


LINES = [
    ExchangeMeasured(timestamp_seconds=1.0, cycle=cycle, split="train", seconds={"Waiting": 10.0**cycle})
    for cycle in range(5)
]


def written(path: Path, num_bytes: int, lines: list[ExchangeMeasured]) -> int:
    journal = Journal(path, num_bytes)
    for line in lines:
        journal.write(line)
    length = journal.sync()
    journal.close()
    return length


def test_lines_behind_a_checkpoint_are_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, 0)
    journal.write(LINES[1])
    offset = journal.sync()
    journal.write(LINES[2])
    journal.close()
    again = LINES[2].model_copy(update={"seconds": {}})
    written(path, offset, [again])
    assert read_measurements(path.read_bytes()) == ([LINES[1], again], [])


def test_an_attempt_that_saves_before_its_first_line_knows_the_length(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = written(path, 0, LINES[:2])
    assert written(path, kept, LINES[2:]) > kept  # and killed before its checkpoint
    assert written(path, kept, []) == kept == path.stat().st_size
    written(path, kept, LINES[2:4])
    assert read_measurements(path.read_bytes()).known == LINES[:4]


def test_a_journal_shorter_than_its_checkpoint_says_is_not_filled_up(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = written(path, 0, LINES[:2])
    assert written(path, kept + 100, []) == kept
    written(path, kept + 100, LINES[2:])
    assert read_measurements(path.read_bytes()).known == LINES


def test_metrics_show_the_terms_of_the_loss(group):
    job = group(students=[{"name": "bn", "gpus": 0, "model": {"name": "mlp_small"}}])
    _, done = next(job.run())
    registry = CollectorRegistry()
    metrics = StudentMetrics(registry)
    metrics.sample(done, 2.0)
    metrics.saved(0.5)
    value = registry.get_sample_value
    assert value("distilljob_trainer_loss", {"term": "label"}) == pytest.approx(done.label.item())
    assert value("distilljob_trainer_loss", {"term": "distill"}) == 0
    assert value("distilljob_trainer_learning_rate") == 0.05
    assert value("distilljob_trainer_gradient_norm") == 2.0
    assert value("distilljob_trainer_checkpoint_seconds_sum") == 0.5
    assert value("distilljob_trainer_checkpoint_age_seconds") >= 0
    assert value("distilljob_trainer_gpu_memory_bytes") == 0


def test_the_last_words_go_where_kubernetes_looks_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(main, "TERMINATION_LOG", tmp_path / "absent")
    main._leave_word(ExitCode.SPEC, "nobody listens")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "log").touch()
    monkeypatch.setattr(main, "TERMINATION_LOG", tmp_path / "log")
    main._leave_word(ExitCode.SPEC, "SpecError: why")
    assert (tmp_path / "log").read_text() == '{"exitCode":80,"message":"SpecError: why","summary":null}'


_LAST_CALL = """
import os, signal, weakref
from distilljob_trainer.leaving import leave_at_once_on_signals

class Module: ...

def on_gone(_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000): pass

leave_at_once_on_signals()
module = Module()
gone = weakref.ref(module, on_gone)
del module
print("still here")
"""


def test_a_signal_ends_an_attempt_even_where_exceptions_are_swallowed(uncovered):
    done = subprocess.run([sys.executable, "-c", _LAST_CALL], env=uncovered, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, b"")
