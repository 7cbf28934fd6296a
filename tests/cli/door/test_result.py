import json
import shutil
from pathlib import Path
from threading import Thread

import pytest
import torch

import distilljob
from distilljob import door
from distilljob_core.measurements import EpochMeasured, read_merged_measurements
from distilljob_trainer.data.digits import digits


def accuracy(network, **options):
    test = digits("test", Path(), **options)
    with torch.no_grad():
        return (network(test.inputs).argmax(dim=1) == test.labels_N).double().mean().item()


def test_a_result_is_the_file_and_where_it_lies(result):
    assert result.model_dump(mode="json", by_alias=True) == json.loads((result.folder / "result.json").read_text())
    assert distilljob.read(result.folder) == result
    assert distilljob.read(str(result.folder)).folder == result.folder
    assert (result.name, result.cycles, [student.name for student in result.students]) == ("tiny", 2, ["mlp", "cnn"])
    assert repr(result) == f"<distilljob.Result of tiny in {result.folder}: best student {result.best}>"
    with pytest.raises(ValueError, match="frozen"):
        result.best = "cnn"


def test_printing_a_result_shows_the_table_of_the_command_in_plain_text(result, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = str(result)
    assert "student  model" in shown
    assert " ".join(result.verdict.split()) in " ".join(shown.split())
    assert "\x1b" not in shown


def test_a_finished_run_is_neither_trained_nor_written_again(result, tiny, capsys):
    before = {path: path.stat().st_mtime_ns for path in (result.folder / "results").iterdir()}
    assert distilljob.run(tiny, result.folder) == result
    assert capsys.readouterr().out.split() == ["this", "run", "is", "finished"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_job_in_the_same_folder_is_refused(result, tiny):
    with pytest.raises(distilljob.BadInput, match="holds a run of another job") as caught:
        distilljob.run(tiny, result.folder, set={"method.cycles": 3})
    assert [problem.path for problem in caught.value.problems] == ["spec.method.cycles"]


def test_weights_load_and_are_as_good_as_the_result_says(result):
    for student in result.students:
        last = distilljob.load(result.weights(student.name))
        selected = distilljob.load(str(result.weights(student.name, selected=True)))
        assert accuracy(last, train_samples=200) == student.accuracy.last
        assert accuracy(selected, train_samples=200) == student.accuracy.selected
    together = accuracy(distilljob.load(result.ensemble_file), train_samples=200)
    assert together == pytest.approx(result.ensemble.accuracy, abs=1 / 1597)


def test_a_student_that_is_not_in_the_run_is_named(result, tmp_path):
    with pytest.raises(distilljob.NotFound, match="'vgg'; its students are mlp, cnn"):
        result.weights("vgg")
    moved = result.model_copy(update={"folder": tmp_path})
    with pytest.raises(distilljob.NotFound, match=r"cnn\.safetensors: no such file"):
        moved.weights("cnn")
    with pytest.raises(distilljob.NotFound, match=r"ensemble\.json: no such file"):
        _ = moved.ensemble_file
    with pytest.raises(distilljob.NotFound, match=r"metrics\.jsonl: no such file"):
        moved.to_dataframe()


def test_the_dataframe_has_a_row_an_epoch_and_student(result):
    curves = result.to_dataframe()
    assert list(curves.columns) == [
        "run", "student", "model", "cycle", "stage", "epoch", "step", "learning_rate", "loss", "cross_entropy",
        "divergence", "holdout_accuracy", "test_accuracy", "test_cross_entropy", "timestamp_seconds",
    ]  # fmt: skip
    assert list(curves.student) == ["mlp"] * 6 + ["cnn"] * 6
    assert list(curves.epoch) == [1, 2, 3, 4, 5, 6] * 2
    assert list(curves.stage) == ["Independent", "Distill", "Distill"] * 4
    assert list(curves.cycle) == [1, 1, 1, 2, 2, 2] * 2
    assert set(curves.run) == {"tiny-0"}
    assert list(curves.groupby("student").test_accuracy.last()[["mlp", "cnn"]]) == [
        student.accuracy.last for student in result.students
    ]
    lines = read_merged_measurements((result.folder / "metrics.jsonl").read_bytes()).known["cnn"]
    first = next(line for line in lines if isinstance(line, EpochMeasured))
    row = curves[curves.student == "cnn"].iloc[0]
    assert all(row[name] == value for name, value in first.model_dump(exclude={"kind"}).items())


def test_damaged_lines_are_left_out_of_the_dataframe_and_counted(result, tmp_path):
    folder = shutil.copytree(result.folder, tmp_path / "copy")
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"student": "cnn", "kind": "epoch"}\nnothing\n')
    with pytest.warns(UserWarning, match="2 lines are damaged"):
        assert len(distilljob.read(folder).to_dataframe()) == 12


def test_a_missing_library_is_named_with_what_installs_it(result, monkeypatch):
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    with pytest.raises(distilljob.MissingPart, match=r"pip install 'distilljob\[notebook\]'"):
        result.to_dataframe()
    with pytest.raises(distilljob.MissingPart, match=r"pip install 'distilljob\[trainer\]'"):
        distilljob.load(result.ensemble_file)


def test_a_run_in_another_thread_ends_as_well_and_tells_each_event_on_a_line(alone, tmp_path, capsys):
    left = []
    thread = Thread(target=lambda: left.append(distilljob.run(alone, tmp_path / "run", set={"method.cycles": 1})))
    thread.start()
    thread.join()
    assert left[0].cycles == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"run tiny in {tmp_path / 'run'}: 1 student on ")
    assert "cnn: StudentStarted, attempt 1\n" in printed
    assert "cycle 1 closed: 1 student" in printed
    assert "epoch" not in printed


def test_a_job_that_fails_raises_reason_log_and_fix(alone, tmp_path):
    with pytest.raises(distilljob.JobFailed) as caught:
        distilljob.run(alone, tmp_path / "run", set={"training.optimizer.learningRate": 1000})
    failure = caught.value
    assert failure.reason == "StudentDiverged"
    assert failure.log.parent == tmp_path / "run" / "logs"
    assert failure.lines[-1].startswith("Diverged: ")
    assert "clipNorm" in failure.fix
    with pytest.raises(distilljob.NotFound, match="has not finished"):
        distilljob.read(tmp_path / "run")
