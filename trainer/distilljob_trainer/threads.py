"""How many threads a student may use: its share of the machine, never every core of the node."""

import os
from collections.abc import Mapping

import structlog

from distilljob_core.cpu_quota import cpu_quota

log = structlog.get_logger()


def num_threads(environ: Mapping[str, str] = os.environ) -> int:
    """Count this process's threads for computing: OMP_NUM_THREADS, else the cgroup's CPU quota, else one.

    More threads than cores wait for each other in spin loops, which makes everybody on the machine slow.
    """
    if wanted := environ.get("OMP_NUM_THREADS", ""):
        return max(1, int(wanted.split(",")[0]))
    quota = cpu_quota()
    if quota is None:
        log.info("no CPU quota and no OMP_NUM_THREADS: one thread; set a CPU limit on the pod to use more")
        return 1
    return max(1, int(quota))
