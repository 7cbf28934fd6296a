"""The control groups of one box: the same folder in every hierarchy of the machine's."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
REMOVAL_SECONDS = 5.0
POLL_SECONDS = 0.02


def hierarchies() -> set[Path]:
    """Return where each hierarchy is mounted: one with cgroup v2, one per controller with v1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return {CGROUPS}
    return {path.parent.resolve() for path in CGROUPS.glob("*/cgroup.procs")}


def make_groups(name: str) -> None:
    """Make the folder in every hierarchy; one of cpuset is of no use before it has CPUs and memory nodes."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            given = hierarchy / setting
            if given.exists():
                (group / setting).write_text(given.read_text())


def remove_groups(name: str) -> None:
    """Remove the folder from every hierarchy; the kernel may need a moment after the last process has ended."""
    give_up_seconds = time.monotonic() + REMOVAL_SECONDS
    while (left := list(_existing(name))) and time.monotonic() < give_up_seconds:
        for group in left:
            _remove(group)
        time.sleep(POLL_SECONDS)


def processes(name: str, path: str) -> list[int]:
    """Return the processes of the group that ends with this path, such as `podUID/CONTAINER`, in their own order."""
    for group in _existing(name):
        for file in group.glob(f"**/{path}/cgroup.procs"):
            return sorted(map(int, file.read_text().split()), key=_own_pid)
    return []


def _own_pid(pid: int) -> int:
    """Return how a process is numbered in its innermost namespace: a container's first process is 1 there."""
    try:
        return int(re.findall(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])
    except OSError:  # it has just ended
        return sys.maxsize


def _existing(name: str) -> Iterator[Path]:
    return (hierarchy / name for hierarchy in hierarchies() if (hierarchy / name).exists())


def _remove(group: Path) -> None:
    for inner in sorted(group.glob("**/"), reverse=True):
        try:
            inner.rmdir()
        except OSError:  # busy, or gone already
            continue
