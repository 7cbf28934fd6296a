"""Fixtures of the real thing: one node, one release, one team's namespace for all tests."""

import os
from collections.abc import Iterator

import pytest

from real.images import aggregator_image, operator_image, slim_trainer_image
from real.jobs import Job, digits
from real.release import Release
from real.site import Site
from rig.box import RealCluster

TEAM = "team"

collect_ignore = [] if os.environ.get("DISTILLJOB_E2E_FULL") else ["test_full_image.py"]


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Give a cluster that has the three images."""
    archives = [operator_image(), aggregator_image(), slim_trainer_image()]
    with RealCluster(images=archives) as cluster:
        yield Site(cluster)


@pytest.fixture(scope="session")
def release(site: Site) -> Release:
    """Install the chart."""
    release = Release(site)
    release.install("--create-namespace")
    return release


@pytest.fixture(scope="session")
def team(site: Site, release: Release) -> str:
    """Give the namespace of a team that may run jobs."""
    site.add_namespace(TEAM)
    return TEAM


@pytest.fixture(scope="session")
def undisturbed(site: Site, team: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the job of the staged failures in peace; give the sha256 of its weights."""
    job = Job(site, team, "undisturbed")
    job.apply(digits(job.name))
    job.until_complete()
    assert job.restarts() == {}
    weights = job.weights(tmp_path_factory.mktemp("undisturbed"))
    job.delete()
    return weights
