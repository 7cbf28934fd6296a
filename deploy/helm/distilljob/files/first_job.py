"""`helm test`: a DistillJob of seconds, from its creation to its result; it leaves nothing behind."""

import http.client
import json
import signal
import ssl
import sys
import time
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
JOBS = "/apis/distilljob.dev/v1alpha1/namespaces/{namespace}/distilljobs"
LIMIT_SECONDS = 540
POLL_SECONDS = 2
SMALL = {"storage": {"size": "1Gi"}}
SPEC = {
    "dataset": {"name": "digits"},
    "method": {"cycles": 1, "independentEpochs": 1, "distillEpochs": 1},
    "students": [
        {"name": "mlp", "gpus": 0, "model": {"name": "mlp_small"}},
        {"name": "cnn", "gpus": 0, "model": {"name": "cnn_small"}},
    ],
    "aggregator": SMALL,
    "checkpoints": SMALL,
    "results": SMALL | {"retention": "Delete"},
}


def request(method: str, path: str, body: object = None) -> tuple[int, dict]:
    """Ask the API server; give the status and the answer."""
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    connection = http.client.HTTPSConnection("kubernetes.default.svc", context=trusted, timeout=30)
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def main(name: str, namespace: str) -> int:
    """Create the job, wait for its end, delete it."""
    jobs = JOBS.format(namespace=namespace)
    remove(jobs, name)
    manifest = {
        "apiVersion": "distilljob.dev/v1alpha1",
        "kind": "DistillJob",
        "metadata": {"name": name},
        "spec": SPEC,
    }
    status, answer = request("POST", jobs, manifest)
    if status != 201:
        print(f"the DistillJob was refused: {answer.get('message')}")
        return 1
    try:
        return watch(f"{jobs}/{name}")
    finally:
        remove(jobs, name)


def watch(path: str) -> int:
    """Print every change of phase until the job has ended; give the exit code."""
    shown = None
    give_up_seconds = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < give_up_seconds:
        job = request("GET", path)[1].get("status", {})
        if job.get("phase") != shown:
            shown = job.get("phase")
            print(shown, flush=True)
        if shown == "Complete":
            print(json.dumps(job["result"]))
            return 0
        if shown in {"Failed", "Invalid"}:
            break
        time.sleep(POLL_SECONDS)
    print(json.dumps(job.get("conditions"), indent=1))
    return 1


def remove(jobs: str, name: str) -> None:
    """Delete the job, and wait until it is gone."""
    while request("DELETE", f"{jobs}/{name}")[0] != 404:
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    # The first process of a container ignores SIGTERM unless it says otherwise; the job is to be removed then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(*sys.argv[1:]))
