"""What the chart makes, what it refuses, and in which words."""

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from helms import CHART, EVERYTHING, IMAGES, MONITORS, ROOT, TOOLS, Helm, HelmError, sets

WRONG = {
    "a misspelled value": ("operator.wrkers=2", "wrkers"),
    "a misspelled block": ("operators.workers=2", "operators"),
    "an unknown image": ("images.student.repository=a", "student"),
    "no workers": ("operator.workers=0", "/operator/workers"),
    "too many workers": ("operator.workers=257", "/operator/workers"),
    "workers in words": ("operator.workers=many", "/operator/workers"),
    "polls without a pause": ("operator.pollSeconds=0", "/operator/pollSeconds"),
    "polls that never come": ("operator.pollSeconds=301", "/operator/pollSeconds"),
    "an unknown log format": ("operator.logFormat=xml", "/operator/logFormat"),
    "an unknown source": ("operator.progress.source=prometheus", "/operator/progress/source"),
    "an address without a scheme": (
        "operator.progress.prometheusUrl=prom:9090",
        "/operator/progress/prometheusUrl",
    ),
    "another address without a scheme": ("operator.progress.aggregatorUrl=pods", "/operator/progress/aggregatorUrl"),
    "an unknown pull policy": ("images.pullPolicy=Sometimes", "/images/pullPolicy"),
    "a tag with a colon": ("images.operator.tag=a:b", "/images/operator/tag"),
    "a digest that is none": ("images.operator.digest=sha256:1", "/images/operator/digest"),
    "pull secrets as one word": ("images.pullSecrets=registry", "/images/pullSecrets"),
    "a namespace with capitals": ("watch.namespaces={Team}", "/watch/namespaces/0"),
    "namespaces as one word": ("watch.namespaces=team", "/watch/namespaces"),
    "a switch in words": ("crds.enabled=yes", "/crds/enabled"),
    "an interval without a unit": ("monitoring.podMonitor.interval=15", "/monitoring/podMonitor/interval"),
    "a monitor that is a switch": ("monitoring.serviceMonitor=true", "/monitoring/serviceMonitor"),
    "resources beside requests": ("operator.resources.memory=1Gi", "memory"),
    "an amount that is none": ("operator.resources.limits.memory=1GB", "/operator/resources/limits/memory"),
    "tolerations as a block": ("operator.tolerations.key=gpu", "/operator/tolerations"),
    "a node selector as a list": ("operator.nodeSelector={gpu}", "/operator/nodeSelector"),
    "labels that are no words": ("monitoring.additionalLabels.release.name=a", "/monitoring/additionalLabels/release"),
    "a namespace selector with a typo": ("networkPolicy.metricsFrom.matchLabel.a=b", "matchLabel"),
    "a misspelled field of jobs' pods": ("jobs.students.nodeSelectr.a=b", "nodeSelectr"),
    "a misspelled role": ("jobs.student.nodeSelector.a=b", "student"),
    "a node selector of jobs that is a word": ("jobs.students.nodeSelector=gpu", "/jobs/students/nodeSelector"),
    "a grace period in words": ("jobs.students.terminationGracePeriodSeconds=long", "terminationGracePeriodSeconds"),
    "an unknown pull policy of jobs": ("jobs.aggregator.imagePullPolicy=Maybe", "/jobs/aggregator/imagePullPolicy"),
    "a repository with its tag": ("images.trainer.repository=example.com/trainer:1", "/images/trainer/repository"),
    "a misspelled field of a toleration": ("operator.tolerations[0].efect=NoSchedule", "efect"),
    "an unknown effect": ("operator.tolerations[0].effect=NoRun", "/operator/tolerations/0/effect"),
    "an unknown affinity": ("operator.affinity.nodeAfinity.a=b", "nodeAfinity"),
    "a variable that is a number": ("operator.extraEnv[0].name=A,operator.extraEnv[0].value=1", "extraEnv/0/value"),
    "a variable without a name": ("operator.extraEnv[0].value=a", "/operator/extraEnv/0"),
    "an account with capitals": ("serviceAccount.name=Operator", "/serviceAccount/name"),
    "an amount of jobs that is none": ("jobs.students.resources.limits.memory=9GB", "students/resources/limits/memory"),
    "a variable of jobs that is a number": ("jobs.students.env[0].name=A,jobs.students.env[0].value=1", "env/0/value"),
    "a mount without a place": ("jobs.students.volumeMounts[0].name=a", "/jobs/students/volumeMounts/0"),
    "GPUs for aggregators": ("jobs.aggregator.gpuResourceName=amd.com/gpu", "gpuResourceName"),
}
VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36")


def kinds(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def test_lint_finds_nothing_to_complain_about(helm_of_users: Helm):
    assert "0 chart(s) failed" in helm_of_users("lint", "--strict", str(CHART), *sets(IMAGES))


@pytest.mark.parametrize("what", WRONG)
def test_values_refuse(helm_4: Helm, what: str):
    given, named = WRONG[what]
    with pytest.raises(HelmError, match=re.escape(named)):
        helm_4("template", "x", str(CHART), *sets(IMAGES), f"--set={given}")


def test_both_versions_of_helm_refuse_and_render_alike(helm_of_users: Helm, helm_4: Helm):
    assert helm_of_users.render(*MONITORS, **EVERYTHING) == helm_4.render(*MONITORS, **EVERYTHING)
    with pytest.raises(HelmError, match="wrkers"):
        helm_of_users.render(**{"operator.wrkers": "2"})


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


def test_prometheus_as_a_source_needs_its_address(helm_4: Helm):
    with pytest.raises(HelmError, match=r"operator\.progress\.prometheusUrl is empty"):
        helm_4.render(**{"operator.progress.source": "Prometheus"})


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


def test_own_namespace_and_a_list_of_them_exclude_each_other(helm_4: Helm):
    with pytest.raises(HelmError, match=r"watch\.ownNamespace and watch\.namespaces exclude each other"):
        helm_4.render(**{"watch.ownNamespace": "true", "watch.namespaces": "{a}"})


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
    assert chart["version"] == chart["appVersion"] == version("distilljob")


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
