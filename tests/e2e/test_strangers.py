"""Whoever is no student of a job cannot take part in its exchange.

The CNI plugin of this node enforces no NetworkPolicies, so nothing but mutual TLS is what keeps strangers out here; a
cluster whose CNI enforces them refuses the connection before.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from real import faults, intruder
from real.jobs import Job, digits
from real.release import TAG
from real.site import Site, until

pytestmark = pytest.mark.timeout(900)
SCRIPT = Path(intruder.__file__).read_text()
OUTSIDE = "outside"
TLS = "/var/run/distilljob/tls"
NEWER, SAME = "99", "1"


@pytest.fixture(scope="module")
def job(site: Site, team: str, undisturbed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Give a job that waits for one of its students, and ends as if nobody had ever tried anything."""
    job = Job(site, team, "guarded")
    job.apply(digits(job.name))
    job.until_at_work("mlp", cycle=1)
    waited_for = faults.stop_pod(job)
    yield job
    site.cluster.signal_container(team, waited_for, signal.SIGCONT)
    job.until_complete()
    assert job.restarts() == {}
    assert job.weights(tmp_path_factory.mktemp("guarded")) == undisturbed
    job.delete()


@pytest.fixture(scope="module")
def outside(site: Site) -> str:
    """Give a namespace of somebody else."""
    site.add_namespace(OUTSIDE)
    return OUTSIDE


def test_a_pod_without_a_certificate_of_the_job_gets_no_connection(site: Site, job: Job, outside: str):
    said = _stranger(site, outside, _arguments(job, "", "mlp", NEWER))
    assert said == ["connected", "no exchange"]


def test_a_student_cannot_take_part_under_another_students_name(job: Job):
    said = _in_pod_of(job, "mlp", _arguments(job, TLS, "cnn", NEWER))
    assert said[-1].startswith("UnknownStudent:")


def test_a_student_is_known_by_its_own_name_to_the_same_program(job: Job):
    said = _in_pod_of(job, "mlp", _arguments(job, TLS, "mlp", SAME))
    assert said[-1].startswith("Fenced:"), "only a newer attempt would have been let in"


def test_policies_stand_around_the_job_for_a_network_that_enforces_them(job: Job):
    policies = json.loads(job.kubectl("get", "networkpolicies", f"--selector=distilljob.dev/job={job.name}", "-o=json"))
    (policy,) = policies["items"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}
    students = rules[8470][0]["podSelector"]["matchLabels"]
    assert students["distilljob.dev/role"] == "student"
    assert students["distilljob.dev/job"] == job.name


def _arguments(job: Job, tls_dir: str, student: str, attempt: str) -> list[str]:
    uid = job.kubectl("get", "distilljob", job.name, "--output=jsonpath={.metadata.uid}")
    return [f"{job.name}-aggregator.{job.namespace}.svc.cluster.local:8470", tls_dir, uid, student, attempt]


def _in_pod_of(job: Job, student: str, arguments: list[str]) -> list[str]:
    said = job.kubectl("exec", job.pod_of(student), "--", "python3", "-c", SCRIPT, *arguments)
    return said.splitlines()


def _stranger(site: Site, namespace: str, arguments: list[str]) -> list[str]:
    container = {
        "name": "stranger",
        "image": f"localhost/distilljob-aggregator:{TAG}",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", SCRIPT, *arguments],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": namespace}, "spec": spec}
    site.cluster.apply([pod])
    phase = ("get", "pod", "stranger", f"--namespace={namespace}", "--output=jsonpath={.status.phase}")
    until(lambda: site.kubectl(*phase) in {"Succeeded", "Failed"}, "end of the stranger")
    return site.kubectl("logs", "stranger", f"--namespace={namespace}").splitlines()
