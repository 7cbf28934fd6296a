"""Upgrading and uninstalling a release under a live job."""

from pathlib import Path

import pytest

from real.images import operator_image
from real.jobs import applied, digits
from real.release import NAMESPACE, Release
from real.site import ROOT, Site, until

pytestmark = pytest.mark.timeout(900)
FIRST_CHART = ROOT / "tests/e2e/charts/distilljob-first.tgz"
"""The chart as packaged at its first working commit."""
OTHER_TAG = "e2e-other"
KINDS = (
    "pods,services,deployments,replicasets,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,leases"
)
CLUSTER_KINDS = "clusterroles,clusterrolebindings,customresourcedefinitions"


def test_an_upgrade_from_the_first_chart_changes_no_pod_of_a_live_job(site: Site, release: Release, team: str):
    site.cluster.import_image(operator_image(OTHER_TAG))
    release.uninstall()
    release.install(chart=FIRST_CHART)
    with applied(site, team, digits("upgraded")) as job:
        job.until_at_work("mlp")
        before, operator = job.student_uids(), release.operator_pod
        release.install(f"--set=images.operator.tag={OTHER_TAG}")
        assert release.operator_pod != operator
        observed = f'distilljob_job_progress_observable{{distilljob="{job.name}",namespace="{team}"}} 1.0'
        until(lambda: observed in release.operator_metrics(), "sight of the new operator")
        assert job.student_uids() == before
        job.until_complete()
        assert job.student_uids() == before
        assert job.restarts() == {}


def test_uninstalling_leaves_jobs_and_their_results_and_nothing_else(
    site: Site, release: Release, team: str, tmp_path: Path
):
    with applied(site, team, digits("left")) as job:
        job.until_at_work("mlp")
        before = job.student_uids()
        release.uninstall()
        try:
            until(lambda: left_of(site) == LEFT, "end of the release's objects", 60)
            assert job.student_uids() == before, "pods go on without their operator"
        finally:
            release.install()
        job.until_complete()
        assert job.restarts() == {}
        assert job.weights(tmp_path)


LEFT = {
    "customresourcedefinition.apiextensions.k8s.io/distilljobs.distilljob.dev",
    "lease.coordination.k8s.io/distilljob-operator",
    "configmap/kube-root-ca.crt",  # every namespace has this one and the next
    "serviceaccount/default",
}


def left_of(site: Site) -> set[str]:
    """Name all that a release may have made: in its namespace, and by its name in the cluster."""
    own = site.kubectl("get", KINDS, f"--namespace={NAMESPACE}", "--output=name").split()
    everywhere = site.kubectl("get", CLUSTER_KINDS, "--output=name").split()
    return {*own, *(name for name in everywhere if "distilljob" in name)}
