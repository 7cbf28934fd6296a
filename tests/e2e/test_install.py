"""What a user does first: install the chart, apply the first example, fetch the weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import distilljob
from distilljob_trainer.data.digits import digits
from real.jobs import DIGITS, Job
from real.site import Site
from rig.build import RigError

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def job(site: Site, team: str) -> Iterator[Job]:
    """Give the first example, complete."""
    job = Job(site, team, "digits")
    job.kubectl("apply", f"--filename={DIGITS}")
    try:
        job.until_complete()
        yield job
    finally:
        job.delete()


def test_the_first_example_completes_with_a_result(job: Job):
    result = job.status["result"]
    assert result["exact"]
    assert min(result["accuracy"], result["ensembleAccuracy"]) >= 0.95
    assert job.restarts() == {}
    assert "Complete" in job.kubectl("get", "distilljob", job.name)


def test_the_best_student_that_was_downloaded_is_as_good_as_its_result_says(job: Job, tmp_path: Path):
    result = distilljob.read(job.download(tmp_path / "best", "--best"))
    (best,) = [student for student in result.students if student.name == result.best]
    assert accuracy(distilljob.load(result.weights(result.best))) == best.accuracy.last


def test_the_ensemble_that_was_downloaded_is_as_good_as_its_result_says(job: Job, tmp_path: Path):
    result = distilljob.read(job.download(tmp_path / "ensemble", "--ensemble"))
    assert result.ensemble is not None
    measured = accuracy(distilljob.load(result.ensemble_file))
    assert measured == pytest.approx(result.ensemble.accuracy, abs=1 / 797), "float32 sums may differ by one sample"


def test_everything_that_was_downloaded_makes_a_report(job: Job, site: Site, tmp_path: Path):
    folder = job.download(tmp_path / "all", "--all")
    site.distilljob("report", str(folder))
    assert (folder / "report.html").stat().st_size > 10_000


def test_the_namespace_refuses_what_is_not_restricted(job: Job):
    lax: Any = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    with pytest.raises(RigError, match="violates PodSecurity"):
        job.kubectl("create", "--filename=-", stdin=json.dumps(lax))


def accuracy(network: torch.nn.Module) -> float:
    """Measure a network on the test set here."""
    test = digits("test", Path())
    with torch.no_grad():
        return (network(test.inputs).argmax(dim=1) == test.labels_N).double().mean().item()
