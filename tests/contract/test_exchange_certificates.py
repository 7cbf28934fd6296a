"""The operator's certificates in the hands that they are made for: a real aggregator, and students as pods see them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from distilljob_core.errors import UnknownStudent
from distilljob_core.spec.load import check_job
from distilljob_operator.certificates import issue
from distilljob_operator.manifests.secrets import tls_volume

UID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def tls_dir(tmp_path: Path) -> Callable[[str | None], Path]:
    """Lay out the volume that one pod mounts, as the kubelet does; None = the aggregator's."""
    students = [{"name": name, "model": {"name": "mlp_small"}} for name in "ab"]
    job = check_job(
        {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "demo", "uid": UID},
            "spec": {"dataset": {"name": "digits"}, "students": students},
        }
    )
    secret = issue(UID, "ab")

    def lay_out(student: str | None) -> Path:
        folder = tmp_path / f"tls-{student}"
        folder.mkdir()
        for item in tls_volume(job, student)["secret"]["items"]:
            (folder / item["path"]).write_bytes(secret[item["key"]])
        return folder

    return lay_out


@pytest.fixture
def aggregator(start_aggregator: Callable, spec: Callable, tls_dir: Callable[[str | None], Path]):
    return start_aggregator(spec("a", "b"), DISTILLJOB_TLS_DIR=str(tls_dir(None)))


def test_every_student_joins_with_what_its_pod_mounts(aggregator, make_student, tls_dir):
    for name in "ab":
        assert make_student(aggregator, name, tls_dir=tls_dir(name)).join().token > 0


def test_no_student_can_speak_for_another(aggregator, make_student, tls_dir):
    with pytest.raises(UnknownStudent):
        make_student(aggregator, "a", tls_dir=tls_dir("b")).join()
