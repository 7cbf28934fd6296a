import io
import json

import pytest
from rich.console import Console

from distilljob.local import run as local_run
from distilljob.local.outcome import result_table, write_outcome
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.result import read_result
from distilljob_core.lifecycle.model import JobState, StudentState
from distilljob_core.results import (
    EnsembleOutcome,
    HoldoutAccuracy,
    RunResult,
    StudentResult,
    TestAccuracy,
)


def student(name, accuracy, **changes):
    known = {
        "model": "cnn_small", "attempt": 1, "num_parameters": 10, "epochs": 4, "steps": 40, "test_samples": 797,
        "accuracy": TestAccuracy(last=accuracy, selected=accuracy, optimistic=accuracy, independent=None),
        "holdout": HoldoutAccuracy(last=accuracy, selected=accuracy), "nll": 0.1, "ece": 0.01, "seconds": {},
        "cycles": [], "ensemble": None, "artifacts": [], "exact": True, "inexact_reasons": [], "environment": {},
        "restarts": 0, "barrier_share": 0.25,
    }  # fmt: skip
    return StudentResult(name=name, **(known | changes))


def run_result(**changes):
    ensemble = EnsembleOutcome(
        accuracy=0.97, nll=0.1, ece=0.02, members=["mlp", "cnn"], weights=[95, 96], disagreement=0.01
    )
    known = {
        "name": "tiny", "uid": "u", "method": "MD", "cycles": 2, "exact": True, "inexact_reasons": [],
        "students": [student("mlp", 0.95), student("cnn", 0.96)], "ensemble": ensemble,
        "teacher_gain": [0.01, -0.005], "best": "cnn", "seconds": 65.0, "exchanged_bytes": {"up": 1, "down": 1},
    }  # fmt: skip
    return RunResult(**(known | changes))


@pytest.fixture
def finished(tmp_path):
    """Make a folder as a finished run's aggregator and students leave it."""

    def make(result, metrics=None):
        folder = RunFolder(tmp_path)
        folder.make()
        (folder.results / "result.json").write_text(result.model_dump_json(by_alias=True))
        for name, lines in (metrics or {}).items():
            (folder.results / f"{name}-metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return make


def shown(result, folder, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(result_table(result, folder))
    return console.file.getvalue()


def test_the_result_tells_restarts_as_only_the_runner_knows_them(finished):
    folder = finished(run_result())
    result = write_outcome(folder, {"mlp": 2, "cnn": 0})
    assert [one.restarts for one in result.students] == [2, 0]
    assert read_result(folder) == result
    assert json.loads(folder.result.read_text())["students"][0]["restarts"] == 2


def test_metrics_are_joined_student_by_student_each_line_with_its_name(finished):
    folder = finished(run_result(), {"cnn": [{"epoch": 1}], "mlp": [{"epoch": 1}, {"epoch": 2}]})
    write_outcome(folder, {"mlp": 0, "cnn": 0})
    assert [json.loads(line) for line in folder.metrics.read_text().splitlines()] == [
        {"student": "mlp", "epoch": 1},
        {"student": "mlp", "epoch": 2},
        {"student": "cnn", "epoch": 1},
    ]


def test_a_damaged_line_of_metrics_is_left_out_and_costs_no_result(finished, capsys):
    folder = finished(run_result(), {"mlp": [{"epoch": 1}, {"epoch": 2}]})
    with (folder.results / "mlp-metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": \xff\n[3]\n{"epoch": 4}\n')
    write_outcome(folder, {"mlp": 0, "cnn": 0})
    assert [json.loads(line)["epoch"] for line in folder.metrics.read_text().splitlines()] == [1, 2, 4]
    warnings = "".join(capsys.readouterr().err.split())
    assert "mlp-metrics.jsonl:3isnometricsrecord" in warnings
    assert "mlp-metrics.jsonl:4isnometricsrecord" in warnings
    assert folder.result.exists()


def test_the_table_fits_80_columns_and_says_what_was_measured(finished):
    folder = finished(run_result(exact=False, inexact_reasons=["threads changed"]))
    text = shown(write_outcome(folder, {"mlp": 2, "cnn": 0}), folder)
    assert max(len(line) for line in text.splitlines()[:4]) <= 80
    for words in ("95.00", "96.00", "97.00", "25%", "+1.00, -0.50", "not exact: threads changed", "1m05s"):
        assert words in text
    assert str(folder.root) in text.replace("\n", "")


def test_the_verdict_compares_the_ensemble_with_the_best_and_claims_no_more(finished):
    folder = finished(run_result())
    words = write_outcome(folder, {"mlp": 0, "cnn": 0}).verdict
    assert words == (
        "The ensemble of 2 students reaches 97.00 % on the test set, the best student (cnn, by hold-out accuracy) "
        "96.00 %: 1.00 points more, more than one binomial standard error (0.92 points, 797 test samples). "
        "Whether distillation helped is not measured here: run `distilljob compare` (not built yet; until then the "
        "same file with --set method.name=Independent, over several seeds)."
    )


def test_without_an_ensemble_the_best_student_stands_alone(finished):
    folder = finished(run_result(ensemble=None, teacher_gain=[], method="Independent"))
    result = write_outcome(folder, {"mlp": 0, "cnn": 0})
    assert "There is no ensemble" in result.verdict
    assert "trained without a teacher" in result.verdict
    assert "teacher gain" not in shown(result, folder)


def test_a_page_drawn_while_the_run_went_on_is_drawn_anew_at_its_end(finished, monkeypatch):
    folder = finished(run_result())
    folder.report.write_text("this run has not finished")
    monkeypatch.setattr("distilljob.local.run.draw_report", lambda folder: folder.report.write_text("drawn"))
    end = local_run.finished(folder, JobState("u", {"mlp": StudentState(), "cnn": StudentState()}))
    assert (end.best, folder.report.read_text()) == ("cnn", "drawn")
    folder.report.write_text("kept")
    assert local_run.finished(folder, JobState("u")) == end
    assert folder.report.read_text() == "kept"
