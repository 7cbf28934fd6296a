"""What `distilljob run` says to bad input: everything at once, exit code 2, nothing started."""

import pytest


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["method.cylces=2"], ["spec.method.cylces", "unknown field", "did you mean cycles?"]),
        (["method.temperature=0"], ["spec.method.temperature", "greater than 0"]),
        (["quorum.minimumStudents=3"], ["spec.quorum.minimumStudents", "larger than the number of students"]),
        (["students[cnn].name=mlp"], ["spec.students[1].name", "unique"]),
        (["metadata.name=" + "x" * 50, "students[0].name=" + "y" * 40], ["too long"]),
        (["training.compile=Default"], ["spec.training.compile", "not supported yet"]),
        (["method.cycles=two", "dataset.nam=x", "training.batchSize=1"], ["3 problems", "cycles", "nam", "batchSize"]),
        (["students[vgg].gpus=0"], ["--set students[vgg].gpus", "mlp, cnn"]),
    ],
)
def test_bad_input_starts_nothing(distilljob_run, settings, words):
    run = distilljob_run(*settings)
    assert run.end() == 2
    for word in words:
        assert word in run.output
    assert "Traceback" not in run.output
    assert not run.folder.exists()


def test_another_job_on_a_run_is_refused_with_the_fields_and_begins_afresh_on_demand(distilljob_run):
    run = distilljob_run("method.cycles=1", "students[cnn].model.name=nothing")
    assert run.end() == 1
    (run.folder / "notes.txt").write_text("mine")
    other = distilljob_run("method.cycles=1")
    assert other.end() == 2
    assert "spec.students[1].model.name" in other.output
    assert '"cnn_small", was "nothing"' in other.output
    assert "--fresh" in other.output
    fresh = distilljob_run("method.cycles=1", arguments=("--fresh",))
    fresh.until("StudentStarted")
    assert (run.folder / "notes.txt").read_text() == "mine"


def test_fresh_touches_no_folder_that_is_not_a_run(distilljob_run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results").mkdir()
    run = distilljob_run(arguments=("--fresh",))
    assert run.end() == 2
    assert "neither empty nor a run directory" in run.output
    assert (tmp_path / "run" / "results").is_dir()


def test_a_gpu_that_is_not_there_is_no_surprise_later(distilljob_run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = distilljob_run(arguments=("--device", "cuda"))
    assert run.end() == 2
    assert "there is no NVIDIA GPU here" in run.output
