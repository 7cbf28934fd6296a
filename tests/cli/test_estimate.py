import json

import pytest

from distilljob.estimate import DataShape, StudentSize, estimate
from distilljob.job_file import read_job
from distilljob.main import main
from distilljob_trainer.models import build

CIFAR = DataShape(train_samples=50_000, fit_samples=49_000, test_samples=10_000, classes=10)
SIZES = {
    "mlp": StudentSize(parameters=10**8, buffers=0, tensors=4, epoch_steps=383),
    "cnn": StudentSize(parameters=10**8, buffers=10**8, tensors=4, epoch_steps=383),
}


def costs(job_file, *settings):
    return estimate(read_job(job_file, settings).job.spec, CIFAR, SIZES)


def test_an_exchange_is_two_bytes_a_sample_and_class_each_way(job_file):
    result = costs(job_file, "method.cycles=4")
    assert result.upload_bytes == 50_000 * 10 * 2
    assert result.cycle_bytes == 2 * 2 * result.upload_bytes
    assert result.total_bytes == 4 * result.cycle_bytes + 2 * 2 * 10_000 * 10 * 2
    assert result.aggregator_memory_bytes == 50_000 * 10 * (8 + 2)


def test_state_holds_one_round_of_everybody_and_the_teachers_kept(job_file):
    everything = costs(job_file, "method.cycles=4")
    assert everything.state_storage_bytes == (2 + 4) * everything.upload_bytes + 10_000 * 10 * 2
    short = costs(job_file, "method.cycles=4", "aggregator.teacherHistory=1")
    assert short.state_storage_bytes == (2 + 1) * short.upload_bytes + 10_000 * 10 * 2


def test_independent_students_exchange_only_the_evaluation(job_file):
    result = costs(job_file, "method.name=Independent")
    assert result.upload_bytes == result.cycle_bytes == 0
    assert result.total_bytes == 2 * 2 * 10_000 * 10 * 2


def test_steps_and_checkpoints_are_per_student(job_file):
    mlp, cnn = costs(job_file, "method.burnInEpochs=3").students
    assert (mlp.steps_per_cycle, mlp.steps) == (2 * 383, (3 + 2 * 2) * 383)
    assert (mlp.parameters, cnn.parameters, cnn.buffers) == (10**8, 10**8, 10**8)


def test_checkpoints_hold_two_sets_of_weights_the_optimizer_the_lessons_and_the_export(job_file):
    result = costs(job_file)
    mlp, cnn = (student.checkpoint_bytes for student in result.students)
    lessons = 3 * 50_000 * 10 * 4
    expected_sgd, expected_adamw = (3 * 3 + 2) * 4 * 10**8 + lessons, (3 * 4 + 2) * 4 * 2 * 10**8 + lessons
    assert 0 <= mlp - expected_sgd <= 1e-4 * expected_sgd
    assert 0 <= cnn - expected_adamw <= 1e-4 * expected_adamw
    assert result.checkpoint_storage_bytes == mlp + cnn
    assert 0 <= result.results_storage_bytes - 2 * 4 * 3 * 10**8 <= 1e5
    alone = costs(job_file, "method.name=Independent")
    assert mlp - alone.students[0].checkpoint_bytes == lessons


def test_estimate_reads_the_real_dataset_and_networks(job_file, capsys):
    assert main(["validate", str(job_file), "--estimate", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["valid"]
    assert shown["estimate"]["upload_bytes"] == 1000 * 10 * 2
    assert [student["parameters"] for student in shown["estimate"]["students"]] == [17_226, 6_090]


def test_running_means_are_no_parameters(job_file, capsys):
    arguments = ["--estimate", "--json", "--set", "students[cnn].model.name=cnn_bn_small"]
    assert main(["validate", str(job_file), *arguments]) == 0
    cnn = json.loads(capsys.readouterr().out)["estimate"]["students"][1]
    assert cnn["buffers"] > 0
    network = build("cnn_bn_small", num_classes=10)
    assert cnn["parameters"] == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dataset.name=cifar10", "--data"),
        ("dataset.name=digts", "digits"),
        ("students[mlp].model.name=mlp_smal", "mlp_small"),
    ],
)
def test_an_estimate_of_what_is_not_there_says_what_to_change(job_file, tmp_path, capsys, setting, words):
    arguments = ["validate", str(job_file), "--estimate", "--set", setting, "--data", str(tmp_path)]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
