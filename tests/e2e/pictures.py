"""Draws the dashboards for the docs, from one run on a real node whose student is killed once."""

import sys

from real import faults
from real.images import node_images
from real.jobs import Job, digits
from real.pictures import draw
from real.prometheus import Prometheus, queries, start_prometheus
from real.release import Release
from real.site import ROOT, Site
from rig.box import RealCluster

IMAGES = ROOT / "docs/how-to/images"
TEAM = "team"


def main() -> int:
    """Run one job, draw what was seen of it."""
    with RealCluster(images=node_images()) as cluster:
        site = Site(cluster)
        Release(site).install("--create-namespace")
        site.add_namespace(TEAM)
        with start_prometheus(site) as prometheus:
            observe(site, prometheus)
    return 0


def observe(site: Site, prometheus: Prometheus) -> None:
    """Run a job, and draw what was seen of it."""
    job = Job(site, TEAM, "digits")
    manifest = digits(job.name)
    manifest["spec"]["method"]["cycles"] = 3
    job.apply(manifest)
    job.until_at_work("cnn")
    faults.kill(job, "cnn")
    job.until_complete()
    for name in ("fleet", "job"):
        asked = queries(name)
        draw(f"distilljob: {name}", asked, prometheus.ranges(asked, TEAM, job.name), IMAGES / f"{name}.png")
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
