"""Which values the chart refuses, and in which words."""

import re
from pathlib import Path

import pytest
import yaml

from helms import CHART, IMAGES, Helm, HelmError, sets

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
    "an amount with a capital k": ("operator.resources.limits.memory=512K", "/operator/resources/limits/memory"),
    "an amount of jobs with a capital k": ("jobs.students.sharedMemory=512K", "/jobs/students/sharedMemory"),
    "a misspelled source of a volume": (
        "jobs.students.volumes[0].name=a,jobs.students.volumes[0].persistentVolumeClam.claimName=b",
        "persistentVolumeClam",
    ),
    "a volume without a name": ("jobs.students.volumes[0].emptyDir.medium=Memory", "/jobs/students/volumes/0"),
    "a misspelled user": ("jobs.students.securityContext.runAsUsr=1", "runAsUsr"),
    "a misspelled spread": ("jobs.aggregator.topologySpreadConstraints[0].maxSkw=1", "maxSkw"),
    "a misspelled source of a variable": (
        "jobs.students.env[0].name=A,jobs.students.env[0].valueFrom.secretKeyReff.name=b",
        "secretKeyReff",
    ),
    "a misspelled source of variables": ("jobs.students.envFrom[0].secretReff.name=a", "secretReff"),
    "a misspelled term deep in an affinity": (
        "operator.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerm=a",
        "nodeSelectorTerm",
    ),
    "a variable that the chart sets": (
        "operator.extraEnv[0].name=DISTILLJOB_OPERATOR_WORKERS,operator.extraEnv[0].value=a",
        "/operator/extraEnv/0/name",
    ),
}
RIGHT = """
jobs:
  students:
    sharedMemory: 512Ki
    resources: {limits: {cpu: 2, memory: 16Gi, ephemeral-storage: 500k}}
    volumes:
      - {name: data, persistentVolumeClaim: {claimName: data, readOnly: true}}
      - {name: scratch, emptyDir: {sizeLimit: 10Gi}}
      - {name: node, hostPath: {path: /x, type: Directory}}
      - {name: share, nfs: {server: a, path: /b}}
      - {name: driver, csi: {driver: a, volumeAttributes: {b: c}}}
      - name: many
        projected: {sources: [{secret: {name: a, items: [{key: a, path: b}]}}, {configMap: {name: b}}]}
      - name: own
        ephemeral:
          volumeClaimTemplate:
            metadata: {labels: {a: b}}
            spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
    securityContext: {runAsUser: 1000, supplementalGroups: [1], seccompProfile: {type: RuntimeDefault}}
    topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}
    env:
      - {name: A, valueFrom: {secretKeyRef: {name: a, key: b, optional: true}}}
      - {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1}}}
    envFrom: [{prefix: A_, secretRef: {name: a}}]
    affinity:
      podAntiAffinity:
        preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 1
            podAffinityTerm: {topologyKey: zone, labelSelector: {matchExpressions: [{key: a, operator: Exists}]}}
operator:
  extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
"""


@pytest.mark.parametrize("what", WRONG)
def test_values_refuse(helm_4: Helm, what: str):
    given, named = WRONG[what]
    with pytest.raises(HelmError, match=re.escape(named)):
        helm_4("template", "x", str(CHART), *sets(IMAGES), f"--set={given}")


def test_what_kubernetes_knows_is_taken(helm_of_users: Helm, tmp_path: Path):
    file = tmp_path / "values.yaml"
    file.write_text(RIGHT)
    text = helm_of_users("template", "x", str(CHART), *sets(IMAGES), f"--values={file}")
    (defaults,) = (
        each["data"] for each in yaml.safe_load_all(text) if each and "pod-defaults.yaml" in each.get("data", {})
    )
    assert yaml.safe_load(defaults["pod-defaults.yaml"])["students"] == yaml.safe_load(RIGHT)["jobs"]["students"]


def test_prometheus_as_a_source_needs_its_address(helm_4: Helm):
    with pytest.raises(HelmError, match=r"operator\.progress\.prometheusUrl is empty"):
        helm_4.render(**{"operator.progress.source": "Prometheus"})


def test_an_address_of_prometheus_is_refused_where_nobody_asks_it(helm_4: Helm):
    with pytest.raises(HelmError, match=r"operator\.progress\.prometheusUrl is set, and nobody asks it"):
        helm_4.render(**{"operator.progress.prometheusUrl": "http://prometheus:9090"})


def test_whoever_reads_progress_through_the_api_server_cannot_shut_it_out(helm_4: Helm):
    values = {"networkPolicy.metricsFrom.matchLabels.a": "b", "operator.progress.aggregatorUrl": "proxy"}
    with pytest.raises(HelmError, match=r"networkPolicy\.metricsFrom shuts out the API server"):
        helm_4.render(**values)


def test_own_namespace_and_a_list_of_them_exclude_each_other(helm_4: Helm):
    with pytest.raises(HelmError, match=r"watch\.ownNamespace and watch\.namespaces exclude each other"):
        helm_4.render(**{"watch.ownNamespace": "true", "watch.namespaces": "{a}"})
