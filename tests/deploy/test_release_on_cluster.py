"""The chart on a real control plane: installed, upgraded and uninstalled by both versions of Helm."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from helms import CHART, IMAGES, ROOT, Helm, HelmError, sets
from rig.build import RigError
from rig.control_plane import ControlPlane

RELEASE = "distilljob"
CRD = "distilljobs.distilljob.dev"
FIRST_CHART = ROOT / "tests/e2e/charts/distilljob-first.tgz"
"""The chart as packaged at its first working commit."""
MADE = (
    "deployments,services,configmaps,serviceaccounts,networkpolicies,"
    "roles,rolebindings,clusterroles,clusterrolebindings"
)
ALL_MONITORS = {f"monitoring.{name}.enabled": "true" for name in ("serviceMonitor", "podMonitor", "rules")}


class Releases:
    """What is installed, upgraded and uninstalled in namespaces that enforce the restricted standard."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.user = {"KUBECONFIG": str(plane.kubeconfig()), "HOME": str(plane.folder)}

    def namespace(self, name: str) -> str:
        self.plane.kubectl("create", "namespace", name)
        self.plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        return name

    def install(self, helm: Helm, namespace: str, chart: object = CHART, **values: str) -> str:
        """Install or upgrade, wait until the operator is ready, and return the notes."""
        release = ("upgrade", "--install", RELEASE, str(chart), f"--namespace={namespace}")
        return helm(*release, "--wait", "--timeout=60s", *sets(IMAGES | values), **self.user)

    def uninstall(self, helm: Helm, namespace: str) -> None:
        helm("uninstall", RELEASE, f"--namespace={namespace}", "--wait", **self.user)

    def workers(self, namespace: str) -> str:
        """Read a setting of the operator."""
        path = '{..env[?(@.name=="DISTILLJOB_OPERATOR_WORKERS")].value}'
        return self.plane.kubectl("get", "deployment", "distilljob-operator", f"-n={namespace}", f"-o=jsonpath={path}")

    def may(self, user: str, verb: str, resource: str, namespace: str, *, group: str = "") -> bool:
        """Ask the API server whether a user may do something."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {"verb": verb, "resource": resource, "group": group, "namespace": namespace},
            },
        }
        answer = self.plane.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(review))
        return bool(json.loads(answer)["status"]["allowed"])


@pytest.fixture(scope="module")
def releases() -> Iterator[Releases]:
    """Give a control plane of this file's own: a release is for the whole cluster."""
    with ControlPlane() as plane:
        yield Releases(plane)


@pytest.fixture(autouse=True)
def _without_custom_resource(releases: Releases) -> Iterator[None]:
    yield
    releases.plane.kubectl("delete", "crd", CRD, "--ignore-not-found")


def test_a_release_comes_changes_goes_and_finds_its_jobs_when_it_comes_again(releases: Releases, helm_of_users: Helm):
    namespace = releases.namespace(f"system-{helm_of_users.major}")
    releases.install(helm_of_users, namespace)
    pods = releases.plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=name").split()
    assert len(pods) == 1, "the restricted standard lets the operator's pod in"
    releases.install(helm_of_users, namespace, **{"operator.workers": "3"})
    assert releases.workers(namespace) == "3"
    releases.install(helm_of_users, namespace, **{"crds.enabled": "false"})
    assert releases.plane.kubectl("get", "crd", CRD, "--output=name"), "who no longer installs it keeps it"
    releases.plane.kubectl("apply", f"--namespace={namespace}", f"--filename={ROOT / 'examples/01-digits.yaml'}")
    releases.uninstall(helm_of_users, namespace)
    selector = "--selector=app.kubernetes.io/part-of=distilljob"
    assert releases.plane.kubectl("get", MADE, "--all-namespaces", selector, "-oname").split() == []
    assert "digits" in releases.plane.kubectl("get", "distilljobs", f"--namespace={namespace}")
    releases.install(helm_of_users, namespace)
    assert "digits" in releases.plane.kubectl("get", "distilljobs", f"--namespace={namespace}")
    releases.uninstall(helm_of_users, namespace)


def test_a_release_that_would_take_its_jobs_along_does_not_let_the_custom_resource_go(
    releases: Releases, helm_of_users: Helm
):
    namespace = releases.namespace(f"not-kept-{helm_of_users.major}")
    releases.install(helm_of_users, namespace, **{"crds.keep": "false"})
    for values in ({"crds.keep": "false"}, {}):
        with pytest.raises(HelmError, match=r"crds\.enabled=false would delete the CRD"):
            releases.install(helm_of_users, namespace, **values, **{"crds.enabled": "false"})
    assert releases.plane.kubectl("get", "crd", CRD, "--output=name")
    releases.install(helm_of_users, namespace)
    releases.install(helm_of_users, namespace, **{"crds.enabled": "false"})
    assert releases.plane.kubectl("get", "crd", CRD, "--output=name")
    releases.uninstall(helm_of_users, namespace)


def test_a_second_release_for_another_namespace_leaves_the_custom_resource_to_the_first(
    releases: Releases, helm_4: Helm
):
    first, second = (releases.namespace(f"{which}-of-two") for which in ("first", "second"))
    own = {"watch.ownNamespace": "true"}
    releases.install(helm_4, first, **own)
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        releases.install(helm_4, second, **own)
    releases.install(helm_4, second, **own, **{"crds.enabled": "false"})
    releases.uninstall(helm_4, second)
    assert releases.plane.kubectl("get", "crd", CRD, "--output=name")
    releases.uninstall(helm_4, first)


def test_helm_4_goes_on_with_a_release_of_helm_3_and_of_the_first_chart(releases: Releases, helm_3: Helm, helm_4: Helm):
    namespace = releases.namespace("from-3-to-4")
    releases.install(helm_3, namespace, FIRST_CHART)
    assert releases.workers(namespace) == "16"
    releases.install(helm_4, namespace, **{"operator.workers": "5"})
    assert releases.workers(namespace) == "5"
    releases.uninstall(helm_4, namespace)


def test_the_pod_of_helm_test_meets_the_restricted_standard(releases: Releases, helm_4: Helm):
    namespace = releases.namespace("test-pod")
    releases.plane.kubectl("create", "serviceaccount", "distilljob-test", f"--namespace={namespace}")
    (pod,) = [each for each in helm_4.render() if each["kind"] == "Pod"]
    pod["metadata"]["namespace"] = namespace
    dry = ("create", "--dry-run=server", "--filename=-")
    assert "created (server dry run)" in releases.plane.kubectl(*dry, stdin=json.dumps(pod))
    del pod["spec"]["securityContext"]["seccompProfile"]
    with pytest.raises(RigError, match="violates PodSecurity"):
        releases.plane.kubectl(*dry, stdin=json.dumps(pod))


def test_the_notes_warn_of_what_is_left_to_do(releases: Releases, helm_of_users: Helm):
    namespace = releases.namespace(f"notes-{helm_of_users.major}")
    unusual = {"rbac.create": "false", "crds.keep": "false", "watch.ownNamespace": "true"}
    notes = releases.install(helm_of_users, namespace, **unusual)
    assert f"serves the namespaces {namespace}." in notes
    assert f"kubectl apply --namespace {namespace} -f examples/01-digits.yaml" in notes
    for warning in ("crds.keep is false", "rbac.create is false", "Nothing tells a Prometheus"):
        assert warning in notes
    notes = releases.install(helm_of_users, namespace, **{"monitoring.scrapeAnnotations": "true"})
    assert "serves the whole cluster" in notes
    assert "is false" not in notes
    assert "Prometheus" not in notes
    releases.uninstall(helm_of_users, namespace)


def test_alerts_without_a_scraped_operator_are_warned_of(releases: Releases, helm_4: Helm):
    namespace = releases.namespace("alerts")
    releases.plane.apply(map(open_resource, ("ServiceMonitor", "PodMonitor", "PrometheusRule")))
    releases.plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    warning = "no Prometheus is told to scrape the operator"
    rules = {"monitoring.rules.enabled": "true"}
    assert warning in releases.install(helm_4, namespace, **rules)
    for value in ("monitoring.scrapeAnnotations", "monitoring.serviceMonitor.enabled"):
        assert warning not in releases.install(helm_4, namespace, **rules, **{value: "true"})
    releases.uninstall(helm_4, namespace)
    releases.plane.kubectl("delete", "crd", "--all")


@pytest.mark.parametrize(
    ("name", "values", "served"),
    [
        ("cluster", {}, {"cluster", "own", "listed", "listed-a", "listed-b", "default"}),
        ("own", {"watch.ownNamespace": "true"}, {"own"}),
        ("listed", {"watch.namespaces": "{listed-a,listed-b}"}, {"listed-a", "listed-b"}),
    ],
    ids=["cluster", "own", "listed"],
)
def test_an_operator_has_rights_where_it_serves_alone(
    releases: Releases, helm_4: Helm, name: str, values: dict[str, str], served: set[str]
):
    for namespace in (name, "listed-a", "listed-b"):
        releases.plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
    releases.install(helm_4, name, **values)
    user = f"system:serviceaccount:{name}:distilljob-operator"
    places = ("cluster", "own", "listed", "listed-a", "listed-b", "default")
    allowed = {place for place in places if releases.may(user, "create", "jobs", place, group="batch")}
    assert allowed == served
    lease = [place for place in places if releases.may(user, "update", "leases", place, group="coordination.k8s.io")]
    assert lease == [name]
    assert not any(releases.may(user, "get", "secrets", place) for place in places)
    releases.uninstall(helm_4, name)


def test_whoever_may_view_or_edit_a_namespace_may_do_the_same_with_its_jobs(releases: Releases, helm_4: Helm):
    namespace = releases.namespace("people")
    for role in ("view", "edit"):
        releases.plane.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", "-n=people")
    releases.install(helm_4, namespace)
    jobs = ("distilljobs", namespace)
    until(lambda: releases.may("view", "list", *jobs, group="distilljob.dev"))
    until(lambda: releases.may("edit", "create", *jobs, group="distilljob.dev"))
    assert releases.may("edit", "list", *jobs, group="distilljob.dev")
    assert not releases.may("view", "create", *jobs, group="distilljob.dev")
    assert not releases.may("edit", "update", "distilljobs/status", namespace, group="distilljob.dev")
    releases.uninstall(helm_4, namespace)


def until(allowed: Callable[[], bool]) -> None:
    """Ask again until the controller has put the roles together."""
    give_up_seconds = time.monotonic() + 30
    while not allowed():
        assert time.monotonic() < give_up_seconds
        time.sleep(0.1)


def test_monitors_need_the_prometheus_operator_that_the_cluster_is_asked_for(releases: Releases, helm_of_users: Helm):
    namespace = releases.namespace(f"monitors-{helm_of_users.major}")
    with pytest.raises(HelmError, match=r"monitoring\.\w+\.enabled needs the Prometheus Operator"):
        releases.install(helm_of_users, namespace, **ALL_MONITORS)
    releases.plane.apply(map(open_resource, ("ServiceMonitor", "PodMonitor", "PrometheusRule")))
    releases.plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    releases.install(helm_of_users, namespace, **ALL_MONITORS)
    found = releases.plane.kubectl("get", "servicemonitors,podmonitors,prometheusrules", f"-n={namespace}", "-oname")
    assert len(found.split()) == 3
    releases.uninstall(helm_of_users, namespace)
    releases.plane.kubectl("delete", "crd", "--all")


def open_resource(kind: str) -> dict[str, object]:
    """Describe a custom resource of the Prometheus Operator that takes anything."""
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def test_the_raw_manifests_are_accepted_as_they_are(releases: Releases):
    releases.plane.kubectl("apply", "--server-side", f"--filename={ROOT / 'deploy/manifests/install.yaml'}")
    releases.plane.kubectl(
        "wait", "deployment/distilljob-operator", "-n=distilljob-system", "--for=condition=Available"
    )
    assert "helm" not in (ROOT / "deploy/manifests/install.yaml").read_text().partition("---")[2].lower()
    with pytest.raises(RigError, match="NotFound"):
        releases.plane.kubectl("get", "pod", "distilljob-test", "--namespace=distilljob-system")
