"""What this machine has to share out: processors and GPUs. Never imports torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path


def cpu_quota() -> float:
    """Count the processors this process may use: affinity, cut by every cgroup above it (versions 1 and 2)."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(available), *cgroup_quotas(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def cgroup_quotas(mount: Path, membership: Path) -> list[float]:
    """Read every processor quota that binds this process, from its own cgroup up to the root."""
    quotas = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _ancestors(mount, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_quota_v1(folder) for folder in _ancestors(mount / "cpu", path)]
    return [quota for quota in quotas if quota is not None]


def threads_per_student(quota: float, num_students: int) -> int:
    """Share processors out evenly; never less than one thread."""
    return max(1, int(quota) // num_students)


def find_gpus() -> tuple[str, ...]:
    """Name the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES wants them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    listing = _nvidia_smi()
    if listing is not None:
        return tuple(re.findall(r"^GPU (\d+):", listing, re.MULTILINE))
    folder = Path("/proc/driver/nvidia/gpus")
    return tuple(str(index) for index, _ in enumerate(folder.iterdir())) if folder.is_dir() else ()


def least_used(gpus: Sequence[str], in_use: Iterable[str]) -> str:
    """Pick the GPU with the fewest students on it, the first of equals."""
    used = list(in_use)
    return min(gpus, key=used.count)


def _nvidia_smi() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return listing.stdout if listing.returncode == 0 else None


def _ancestors(mount: Path, path: str) -> list[Path]:
    """List the folders of a cgroup and all above it; a container sees only the mount's root."""
    own = mount / path.lstrip("/")
    return [folder for folder in (own, *own.parents) if folder.is_relative_to(mount)]


def _quota_v2(folder: Path) -> float | None:
    limit, _, period = _text(folder / "cpu.max").partition(" ")
    return int(limit) / int(period) if limit.isdecimal() else None


def _quota_v1(folder: Path) -> float | None:
    limit = _text(folder / "cpu.cfs_quota_us").strip()
    return int(limit) / int(_text(folder / "cpu.cfs_period_us")) if limit.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
