"""The local runner with real students and a real aggregator."""

import hashlib
import json
import subprocess

import pytest

from distilljob.main import main

LEFT = [
    "checkpoints", "control.json", "events.jsonl", "job.json", "job.yaml", "lock", "logs", "metrics.jsonl",
    "processes.lock", "report.html", "result.json", "results", "state", "state.json",
]  # fmt: skip
ALONE = "students=[{name: cnn, gpus: 0, model: {name: cnn_small}}]"


def weights(run, *names):
    return {
        name: hashlib.sha256((run.folder / "results" / f"{name}.safetensors").read_bytes()).digest() for name in names
    }


def size_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_run_leaves_everything_and_the_same_command_again_only_says_so(distilljob_run, capsys):
    run = distilljob_run(arguments=("--json",), stderr=subprocess.PIPE)
    assert "2 students on" in run.process.stderr.readline()
    assert "StudentStarted" in run.process.stderr.readline()
    run.process.stderr.close()  # whoever reads along may leave at any time
    assert run.end() == 0
    assert json.loads(run.output) == run.result()
    assert "cycle 2 closed" in (run.folder / "logs" / "runner.log").read_text()
    assert sorted(path.name for path in run.folder.iterdir()) == LEFT
    result = run.result()
    assert (result["name"], result["method"], result["cycles"], result["exact"]) == ("tiny", "MD", 2, True)
    assert [student["name"] for student in result["students"]] == ["mlp", "cnn"]
    for student in result["students"]:
        assert {"last", "selected", "optimistic", "independent"} <= set(student["accuracy"])
        assert student["accuracy"]["last"] > 0.5
        assert student["restarts"] == 0
        assert 0 <= student["barrierShare"] <= 1
    assert len(result["teacherGain"]) == 2
    assert result["best"] in ("mlp", "cnn")
    assert result["ensemble"]["members"] == ["mlp", "cnn"]
    assert "1,597 test samples" in result["verdict"]
    assert "not measured here: run `distilljob compare`" in result["verdict"]
    metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert {line["student"] for line in metrics} == {"mlp", "cnn"}
    assert set(weights(run, "mlp", "cnn"))
    assert {path.name for path in (run.folder / "logs").iterdir()} == {
        "aggregator-1.log", "cnn-a1.log", "mlp-a1.log", "runner.log",
    }  # fmt: skip
    assert main(["validate", str(run.folder / "job.yaml"), "--estimate", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    for student in estimate["students"]:
        left_bytes = size_bytes(run.folder / "checkpoints" / student["name"])
        assert left_bytes <= student["checkpoint_bytes"] <= 3 * left_bytes
    assert size_bytes(run.folder / "results") <= estimate["results_storage_bytes"]
    again = distilljob_run()
    assert again.end() == 0
    assert "this run is finished" in again.output
    assert result["verdict"].split(":")[0] in " ".join(again.output.split())
    assert len(list((run.folder / "logs").iterdir())) == 4


def test_a_student_that_exits_0_in_the_middle_is_replaced(distilljob_run):
    leaver = "students[cnn].model={name: 'misbehaving:slow', options: {leave_after: 15}}"
    run = distilljob_run(leaver)
    assert run.end() == 0, run.output
    assert "cnn: StudentExitedEarly" in run.output
    assert run.restarts() == {"mlp": 0, "cnn": 1}
    assert run.state()["students"]["cnn"]["restarts"] == {"early": 1}


@pytest.mark.usefixtures("damaged_images")
@pytest.mark.parametrize(
    ("settings", "reason", "words"),
    [
        (["students[cnn].model={name: 'misbehaving:broken'}"], "FatalSpec", "network are lost: all of them"),
        (["students[cnn].training.optimizer.learningRate=1000"], "StudentDiverged", "learningRate"),
        ([ALONE, "dataset={name: cifar10, download: Never}"], "FatalData", "--data"),
        ([ALONE, "dataset={name: image_folder}"], "FatalData", "train/b/7.png: not a readable image"),
        (["dataset={name: 'misbehaving:uneven'}"], "FatalMismatch", "if the data changed, begin with --fresh"),
    ],
)
def test_a_fatal_end_stops_the_group_with_the_reason(distilljob_run, settings, reason, words):
    run = distilljob_run(*settings)
    assert run.end() == 1
    told = " ".join(run.output.split())
    assert f"({reason})" in told
    assert words in told
    assert "-a1.log ends with" in run.output
    assert run.children() == {}
    assert run.state()["outcome"]["kind"] == "Failed"


def test_a_second_runner_is_refused_with_the_number_of_the_first(distilljob_run):
    run = distilljob_run(ALONE, "method.cycles=1")
    run.until("StudentStarted")
    second = distilljob_run()
    assert second.end() == 2
    assert f"process {run.process.pid}" in second.output
    assert run.end() == 0


def test_students_that_take_turns_give_the_weights_of_all_at_once(distilljob_run):
    together = distilljob_run("method.cycles=1", folder="together")
    assert together.end() == 0, together.output
    turns = distilljob_run("method.cycles=1", "placement.maximumConcurrentStudents=1", folder="turns")
    assert turns.end() == 0, turns.output
    assert "mlp: StudentParked" in turns.output
    assert weights(turns, "mlp", "cnn") == weights(together, "mlp", "cnn")
    assert set(turns.restarts().values()) == {0}
