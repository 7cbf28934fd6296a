"""Fixtures of the real thing: one node, one release, one team's namespace for all tests."""

import os
from collections.abc import Iterator

import pytest

from real.images import is_full_image_proven, node_images
from real.jobs import applied, digits
from real.release import Release
from real.site import Site
from rig.box import RealCluster
from rig.build import RigError

TEAM = "team"
FULL = "test_full_image.py"

collect_ignore = [] if os.environ.get("DISTILLJOB_E2E_FULL") or not is_full_image_proven() else [FULL]


def pytest_report_header() -> str:
    """Say whether the image with torch is built."""
    return (
        f"image with torch: {'has run with these lock files; FULL=1 runs it again' if collect_ignore else 'is built'}"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need no cluster, or clusters of their own, come before those that share one."""
    items.sort(key=lambda item: "site" in getattr(item, "fixturenames", ()))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out what is missing, and build what takes minutes, before any test's clock runs."""
    if session.items and not session.config.option.collectonly:
        try:
            node_images()
        except RigError as error:
            pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Give a cluster that has the three images."""
    with RealCluster(images=node_images()) as cluster:
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
    with applied(site, team, digits("undisturbed")) as job:
        job.until_complete()
        assert job.restarts() == {}
        return job.weights(tmp_path_factory.mktemp("undisturbed"))
