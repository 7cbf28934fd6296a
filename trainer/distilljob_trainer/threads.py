"""How many threads a student may use: its share of the machine, never every core of the node."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

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


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Read the CPU quota of this process's control group, in cores; None without one.

    The smallest quota from the group up to the root counts; versions 1 and 2.
    """
    if not membership.exists():
        return None
    quotas = [quota for line in membership.read_text().splitlines() for quota in _quotas(root, line)]
    return min(quotas, default=None)


def _quotas(root: Path, line: str) -> Iterator[float]:
    """Read all quotas on the way up from one line of /proc/self/cgroup: `hierarchy:controllers:path`."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":
        base, read = root, _quota_v2
    elif "cpu" in controllers.split(","):
        base, read = next((root / name for name in (controllers, "cpu") if (root / name).exists()), root), _quota_v1
    else:
        return
    group = base / path.lstrip("/")
    for directory in (group, *group.parents):
        quota = read(directory)
        if quota is not None:
            yield quota
        if directory == base:
            return


def _quota_v2(directory: Path) -> float | None:
    file = directory / "cpu.max"
    quota, period = file.read_text().split() if file.exists() else ("max", "1")
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(directory: Path) -> float | None:
    file = directory / "cpu.cfs_quota_us"
    quota = int(file.read_text()) if file.exists() else -1
    return None if quota < 0 else quota / int((directory / "cpu.cfs_period_us").read_text())
