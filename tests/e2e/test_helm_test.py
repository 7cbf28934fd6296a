"""`helm test`: the release's own job of seconds."""

import pytest

from real.release import NAME, NAMESPACE, Release
from real.site import PACKAGES, Site, until

pytestmark = pytest.mark.timeout(600)


def test_helm_test_runs_a_job_to_its_result_and_leaves_nothing(site: Site, release: Release):
    site.add_packages(NAMESPACE)  # students are slim here and need them
    said = site.helm("test", NAME, f"--namespace={NAMESPACE}", "--timeout=300s")
    assert "Succeeded" in said
    assert site.kubectl("get", "distilljobs", f"--namespace={NAMESPACE}", "--output=name").split() == []
    claims = ("get", "pvc", f"--namespace={NAMESPACE}", "--output=name")
    until(lambda: site.kubectl(*claims).split() == [f"persistentvolumeclaim/{PACKAGES}"], "end of the job's claims", 30)
