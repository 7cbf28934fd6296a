"""The chart on a real control plane: installed, upgraded and uninstalled by both versions of Helm."""

from collections.abc import Iterator

import pytest

from helms import CHART, IMAGES, ROOT, Helm, sets
from rig.build import RigError
from rig.control_plane import ControlPlane

RELEASE = "distilljob"
CRD = "distilljobs.distilljob.dev"
MADE = (
    "deployments,services,configmaps,serviceaccounts,networkpolicies,"
    "roles,rolebindings,clusterroles,clusterrolebindings"
)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Give a control plane of this file's own: a release is for the whole cluster."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture
def namespace(plane: ControlPlane, helm_of_users: Helm, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a namespace that enforces the restricted standard."""
    name = "system-3" if "helm3" in request.node.name else "system-4"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
    plane.kubectl("delete", "crd", CRD, "--ignore-not-found")


def test_a_release_comes_changes_and_goes(plane: ControlPlane, helm_of_users: Helm, namespace: str):
    user = {"KUBECONFIG": str(plane.kubeconfig()), "HOME": str(plane.folder)}
    release = ("upgrade", "--install", RELEASE, str(CHART), f"--namespace={namespace}", *sets(IMAGES), "--wait")
    helm_of_users(*release, "--timeout=60s", **user)
    assert plane.kubectl("get", "crd", CRD)
    pods = plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=name").split()
    assert len(pods) == 1, "the restricted standard lets the operator's pod in"
    helm_of_users(*release, "--timeout=60s", "--set=operator.workers=3", **user)
    assert 'value: "3"' in plane.kubectl("get", "deployment", "distilljob-operator", f"-n={namespace}", "-o=yaml")
    plane.kubectl("apply", f"--namespace={namespace}", f"--filename={ROOT / 'examples/01-digits.yaml'}")
    helm_of_users("uninstall", RELEASE, f"--namespace={namespace}", "--wait", **user)
    left = plane.kubectl(
        "get", MADE, f"--namespace={namespace}", "--selector=app.kubernetes.io/part-of=distilljob", "-oname"
    )
    assert left.split() == []
    assert "digits" in plane.kubectl("get", "distilljobs", f"--namespace={namespace}"), "jobs stay with their resource"


def test_the_raw_manifests_are_accepted_as_they_are(plane: ControlPlane):
    plane.kubectl("apply", "--server-side", f"--filename={ROOT / 'deploy/manifests/install.yaml'}")
    assert "distilljob-operator" in plane.kubectl("get", "deployments", "--namespace=distilljob-system")
    with pytest.raises(RigError, match="NotFound"):
        plane.kubectl("get", "pod", "distilljob-test", "--namespace=distilljob-system")
