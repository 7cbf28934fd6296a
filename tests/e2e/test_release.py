"""Upgrading and uninstalling a release under a live job."""

from pathlib import Path

import pytest

from real.images import operator_image
from real.jobs import Job, digits
from real.release import NAME, Release
from real.site import ROOT, Site, until

pytestmark = pytest.mark.timeout(900)
FIRST_CHART = ROOT / "tests/e2e/charts/distilljob-first.tgz"
"""The chart as packaged at its first working commit."""
OTHER_TAG = "e2e-other"


def test_an_upgrade_from_the_first_chart_changes_no_pod_of_a_live_job(site: Site, release: Release, team: str):
    release.uninstall()
    release.install(chart=FIRST_CHART)
    job = Job(site, team, "upgraded")
    job.apply(digits(job.name))
    job.until_at_work("mlp", cycle=1)
    before, operator = job.uids(), release.operator_pod
    site.cluster.import_image(operator_image(OTHER_TAG))
    release.install(f"--set=images.operator.tag={OTHER_TAG}")
    assert release.operator_pod != operator
    until(lambda: job.condition("ProgressObservable").get("status") == "True", "sight of the new operator")
    assert job.uids() == before
    job.until_complete()
    assert job.uids() == before
    assert job.restarts() == {}
    job.delete()


def test_uninstalling_leaves_jobs_and_their_results_and_nothing_else(
    site: Site, release: Release, team: str, tmp_path: Path
):
    job = Job(site, team, "left")
    job.apply(digits(job.name))
    job.until_at_work("mlp", cycle=1)
    before = job.uids()
    release.uninstall()
    kinds = "all,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies"
    selector = f"--selector=app.kubernetes.io/instance={NAME},app.kubernetes.io/managed-by=Helm"
    left = ("get", kinds, "--all-namespaces", selector, "--output=name")
    until(lambda: not site.kubectl(*left).split(), "end of the release's objects", 60)
    assert "distilljobs.distilljob.dev" in site.kubectl("get", "crd", "--output=name")
    assert job.uids() == before, "pods go on without their operator"
    release.install()
    job.until_complete()
    assert set(job.weights(tmp_path))
    job.delete()
