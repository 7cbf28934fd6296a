import json

import pytest

from distilljob.job_file import read_job
from distilljob.local.snapshot import differences
from distilljob_core.spec.load import load_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_core.spec.snapshot import snapshot


def test_the_snapshot_says_the_same_as_the_file_and_its_uid(job_file):
    job = read_job(job_file).job
    taken = load_job(json.dumps(snapshot(job, "some-uid")))
    assert taken.metadata.uid == "some-uid"
    assert taken.spec.model_dump() == job.spec.model_dump()
    assert resolve_students(taken.spec) == resolve_students(job.spec)


def test_the_snapshot_writes_out_defaults(job_file):
    assert snapshot(read_job(job_file).job, "u")["spec"]["method"]["temperature"] == 3.0


def test_a_students_own_settings_stay_its_only_ones(job_file):
    job = read_job(job_file, ["training.batchSize=20"]).job
    taken = load_job(json.dumps(snapshot(job, "u")))
    assert [student.training.batch_size for student in resolve_students(taken.spec)] == [20, 20]


@pytest.mark.parametrize(
    ("setting", "paths"),
    [
        ("method.cycles=2", []),
        ("method.temperature=3.0", []),
        ("failurePolicy.maxRestarts=1", []),
        ("stopAfterCycle=1", []),
        ("activeDeadlineSeconds=60", []),
        ("method.cycles=5", ["spec.method.cycles"]),
        ("metadata.name=other", ["metadata.name"]),
        ("metadata.labels={a: b}", []),
        ("students[mlp].model.name=cnn_small", ["spec.students[0].model.name"]),
        ("students=[{name: mlp, model: {name: mlp_small}}]", ["spec.students"]),
        ("dataset.options={train_samples: 300}", ["spec.dataset.options.train_samples"]),
    ],
)
def test_only_frozen_fields_make_another_job(job_file, setting, paths):
    before, now = read_job(job_file).job, read_job(job_file, [setting]).job
    assert [problem.path for problem in differences(before, now)] == paths


def test_a_difference_shows_both_values(job_file):
    before, now = read_job(job_file).job, read_job(job_file, ["method.cycles=5"]).job
    assert differences(before, now)[0].message == "is 5, was 2 when the run began"
