"""Ways to disturb a job on a real node. Each proves where it landed before the job may go on."""

import json
import signal
import time
from contextlib import suppress

from distilljob_core.phases import StudentPhase
from real.jobs import Job
from real.release import NAMESPACE, Release
from real.site import Object, until
from rig.build import RigError

EARLY = "cnn"
"""The student that can be told to end with 0."""
ARRIVAL_SECONDS = 2.0
"""By then whatever a process said before it was stopped has reached the aggregator's page."""
ALL_MEMORY = (
    "with open('/dev/shm/all', 'wb') as file:\n"
    "    for _ in range(4096):\n"
    "        file.write(bytes(1 << 20))\n"
    "        file.flush()\n"
)
"""Memory of the pod that nothing can take back, so that its greatest process has to go: the trainer."""
TRAINER = ("distilljob-trainer", "--bind=0.0.0.0")
EXIT_EARLY = """
if [ -e /checkpoints/left ]; then exec "$@"; fi
"$@" &
until [ -e /checkpoints/go ]; do sleep 1; done
kill $!; wait $!; touch /checkpoints/left; exit 0
"""


def kill(job: Job, student: str) -> None:
    """SIGKILL to the student's process."""
    pod = job.pod_of(student)
    job.site.cluster.signal_container(job.namespace, pod, signal.SIGKILL)
    assert end_of(job, pod)["exitCode"] == 137


def exhaust_memory(job: Job, student: str) -> None:
    """Fill the pod's memory until the kernel kills."""
    pod = job.pod_of(student)
    with suppress(RigError):  # whoever fills it may be killed with it
        job.kubectl("exec", pod, "--", "python3", "-c", ALL_MEMORY)
    assert end_of(job, pod)["reason"] == "OOMKilled"


def stop_pod(job: Job, student: str) -> str:
    """SIGSTOP to the student's process while it trains: it neither works nor ends at SIGTERM. Gives its pod.

    By the time of the signal it may wait for the others, which has a longer limit: then it is let go and tried again.
    """
    pod = job.pod_of(student)
    while True:
        job.site.cluster.signal_container(job.namespace, pod, signal.SIGSTOP)
        time.sleep(ARRIVAL_SECONDS)
        if job.is_at_work(student):
            return pod
        job.site.cluster.signal_container(job.namespace, pod, signal.SIGCONT)
        job.until_at_work(student)


def delete_pod(job: Job, student: str) -> None:
    """`kubectl delete pod`."""
    job.kubectl("delete", "pod", job.pod_of(student), "--wait=true")


def evict(job: Job, student: str) -> None:
    """The Eviction API, as `kubectl drain` uses it."""
    pod = job.pod_of(student)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": job.namespace}}
    where = f"/api/v1/namespaces/{job.namespace}/pods/{pod}/eviction"
    job.kubectl("create", "--raw", where, "--filename=-", stdin=json.dumps(eviction))


def leave_early(job: Job, student: str) -> None:
    """The student's program ends with 0 and without a terminal record."""
    pod = job.pod_of(student)
    job.kubectl("exec", pod, "--", "touch", "/checkpoints/go")
    assert end_of(job, pod)["exitCode"] == 0


def delete_aggregator(job: Job) -> None:
    """`kubectl delete pod` of the aggregator; its Deployment makes another."""
    before = job.aggregator_pod
    job.kubectl("delete", "pod", before, "--wait=true")
    until(lambda: job.table() and job.aggregator_pod != before, "another aggregator")
    _assert_at_work(job)


def kill_operator(job: Job) -> None:
    """SIGKILL to the operator; the kubelet starts it again."""
    pod = Release(job.site).operator_pod
    before = _restarts(job, pod)
    job.site.cluster.signal_container(NAMESPACE, pod, signal.SIGKILL)
    until(lambda: _restarts(job, pod) == before + 1, "operator started again")
    _assert_at_work(job)


def stop_kubelet(job: Job) -> None:
    """No kubelet for a minute: the node counts as lost, its containers run on."""
    cluster = job.site.cluster
    cluster.stop_kubelet()
    stopped_seconds = time.monotonic()
    try:
        until(lambda: _node_ready(job) == "Unknown", "node that nobody hears from", 60)
        _assert_at_work(job)
        time.sleep(max(0.0, 60 - (time.monotonic() - stopped_seconds)))
    finally:
        cluster.start_kubelet()
    until(lambda: _node_ready(job) == "True", "node that is ready again", 60)


def suspend_and_resume(job: Job) -> None:
    """Suspend until no pod is left; then go on."""
    job.site.distilljob("suspend", job.name, f"--namespace={job.namespace}")
    until(lambda: job.condition("Suspended").get("status") == "True", "suspension")
    live = [pod for pod in (*job.pods("student"), *job.pods("aggregator")) if pod["status"]["phase"] == "Running"]
    assert not live, "pods run on in a suspended job"
    job.site.distilljob("resume", job.name, f"--namespace={job.namespace}")


def may_leave_early(manifest: Object) -> Object:
    """Wrap the trainer of one student, so that it can be told to end with 0."""
    for student in manifest["spec"]["students"]:
        if student["name"] == EARLY:
            student["command"] = ["sh", "-c", EXIT_EARLY, "sh", *TRAINER]
    return manifest


def end_of(job: Job, pod: str) -> Object:
    """How the container of a pod ended."""

    def look() -> Object | None:
        listed = json.loads(job.kubectl("get", "pod", pod, "--output=json"))
        states = [each["state"] for each in listed["status"].get("containerStatuses", [])]
        return states[0].get("terminated") if states else None

    ended = until(look, f"end of {pod}", 180)
    assert ended
    return ended


def _assert_at_work(job: Job) -> None:
    """A fault that no student's end shows must have met a job that was not over."""
    table = until(job.table, f"answer of {job.name}'s aggregator")
    assert table, "until() gives what it found"
    phases = {row.name: row.phase for row in table.students}
    assert set(phases.values()) - {StudentPhase.FINISHED}, f"{job.name} was over before the fault: {phases}"


def _restarts(job: Job, operator_pod: str) -> int:
    path = "--output=jsonpath={.status.containerStatuses[0].restartCount}"
    return int(job.site.kubectl("get", "pod", operator_pod, f"--namespace={NAMESPACE}", path) or 0)


def _node_ready(job: Job) -> str:
    path = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return job.site.kubectl("get", "node", job.site.cluster.node_name, path)
