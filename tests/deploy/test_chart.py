"""What the chart makes, what it refuses, and in which words."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helms import CHART, EVERYTHING, IMAGES, MONITORS, ROOT, TOOLS, Helm, HelmError, sets

VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36")


def kinds(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def test_lint_finds_nothing_to_complain_about(helm_of_users: Helm):
    assert "0 chart(s) failed" in helm_of_users("lint", "--strict", str(CHART), *sets(IMAGES))


def test_both_versions_of_helm_refuse_and_render_alike(helm_of_users: Helm, helm_4: Helm):
    assert helm_of_users.render(*MONITORS, **EVERYTHING) == helm_4.render(*MONITORS, **EVERYTHING)
    with pytest.raises(HelmError, match="wrkers"):
        helm_of_users.render(**{"operator.wrkers": "2"})
    with pytest.raises(HelmError, match="runAsUsr"):
        helm_of_users.render(**{"jobs.students.securityContext.runAsUsr": "2"})


@pytest.mark.parametrize("part", ["operator", "aggregator", "trainer"])
def test_an_image_without_a_repository_is_named(helm_of_users: Helm, part: str):
    with pytest.raises(HelmError, match=rf"images\.{part}\.repository is empty: name the repository"):
        helm_of_users.render(**{f"images.{part}.repository": ""})


@pytest.mark.parametrize(
    "value", ["monitoring.serviceMonitor.enabled", "monitoring.podMonitor.enabled", "monitoring.rules.enabled"]
)
def test_what_needs_the_prometheus_operator_says_so_where_there_is_none(helm_of_users: Helm, value: str):
    with pytest.raises(HelmError, match=rf"{re.escape(value)} needs the Prometheus Operator"):
        helm_of_users.render(**{value: "true"})
    assert helm_of_users.render(*MONITORS, **{value: "true"})


def test_names_fit_the_longest_name_of_a_release(helm_4: Helm):
    text = helm_4("template", "r" * 53, str(CHART), *MONITORS, *sets(IMAGES | EVERYTHING))
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(text) if each}
    assert len(names) > 10
    assert max(map(len, names)) <= 63


def test_by_default_the_operator_serves_the_whole_cluster(helm_4: Helm):
    objects = helm_4.render()
    assert "distilljob-operator" in [role["metadata"]["name"] for role in kinds(objects, "ClusterRole")]
    assert "DISTILLJOB_OPERATOR_NAMESPACE" not in environment(objects)


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [({"watch.ownNamespace": "true"}, ["system"]), ({"watch.namespaces": "{team-a,team-b}"}, ["team-a", "team-b"])],
    ids=["own", "listed"],
)
def test_the_operator_of_namespaces_has_rights_in_them_alone(helm_4: Helm, values: dict[str, str], namespaces):
    objects = helm_4.render(**values)
    assert not kinds(objects, "ClusterRole")
    assert not kinds(objects, "ClusterRoleBinding")
    roles = [role for role in kinds(objects, "Role") if role["metadata"]["name"] == "distilljob-operator"]
    assert [role["metadata"]["namespace"] for role in roles] == namespaces
    assert environment(objects)["DISTILLJOB_OPERATOR_NAMESPACE"] == ",".join(namespaces)


def test_rights_are_those_that_the_audit_log_was_compared_with(helm_4: Helm):
    raw = [each for each in yaml.safe_load_all((ROOT / "deploy/manifests/rbac.yaml").read_text()) if each]
    (wanted,) = kinds(raw, "ClusterRole")
    rendered = kinds(helm_4.render(), "ClusterRole")[0]
    assert rendered["rules"] == wanted["rules"]
    (lease,) = (role["rules"] for role in kinds(raw, "Role"))
    own = kinds(helm_4.render(**{"watch.ownNamespace": "true"}), "Role")
    assert [role["rules"] for role in own if "helm.sh/hook" not in role["metadata"].get("annotations", {})] == [
        wanted["rules"],
        lease,
    ]


def test_progress_through_the_api_server_needs_one_more_right(helm_4: Helm):
    without, rules = (
        kinds(helm_4.render(**values), "ClusterRole")[0]["rules"]
        for values in ({}, {"operator.progress.aggregatorUrl": "proxy"})
    )
    assert rules == [*without, {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]


@pytest.mark.parametrize(
    ("namespaces", "served"), [("null", "system"), ("{a,system}", "system"), ("{a,b}", "a")], ids=str
)
def test_helm_test_runs_its_job_where_the_operator_sees_it(helm_4: Helm, namespaces: str, served: str):
    hooks = [
        each
        for each in helm_4.render(**{"watch.namespaces": namespaces})
        if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"
    ]
    assert {each["kind"] for each in hooks} == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Pod"}
    assert {each["metadata"]["namespace"] for each in hooks} == {served}
    (pod,) = kinds(hooks, "Pod")
    assert pod["spec"]["containers"][0]["command"][-1] == served


def test_the_readme_tells_of_every_value():
    told = set(re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE))
    assert told == set(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Name the values that are documented one by one."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "resources":
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_the_chart_has_the_version_of_its_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == package["version"]
    shown = subprocess.run(["make", "-s", "-n", "images"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"--build-arg VERSION={chart['appVersion']} --tag distilljob-$part:{chart['appVersion']}" in shown


def test_the_custom_resource_is_kept_unless_somebody_says_otherwise(helm_4: Helm):
    (crd,) = kinds(helm_4.render(), "CustomResourceDefinition")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["spec"] == yaml.safe_load((ROOT / "deploy/crds/distilljobs.yaml").read_text())["spec"]
    (crd,) = kinds(helm_4.render(**{"crds.keep": "false"}), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in crd["metadata"].get("annotations", {})
    assert not kinds(helm_4.render(**{"crds.enabled": "false"}), "CustomResourceDefinition")


def test_defaults_for_jobs_reach_the_operator_and_change_its_pod(helm_4: Helm):
    values = {"jobs.students.nodeSelector.pool": "gpu", "jobs.aggregator.priorityClassName": "high"}
    pods = pod_defaults(helm_4.render(**values))
    assert pods == {"students": {"nodeSelector": {"pool": "gpu"}}, "aggregator": {"priorityClassName": "high"}}
    before, after = (kinds(helm_4.render(**given), "Deployment")[0] for given in ({}, values))
    assert before["spec"]["template"] != after["spec"]["template"]


def test_annotations_for_scraping_reach_every_pod_and_give_way_to_given_ones(helm_4: Helm):
    values = {"monitoring.scrapeAnnotations": "true", "jobs.students.annotations.prometheus\\.io/path": "/own"}
    objects = helm_4.render(**values)
    (operator,) = kinds(objects, "Deployment")
    assert operator["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    pods = pod_defaults(objects)
    assert pods["aggregator"]["annotations"]["prometheus.io/port"] == "8471"
    assert pods["students"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8471",
        "prometheus.io/path": "/own",
    }


def test_metrics_are_open_to_the_namespaces_that_are_selected(helm_4: Helm):
    (policy,) = kinds(helm_4.render(**{"networkPolicy.metricsFrom.matchLabels.name": "monitoring"}), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    assert not kinds(helm_4.render(**{"networkPolicy.enabled": "false"}), "NetworkPolicy")


def test_the_same_namespaces_may_read_metrics_of_jobs(helm_4: Helm):
    told = environment(helm_4.render(**{"networkPolicy.metricsFrom.matchLabels.name": "monitoring"}))
    assert json.loads(told["DISTILLJOB_OPERATOR_METRICS_FROM"]) == {"matchLabels": {"name": "monitoring"}}
    assert "DISTILLJOB_OPERATOR_METRICS_FROM" not in environment(helm_4.render())


def test_further_labels_and_annotations_never_repeat_those_of_the_chart(helm_of_users: Helm):
    taken, own = "app\\.kubernetes\\.io/component", "checksum/pod-defaults"
    values = {
        "operator.podLabels.team": "a",
        f"operator.podLabels.{taken}": "mine",
        f"operator.podAnnotations.{own}": "mine",
    }
    values |= {f"monitoring.additionalLabels.{taken}": "mine", "monitoring.additionalLabels.release": "b"}
    objects = helm_of_users.render(*MONITORS, **EVERYTHING, **values)
    (deployment,) = kinds(objects, "Deployment")
    pod = deployment["spec"]["template"]["metadata"]
    assert (pod["labels"]["app.kubernetes.io/component"], pod["labels"]["team"]) == ("operator", "a")
    assert len(pod["annotations"][own]) == 64
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        (made,) = kinds(objects, kind)
        assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
        assert made["metadata"]["labels"]["release"] == "b"


def test_dashboards_and_rules_are_the_files_of_the_chart(helm_4: Helm):
    objects = helm_4.render(*MONITORS, **EVERYTHING)
    (rule,) = kinds(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "rules.yaml").read_text())
    for name in ("fleet", "job"):
        (found,) = named(objects, f"dashboard-{name}")
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"]["grafana_folder"] == "distilljob"
        shown = json.loads(found["data"][f"distilljob-{name}.json"])
        assert shown == json.loads((CHART / f"dashboards/{name}.json").read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_of_kubernetes(helm_4: Helm, tmp_path: Path, version: str):
    objects = [
        each
        for values in (EVERYTHING, {"watch.namespaces": "{a,b}"})
        for each in helm_4.render(*MONITORS, **values)
        if not each["apiVersion"].startswith(("monitoring.coreos.com", "apiextensions.k8s.io"))
    ]
    assert len(objects) > 20
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(objects))
    command = [str(TOOLS / "bin/kubernetes-validate"), "--strict", "--no-warn", f"--kubernetes-version={version}"]
    ended = subprocess.run([*command, str(rendered)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def named(objects: list[dict[str, Any]], end: str) -> list[dict[str, Any]]:
    return [each for each in kinds(objects, "ConfigMap") if each["metadata"]["name"].endswith(end)]


def pod_defaults(objects: list[dict[str, Any]]) -> Any:
    """Give what the operator reads about jobs' pods."""
    (settings,) = named(objects, "pod-defaults")
    return yaml.safe_load(settings["data"]["pod-defaults.yaml"])


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Give the variables of the operator."""
    (deployment,) = kinds(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}
