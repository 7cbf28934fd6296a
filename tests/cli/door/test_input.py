import math
import pickle
from pathlib import Path

import pytest
import yaml

import distilljob
from distilljob.errors import CommandError
from distilljob.job_file import read_mapping
from distilljob_core.spec.base import dump
from distilljob_core.spec.load import check_job


def test_a_mapping_is_read_as_the_file_that_says_the_same_and_stays_as_it_is(tiny):
    before = yaml.safe_dump(tiny)
    given = read_mapping(tiny, ["method.cycles=5"])
    assert given.job.spec.method.cycles == 5
    assert yaml.safe_dump(tiny) == before
    assert check_job(yaml.safe_load(given.text)) == given.job


@pytest.mark.parametrize("value", [math.nan, Path("a"), {1, 2}])
def test_a_mapping_holds_what_json_can_say(tiny, value, tmp_path):
    with pytest.raises(distilljob.BadInput, match="more than JSON can say"):
        distilljob.run({**tiny, "metadata": {"name": value}}, tmp_path / "run")
    with pytest.raises(distilljob.BadInput, match=r"set method\.cycles: the value is more than JSON can say"):
        distilljob.run(tiny, tmp_path / "run", set={"method.cycles": value})
    assert not (tmp_path / "run").exists()


def test_every_problem_is_told_at_once_and_nothing_is_started(tiny, tmp_path):
    bad = {**tiny, "spec": {**tiny["spec"], "studnets": [], "method": {"cycles": 0}}}
    with pytest.raises(distilljob.BadInput) as caught:
        distilljob.run(bad, tmp_path / "run")
    assert {problem.path for problem in caught.value.problems} == {"spec.studnets", "spec.method.cycles"}
    assert "did you mean students?" in str(caught.value)
    assert "spec.method.cycles" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_wrong_change_is_named(tiny, tmp_path):
    with pytest.raises(distilljob.BadInput, match="mlp, cnn"):
        distilljob.run(tiny, tmp_path / "run", set={"students[vgg].gpus": 0})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.optimizer.learningRate", 1e-05),
        ("students[mlp].name", "ä: #1 'x'\n"),
        ("dataset.options", {"train_samples": 300, "a": [1, None, "1", True]}),
        ("training", None),
    ],
)
def test_a_change_arrives_as_the_value_that_was_given(tiny, path, value, monkeypatch, tmp_path):
    from distilljob import door, job_file

    trees = []
    monkeypatch.setattr(job_file, "check_job", lambda tree: trees.append(tree) or check_job(tiny))
    monkeypatch.setattr(door, "run_job", lambda given, *_, **__: pytest.fail("not reached"))
    with pytest.raises(pytest.fail.Exception):
        distilljob.run(tiny, tmp_path / "run", set={path: value})
    node = trees[0]["spec"]
    for key in path.replace("students[mlp]", "students.0").split("."):
        node = node[int(key) if key.isdecimal() else key]
    assert node == value
    assert type(node) is type(value)


def test_a_device_is_one_of_three(tiny, tmp_path):
    with pytest.raises(distilljob.BadInput, match="auto, cpu, cuda"):
        distilljob.run(tiny, tmp_path / "run", device="cuda:1")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(distilljob.NotFound, match=r"job\.yaml: no such file"):
        distilljob.run(tmp_path / "job.yaml")


def test_a_folder_without_a_finished_run_is_named(tmp_path, tiny):
    with pytest.raises(distilljob.NotFound, match="holds no run"):
        distilljob.read(tmp_path)
    (tmp_path / "job.json").write_text('{"kind": "DistillJob"}')
    with pytest.raises(distilljob.NotFound, match="has not finished"):
        distilljob.read(tmp_path)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(distilljob.BadInput, match=r"results/ensemble\.json"):
        distilljob.load(tmp_path)
    with pytest.raises(distilljob.NotFound, match=r"cnn\.safetensors: no such file"):
        distilljob.load(tmp_path / "cnn.safetensors")


@pytest.mark.parametrize(
    "error",
    [
        distilljob.BadInput("title", ()),
        distilljob.JobFailed("student cnn: failed", "FatalSpec", Path("cnn-a1.log"), ("SpecError: x",), "change it"),
        distilljob.JobFailed("the deadline has passed", "DeadlineExceeded", None, (), ""),
    ],
)
def test_an_error_survives_the_way_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert isinstance(error, CommandError)


def test_a_failure_tells_reason_log_and_fix_where_it_has_them():
    failure = distilljob.JobFailed("cnn failed", "FatalSpec", Path("cnn-a1.log"), ("SpecError: x", "y"), "change it")
    assert str(failure) == "cnn failed (FatalSpec)\ncnn-a1.log ends with\n  SpecError: x\n  y\nfix: change it"
    assert str(distilljob.JobFailed("too late", "DeadlineExceeded", None, (), "")) == "too late (DeadlineExceeded)"


def test_a_model_of_the_resource_is_taken_too(tiny, tmp_path):
    job = check_job(tiny)
    with pytest.raises(distilljob.BadInput) as caught:
        distilljob.run(job, tmp_path / "run", set={"method.cycles": 0})
    assert [problem.path for problem in caught.value.problems] == ["spec.method.cycles"]
    assert read_mapping(dump(job)).job == job
