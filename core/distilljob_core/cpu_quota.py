"""How many processors the control group of this process grants it, versions 1 and 2."""

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Read the CPU quota of this process, in cores; None without one.

    The smallest quota from its own group up to the root counts. A container may see the root alone.

    Args:
        root: where control groups are mounted.
        membership: says which groups this process is in.
    """
    quotas = [quota for line in _text(membership).splitlines() for quota in _quotas(root, line)]
    return min(quotas, default=None)


def _quotas(root: Path, line: str) -> Iterator[float]:
    """Read all quotas on the way up from one line of the membership: `hierarchy:controllers:path`."""
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
    quota, _, period = _text(directory / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() else None


def _quota_v1(directory: Path) -> float | None:
    quota = _text(directory / "cpu.cfs_quota_us").strip()
    return int(quota) / int(_text(directory / "cpu.cfs_period_us")) if quota.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
