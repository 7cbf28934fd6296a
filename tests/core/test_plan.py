"""The plan: every process of a job, the same for pods and for one machine."""

import pytest

from distilljob_core import names
from distilljob_core.exit_codes import FATAL_CODES, ExitCode, is_fatal
from distilljob_core.plan import Places, aggregator_process, student_process
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import planned_epochs, resolve_students, student_names, student_seed


@pytest.fixture
def job():
    return check_job(
        {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "demo", "uid": "u-1"},
            "spec": {
                "dataset": {"name": "digits"},
                "method": {"cycles": 3, "independentEpochs": 2, "distillEpochs": 4, "burnInEpochs": 5},
                "training": {"seed": 7, "clipNorm": 1, "optimizer": {"learningRate": 0.2, "momentum": 0.8}},
                "students": [
                    {"name": "a", "model": {"name": "mlp_small"}, "replicas": 2},
                    {
                        "name": "b",
                        "model": {"name": "cnn_small"},
                        "gpus": 0,
                        "training": {"clipNorm": None, "optimizer": {"learningRate": 0.5}},
                    },
                ],
            },
        }
    )


def test_replicas_become_students_of_their_own(job):
    assert student_names(job.spec) == ("a-0", "a-1", "b")
    students = resolve_students(job.spec)
    assert [student.index for student in students] == [0, 1, 2]
    assert len({student.seed for student in students}) == 3


def test_a_students_settings_lie_over_the_groups_and_keep_the_rest(job):
    a, _, b = resolve_students(job.spec)
    assert (a.training.optimizer.learning_rate, a.training.clip_norm) == (0.2, 1)
    assert (b.training.optimizer.learning_rate, b.training.clip_norm) == (0.5, None)
    assert b.training.optimizer.momentum == 0.8


def test_a_seed_depends_on_the_groups_seed_and_the_name_alone():
    assert student_seed(7, "a") == student_seed(7, "a")
    assert len({student_seed(7, "a"), student_seed(8, "a"), student_seed(7, "b")}) == 3


def test_planned_epochs_count_burn_in_once_and_each_cycle_whole(job):
    assert planned_epochs(job.spec.method) == 5 + 3 * (2 + 4)


def test_the_aggregator_gets_the_pods_places_by_default(job):
    process = aggregator_process(job, Places())
    assert process.name == "demo-aggregator"
    assert process.argv == (
        "distilljob-aggregator",
        "--state=/state",
        "--results=/results",
        "--control=/etc/distilljob/control.json",
        "--bind=0.0.0.0",
        "--grpc-port=8470",
        "--http-port=8471",
    )
    assert process.env[names.ENV_SPEC_FILE] == "/etc/distilljob/job.json"


def test_every_student_is_told_who_it_is_and_where_the_aggregator_is(job):
    student = resolve_students(job.spec)[2]
    process = student_process(job, student, 4, "pod-9", "demo-aggregator:8470", Places(data="/mnt/data"))
    assert process.name == "demo-b-a4"
    assert process.gpus == 0
    assert "--data=/mnt/data" in process.argv
    assert process.env == {
        "DISTILLJOB_SPEC_FILE": "/etc/distilljob/job.json",
        "DISTILLJOB_NAME": "demo",
        "DISTILLJOB_UID": "u-1",
        "DISTILLJOB_STUDENT": "b",
        "DISTILLJOB_ATTEMPT": "4",
        "DISTILLJOB_POD_UID": "pod-9",
        "DISTILLJOB_AGGREGATOR": "demo-aggregator:8470",
    }


def test_identities_name_job_and_student():
    assert names.student_identity("u-1", "b") == "distilljob://u-1/b"


def test_only_the_eighties_are_fatal():
    assert {code for code in range(256) if is_fatal(code)} == set(FATAL_CODES)
    assert {code for code in ExitCode if is_fatal(code)} == set(ExitCode) - {0, 1, 75, 143}
