"""What processes cost, and what they ask of the API server: from /proc and the audit log."""

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench_operator import client

_TICKS = os.sysconf("SC_CLK_TCK")
_OWN_AGENTS = (client.NAME, "kubectl", "kwok", "Python-urllib")
YARDSTICK = 500_000
Request = tuple[str, str]
"""Verb and resource."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, so far."""

    cpu_seconds: float
    rss_mib: float
    peak_mib: float


def usage(pid: int) -> Usage:
    """Read what a process has used."""
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    mib = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, mib["VmRSS"], mib["VmHWM"])


def children_cpu_seconds() -> Counter[str]:
    """Read the CPU time of this process's children, by the name of their program."""
    found: Counter[str] = Counter()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
                found[Path(program).name] += (int(fields[11]) + int(fields[12])) / _TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def yardstick_ms() -> float:
    """Give the CPU time of a fixed piece of work: on a loaded machine the same work costs more of it."""
    begun_seconds = time.process_time()
    sum(number * number for number in range(YARDSTICK))
    return round(1000 * (time.process_time() - begun_seconds), 1)


def load() -> list[float]:
    """Give the machine's load over one, five and fifteen minutes."""
    return [round(part, 1) for part in os.getloadavg()]


class Audit:
    """The contestant's own requests; watches and their renewals are left out."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0

    def since_last(self) -> Counter[Request]:
        """Count what came since the last call."""
        found: Counter[Request] = Counter()
        with self._log.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                entry = json.loads(line)
                if entry["verb"] != "watch" and not entry.get("userAgent", "").startswith(_OWN_AGENTS):
                    found[entry["verb"], _resource(entry)] += 1
        return found


def _resource(entry: dict) -> str:
    named = entry.get("objectRef") or {}
    return "/".join(filter(None, (named.get("resource"), named.get("subresource")))) or entry["requestURI"]


def per_group(requests: Counter[Request], groups: int) -> dict[str, float]:
    """Lay them out for one group; events apart, for they are no part of the work."""
    events = sum(number for (_, resource), number in requests.items() if resource == "events")
    shown = {f"{verb} {resource}": round(number / groups, 2) for (verb, resource), number in requests.most_common()}
    return {"all_but_events": round((requests.total() - events) / groups, 2), "events": events / groups, **shown}
