"""Whoever is no student of a job cannot take part in its exchange.

The CNI plugin of this node enforces no NetworkPolicies, so nothing but mutual TLS is what keeps strangers out here; a
cluster whose CNI enforces them refuses the connection before.
"""

import base64
import json
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilljob_operator.certificates import issue
from distilljob_operator.manifests.secrets import AUTHORITY_KEY, owner_keys
from real import faults, intruder
from real.jobs import Job, applied, digits
from real.release import TAG
from real.site import Site, until

pytestmark = pytest.mark.timeout(900)
SCRIPT = Path(intruder.__file__).read_text()
OUTSIDE = "outside"
TLS = "/var/run/distilljob/tls"
NEWER, SAME = "99", "1"
REFUSED = "connected, and no exchange"


@pytest.fixture(scope="module")
def job(site: Site, team: str, undisturbed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Give a job that waits for one of its students, and ends as if nobody had ever tried anything."""
    with applied(site, team, digits("guarded")) as job:
        job.until_at_work("mlp")
        waited_for = faults.stop_pod(job, "cnn")
        yield job
        site.cluster.signal_container(team, waited_for, signal.SIGCONT)
        job.until_complete()
        assert job.restarts() == {}
        assert job.weights(tmp_path_factory.mktemp("guarded")) == undisturbed


@pytest.fixture(scope="module")
def outside(site: Site) -> str:
    """Give a namespace of somebody else."""
    site.add_namespace(OUTSIDE)
    return OUTSIDE


@pytest.fixture(scope="module")
def secret(job: Job) -> dict[str, str]:
    """Give the job's certificates, which nobody outside of its namespace may read."""
    (secret,) = json.loads(job.kubectl("get", "secrets", f"--selector=distilljob.dev/job={job.name}", "-o=json"))[
        "items"
    ]
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_a_pod_in_the_clear_gets_no_connection(site: Site, job: Job, outside: str):
    assert _knock(site, outside, job, []) == REFUSED


def test_a_pod_that_knows_the_authority_and_has_no_certificate_gets_no_connection(
    site: Site, job: Job, outside: str, secret: dict[str, str]
):
    assert _knock(site, outside, job, [secret[AUTHORITY_KEY]]) == REFUSED


def test_a_certificate_of_another_authority_for_the_same_student_gets_no_connection(
    site: Site, job: Job, outside: str, secret: dict[str, str]
):
    forged = {key: pem.decode() for key, pem in issue(_uid(job), ["mlp"]).items()}
    assert forged.keys() <= secret.keys(), "it looks like the real one"
    certificate, key = owner_keys("mlp")
    assert _knock(site, outside, job, [secret[AUTHORITY_KEY], forged[key], forged[certificate]]) == REFUSED


def test_the_same_program_gets_in_with_a_certificate_of_the_job(
    site: Site, job: Job, outside: str, secret: dict[str, str]
):
    certificate, key = owner_keys("mlp")
    assert _knock(site, outside, job, [secret[AUTHORITY_KEY], secret[key], secret[certificate]]) == "in the exchange"


def test_a_student_cannot_take_part_under_another_students_name(job: Job):
    assert _join(job, "mlp", "cnn", NEWER).startswith("UnknownStudent:")


def test_a_student_is_known_by_its_own_name_to_the_same_program(job: Job):
    assert _join(job, "mlp", "mlp", SAME).startswith("Fenced:"), "only a newer attempt would have been let in"


def test_policies_stand_around_the_job_for_a_network_that_enforces_them(job: Job):
    policies = json.loads(job.kubectl("get", "networkpolicies", f"--selector=distilljob.dev/job={job.name}", "-o=json"))
    (policy,) = policies["items"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}
    students = rules[8470][0]["podSelector"]["matchLabels"]
    assert students["distilljob.dev/role"] == "student"
    assert students["distilljob.dev/job"] == job.name


def _uid(job: Job) -> str:
    return job.kubectl("get", "distilljob", job.name, "--output=jsonpath={.metadata.uid}")


def _address(job: Job) -> str:
    return f"{job.name}-aggregator.{job.namespace}.svc.cluster.local:8470"


def _join(job: Job, of: str, student: str, attempt: str) -> str:
    """Join from the pod of one student, with its certificate, under the name of any."""
    arguments = ("join", _address(job), TLS, _uid(job), student, attempt)
    return job.kubectl("exec", job.pod_of(of), "--", "python3", "-c", SCRIPT, *arguments).strip()


def _knock(site: Site, namespace: str, job: Job, certificates: list[str]) -> str:
    """Ask for a connection from a pod of another namespace."""
    container = {
        "name": "stranger",
        "image": f"localhost/distilljob-aggregator:{TAG}",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", SCRIPT, "knock", _address(job), json.dumps(certificates)],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    name = f"stranger-{secrets.token_hex(3)}"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    site.cluster.apply([pod])
    phase = ("get", "pod", name, f"--namespace={namespace}", "--output=jsonpath={.status.phase}")
    until(lambda: site.kubectl(*phase) in {"Succeeded", "Failed"}, "end of the stranger")
    return site.kubectl("logs", name, f"--namespace={namespace}").strip()
