"""The trainer's image as users build it, with torch: one job on it.

It takes gigabytes and minutes, so it is run where a Dockerfile or a lock file of it has changed, and where asked for.
"""

import pytest

from real.images import full_trainer_image, name, write_full_image_proof
from real.jobs import applied, example
from real.release import Release, own_packages
from real.site import Site

pytestmark = pytest.mark.timeout(1800)


def test_the_image_with_torch_runs_the_first_example(site: Site, release: Release, team: str):
    with full_trainer_image() as archive:
        site.cluster.import_image(archive)
    image, _, tag = name("trainer", "full").rpartition(":")
    release.install(f"--set=images.trainer.repository={image}", f"--set=images.trainer.tag={tag}", jobs=own_packages())
    try:
        with applied(site, team, example("full")) as job:
            job.until_complete()
            assert job.status["result"]["accuracy"] >= 0.95
            assert job.restarts() == {}
    finally:
        release.install()
    write_full_image_proof()
