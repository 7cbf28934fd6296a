"""A full disk for single processes: the kernel's own limit on file sizes, set from outside and lifted again."""

import resource
from contextlib import suppress
from pathlib import Path

WORDS = ("File too large", "StorageFull", "No space left", "Errno 27")
"""How a process says that it could not write."""


def fill(pid: int, limit_bytes: int) -> None:
    """Let a process, and what it starts from now on, make no file longer than this; writes fail with EFBIG."""
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit_bytes, hard))


def free(pid: int) -> None:
    """Lift the limit again."""
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def is_complaint(line: str) -> bool:
    """Say whether a line tells of a write that failed."""
    return any(word in line for word in WORDS)


def complaints(logs: Path, name: str, since: dict[Path, int]) -> list[str]:
    """Find lines that say so in the logs of a student or the aggregator, written since they had these sizes."""
    found = []
    for path in sorted(path for path in logs.glob("*.log") if path.stem.rpartition("-")[0] == name):
        with path.open("rb") as file:
            file.seek(since.get(path, 0))
            text = file.read().decode(errors="replace")
        found += [f"{path.name}: {line.strip()}" for line in text.splitlines() if is_complaint(line)]
    return found


def sizes(logs: Path) -> dict[Path, int]:
    """Measure logs."""
    return {path: path.stat().st_size for path in logs.glob("*.log")}
