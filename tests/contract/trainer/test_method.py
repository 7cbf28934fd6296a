"""The real trainer as processes, against the real aggregator: the whole method, and what it leaves."""

import faulthandler
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import structlog
import torch
from attempts import ALONE, TRIO, Job

from distilljob_aggregator.accumulator import Accumulator
from distilljob_core.errors import Retryable
from distilljob_core.exit_codes import ExitCode
from distilljob_core.measurements import read_measurements
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.codecs import codec
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_core.termination import read_termination_message
from distilljob_trainer import build
from distilljob_trainer.cohort import train_together
from distilljob_trainer.export import load
from distilljob_trainer.main import main
from distilljob_trainer.teacher import Classroom


def test_three_architectures_reach_95_percent_on_digits(job):
    digits = job(
        forked=False,
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
    alone = {"students": ALONE, "training": {"batchSize": 8}}
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
