"""The trainer's image as users build it, with torch: one job on it. Gigabytes and minutes, so only where asked for."""

import pytest

from real.images import name, trainer_image
from real.jobs import DIGITS, Job
from real.release import Release, own_packages
from real.site import Site

pytestmark = pytest.mark.timeout(1800)


def test_the_image_with_torch_runs_the_first_example(site: Site, release: Release, team: str):
    site.cluster.import_image(trainer_image())
    image, _, tag = name("trainer", "full").rpartition(":")
    release.install(f"--set=images.trainer.repository={image}", f"--set=images.trainer.tag={tag}", jobs=own_packages())
    job = Job(site, team, "full")
    job.kubectl("apply", "--filename=-", stdin=DIGITS.read_text().replace("name: digits\nspec", "name: full\nspec"))
    job.until_complete()
    assert job.status["result"]["accuracy"] >= 0.95
    assert job.restarts() == {}
    job.delete()
    release.install()
