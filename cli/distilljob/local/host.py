"""What this machine has to share out: processors and GPUs. Never imports torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from distilljob_core.cpu_quota import cpu_quota

_GPU: Final = re.compile(r"^GPU (\d+):", re.MULTILINE)
_UUID: Final = re.compile(r"\b(?:GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*")


def num_processors() -> float:
    """Count the processors this process may use: its affinity, cut by its quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, cpu_quota() or available)


def threads_per_student(processors: float, num_students: int) -> int:
    """Share processors out evenly; never less than one thread."""
    return max(1, int(processors) // num_students)


def find_gpus() -> tuple[str, ...]:
    """Name the NVIDIA GPUs that are here and that this process may use, as CUDA_VISIBLE_DEVICES wants them."""
    listing = _nvidia_smi()
    text = _driver_listing() if listing is None else listing
    numbers, uuids = _GPU.findall(text), _UUID.findall(text)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(numbers)
    wanted = [name.strip() for name in visible.split(",")]
    # CUDA takes the beginning of a UUID for all of it.
    return tuple(name for name in wanted if name and (name in numbers or any(u.startswith(name) for u in uuids)))


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


def _driver_listing() -> str:
    """List GPUs as nvidia-smi does, from what the driver says of itself."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return "\n".join(f"GPU {index}: {file.read_text(encoding='utf-8')}" for index, file in enumerate(files))
