"""`distilljob render`: what the operator would make, without a cluster."""

import subprocess
import sys

import pytest
import yaml

from distilljob.main import main
from distilljob_core.spec.kubectl_yaml import read_yaml


def rendered(capsys, *arguments):
    assert main(["render", *map(str, arguments)]) == 0
    return [read_yaml(text) for text in capsys.readouterr().out.split("\n---\n")]


def test_all_objects_are_printed_in_the_order_of_their_creation(job_file, capsys):
    assert [(made["kind"], made["metadata"]["name"]) for made in rendered(capsys, job_file)] == [
        ("Secret", "tiny-tls-00000000"),
        ("ConfigMap", "tiny-spec-00000000"),
        ("ConfigMap", "tiny-control"),
        ("PersistentVolumeClaim", "tiny-state-00000000"),
        ("PersistentVolumeClaim", "tiny-results-00000000"),
        ("PersistentVolumeClaim", "tiny-mlp-ckpt-00000000"),
        ("PersistentVolumeClaim", "tiny-cnn-ckpt-00000000"),
        ("Service", "tiny-aggregator"),
        ("NetworkPolicy", "tiny-network"),
        ("Deployment", "tiny-aggregator"),
        ("Job", "tiny-mlp-a1"),
        ("Job", "tiny-cnn-a1"),
    ]


def test_only_students_that_start_at_once_have_an_attempt(job_file, capsys):
    made = rendered(capsys, job_file, "--set", "placement.maximumConcurrentStudents=1")
    assert [one["metadata"]["name"] for one in made if one["kind"] == "Job"] == ["tiny-mlp-a1"]


def test_no_private_key_is_printed(job_file, capsys):
    main(["render", str(job_file)])
    secret = next(yaml.safe_load_all(capsys.readouterr().out))
    assert len(set(secret["data"].values())) == 1
    assert "PRIVATE" not in str(secret)


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("metadata.name=1st", "metadata.name"),
        ("pod.env=[{name: DISTILLJOB_UID}]", "spec.pod.env[0].name"),
        ("aggregator.pod.gpuResourceName=a/b", "spec.aggregator.pod.gpuResourceName"),
    ],
)
def test_a_job_that_could_not_run_in_a_cluster_is_bad_input(job_file, capsys, setting, place):
    assert main(["render", str(job_file), "--set", setting]) == 2
    shown = capsys.readouterr()
    assert place in shown.err
    assert shown.out == ""


def test_it_needs_none_of_the_operators_libraries(job_file):
    code = f"""
import sys
from distilljob.main import main
assert main(["render", {str(job_file)!r}]) == 0
assert not {{"kopf", "kubernetes", "cryptography", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
