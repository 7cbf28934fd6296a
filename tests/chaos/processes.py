"""Processes of one run: finding them, signalling them by descriptors that cannot be reused, looking at them."""

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RUNNER, AGGREGATOR = "runner", "aggregator"


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that lives, and a descriptor that stays with it."""

    name: str
    pid: int
    descriptor: int

    def send(self, number: int) -> None:
        """Send a signal; one that has ended gets none."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end."""
        return bool(select.select([self.descriptor], [], [], seconds)[0])

    def close(self) -> None:
        """Forget it."""
        os.close(self.descriptor)


def state_of(pid: int) -> str | None:
    """Give the kernel's letter for what a process does: T is stopped, Z ended but not collected; None = gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def children_of(runner: int) -> dict[str, int]:
    """Find a runner's living children by student, or aggregator."""
    found = {}
    with suppress(OSError):
        for pid in map(int, Path(f"/proc/{runner}/task/{runner}/children").read_text().split()):
            told = _environment(pid)
            if "DISTILLJOB_SPEC_FILE" in told and state_of(pid) not in ("Z", None):
                found[told.get("DISTILLJOB_STUDENT", AGGREGATOR)] = pid
    return found


def open_victim(name: str, pid: int) -> Victim | None:
    """Take hold of a process; None when it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if state_of(pid) in ("Z", None):
        os.close(descriptor)
        return None
    return Victim(name, pid, descriptor)


def all_of(folder: Path) -> list[int]:
    """Find every living process that was started for a run directory, children of dead runners included."""
    snapshot = str(folder / "job.json")
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _environment(pid).get("DISTILLJOB_SPEC_FILE") == snapshot and lives(pid)]


def resident_bytes(pid: int) -> int:
    """Give a process's resident memory; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def lives(pid: int) -> bool:
    """Whether a process still does anything."""
    return state_of(pid) not in ("Z", None)


def _environment(pid: int) -> dict[str, str]:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(variable.decode(errors="replace").partition("=")[::2] for variable in variables if variable)


def owner_of(port: int, pids: dict[str, int]) -> str:
    """Name the process among some whose TCP connection has this local port; empty = none of them."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]  # gRPC's sockets are of the newer kind
    table = [line for path in tables if path.exists() for line in path.read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in map(str.split, table) if int(row[1].rpartition(":")[2], 16) == port}
    for name, pid in pids.items():
        with suppress(OSError):
            if any(_link(path) in inodes for path in Path(f"/proc/{pid}/fd").iterdir()):
                return name
    return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
