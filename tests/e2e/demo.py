"""The real thing for somebody without a cluster: one node, the chart, the first example, watched to its end."""

import sys
import time
from pathlib import Path

from real.images import node_images
from real.jobs import DIGITS, Job
from real.release import Release
from real.site import Site
from rig.box import RealCluster
from rig.build import RigError, program

TEAM = "demo"
RUNS = Path("runs")


def main() -> int:
    """Start, install, apply, watch, download; keep the cluster until Ctrl-C."""
    try:
        say("images of operator, aggregator and trainer; the first time takes minutes")
        archives = node_images()
        say("a Kubernetes cluster with one real node")
        with RealCluster(images=archives) as cluster:
            show(Site(cluster))
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def show(site: Site) -> None:
    """Walk through what a user of a cluster does."""
    say("helm install distilljob deploy/helm/distilljob")
    Release(site).install("--create-namespace")
    site.add_namespace(TEAM)
    job = Job(site, TEAM, "digits")
    say(f"kubectl apply -f {DIGITS.name}")
    job.kubectl("apply", f"--filename={DIGITS}")
    site.watch(job.name, TEAM)
    job.until_complete()
    output = RUNS / f"demo-cluster-{time.strftime('%Y%m%d-%H%M%S')}"
    say(f"distilljob download {job.name} {output} --all")
    print(site.distilljob("download", job.name, str(output), f"--namespace={TEAM}", "--all").stdout)
    say("the cluster stays until Ctrl-C; look around with")
    print(f"export KUBECONFIG={site.cluster.kubeconfig()}\nalias kubectl={program('kubectl')}", flush=True)
    while True:
        time.sleep(3600)


def say(text: str) -> None:
    """Head the next step."""
    print(f"\n--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
