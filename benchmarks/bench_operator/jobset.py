"""JobSet, the nearest peer: its manager as a process, sets of five Jobs of one pod, as many as there are jobs."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence

from bench_operator.client import Client, Object, make_namespaces
from bench_operator.costs import Audit, usage
from bench_operator.crashes import Crasher, one_of_each_group, spread
from bench_operator.jobset_build import crds, manager
from bench_operator.load import Batch, Result, bring_up
from bench_operator.options import Options
from bench_operator.plane import PODS_PER_GROUP, Plane
from bench_operator.world import Attempt, Member, Reading, World
from distilljob_operator.certificates import issue
from rig.processes import Port, Process

PREFIX = "jobset.sigs.k8s.io"
PATH = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets"
LIMIT_SECONDS = 120.0


def _attempt(namespace: str, labels: Mapping[str, str]) -> Attempt | None:
    name = labels.get(f"{PREFIX}/replicatedjob-name")
    if name is None:
        return None
    member = Member(namespace, labels[f"{PREFIX}/jobset-name"], name)
    return Attempt(member, int(labels.get(f"{PREFIX}/restart-attempt", "0")))


READING = Reading(label=f"{PREFIX}/jobset-name", attempt=_attempt, others=[])


def _job_spec() -> Object:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {
        "backoffLimit": 0,
        "completionMode": "Indexed",
        "completions": 1,
        "parallelism": 1,
        "template": {"spec": pod},
    }


def jobset(name: str, namespace: str) -> Object:
    """Make a set: DNS on, as is its default; all Jobs restart together, as often as need be."""
    template = {"spec": _job_spec()}
    members = [{"name": f"r{number}", "replicas": 1, "template": template} for number in range(PODS_PER_GROUP)]
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "failurePolicy": {"maxRestarts": 100},
            "successPolicy": {"operator": "All"},
            "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "replicatedJobs": members,
        },
    }


def children(name: str, namespace: str) -> Iterator[tuple[str, Object]]:
    """Make what the manager makes for a set, for its floor: a Service and the Jobs, each beside its collection."""
    selector = {f"{PREFIX}/jobset-name": name}
    service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector}
    yield f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": name}, "spec": service}
    for number in range(PODS_PER_GROUP):
        labels = {**selector, f"{PREFIX}/replicatedjob-name": f"r{number}", f"{PREFIX}/restart-attempt": "0"}
        spec = _job_spec()
        spec["template"] = {"metadata": {"labels": labels}, "spec": spec["template"]["spec"] | {"subdomain": name}}
        metadata = {"name": f"{name}-r{number}-0", "labels": labels}
        yield f"/apis/batch/v1/namespaces/{namespace}/jobs", {"metadata": metadata, "spec": spec}


def start(plane: Plane) -> Process:
    """Start the manager: no leader election, no webhooks (sets are written with their defaults)."""
    plane.install_crds(crds())
    ports = [Port() for _ in range(3)]
    webhook, metrics, probes = (port.number for port in ports)
    for port in ports:
        port.release()
    folder = plane.folder / "jobset"
    folder.mkdir()
    made = issue("jobset", [])
    (folder / "tls.crt").write_bytes(made["aggregator.crt"])
    (folder / "tls.key").write_bytes(made["aggregator.key"])
    configuration = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": str(folder)},
    }
    (folder / "config.json").write_text(json.dumps(configuration))
    command = [str(manager()), f"--config={folder / 'config.json'}", "--zap-log-level=2"]
    command += [f"--metrics-bind-address=127.0.0.1:{metrics}", f"--health-probe-bind-address=127.0.0.1:{probes}"]
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig())}
    return Process(command, plane.folder / "jobset.log", environment)


async def run(plane: Plane, options: Options) -> Result:
    """Make single sets, all sets at once, and let pods crash; the manager runs already, or will soon."""
    process = start(plane)
    try:
        async with Client(plane) as client:
            return await _measure(plane, client, process, options)
    finally:
        process.kill()


async def _measure(plane: Plane, client: Client, process: Process, options: Options) -> Result:
    world = World(client, READING)
    await world.start()
    namespaces = await make_namespaces(client, options.num_namespaces)
    audit, crasher = Audit(plane.audit_log), Crasher(client, world)

    async def measured(names: Sequence[str]) -> Result:
        batch = _batch(names, namespaces)
        limit_seconds = options.limit_seconds
        return await bring_up(client, world, audit, batch, pid=process.pid, limit_seconds=limit_seconds)

    await measured(["first"])  # it may still be starting
    idle = usage(process.pid)
    singles = [await measured([f"single-{number}"]) for number in range(options.singles)]
    alone = one_of_each_group(world.current(), min(options.single_crashes, options.singles))
    crash_alone = await _crash(crasher, alone, options.single_gap_seconds)
    at_once = await measured([f"set-{number}" for number in range(options.jobs)])
    burst = await _crash(crasher, one_of_each_group(world.current(), min(options.burst, options.jobs)), 0.0)
    await world.stop()
    return {
        "rss_idle_mib": round(idle.rss_mib),
        "rss_peak_mib": round(usage(process.pid).peak_mib),
        "single_running_seconds": [single["running_seconds"] for single in singles],
        "crash_alone": crash_alone,
        "at_once": at_once,
        "crash_burst": burst,
        "watch_reconnects": world.num_reconnects,
    }


def _batch(names: Sequence[str], namespaces: Sequence[str]) -> Batch:
    bodies = []
    for number, name in enumerate(names):
        namespace = namespaces[number % len(namespaces)]
        bodies.append((PATH.format(namespace), json.dumps(jobset(name, namespace)).encode()))
    return Batch(bodies, names, len(names) * PODS_PER_GROUP, len(names) * PODS_PER_GROUP)


async def _crash(crasher: Crasher, attempts: Sequence[Attempt], gap_seconds: float) -> Result:
    """Let one pod of each set crash: the whole set comes back, and is back with its last pod."""
    world = crasher.world
    result = await crasher.measure(attempts, gap_seconds)
    sets = {attempt.member[:2]: attempt for attempt in attempts}
    restarted = {
        Attempt(member, sets[member[:2]].number + 1): sets[member[:2]] for member in world.pods if member[:2] in sets
    }
    await world.until(lambda: all(attempt in world.running_seconds for attempt in restarted), LIMIT_SECONDS)
    last: dict[Attempt, float] = {}
    for attempt, cause in restarted.items():
        seconds = world.running_seconds.get(attempt, float("inf")) - world.failed_seconds[cause]
        last[cause] = max(last.get(cause, 0.0), seconds)
    return {**result, "to_whole_set_running": spread(list(last.values()))}
