"""From all lines to one summary, and to the page that people read."""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench_operator import jobset_build
from bench_operator.load import Result
from bench_operator.options import CONTESTANTS, Options


def machine(options: Options) -> Result:
    """Say what it is measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line), "unknown")
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    has_jobset = "jobset" in options.contestants
    return {
        "machine": {
            "cores": os.cpu_count(),
            "cpu": model,
            "memory_gib": round(memory_kib / 2**20),
            "kernel": platform.release(),
        },
        "versions": {
            "distilljob": version("distilljob"),
            "python": platform.python_version(),
            "kopf": version("kopf"),
            "kubernetes client": version("kubernetes"),
            "aiohttp": version("aiohttp"),
            "jobset": jobset_build.version() if has_jobset else None,
        },
        "jobs": options.jobs,
        "runs": options.runs,
        "poll_seconds": options.poll_seconds,
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def summarize(lines: Sequence[Result], options: Options) -> Result:
    """Give medians of all runs, with their ranges; None where a contestant did not take part."""
    floors, ours, peer_floors, peers = (_of(lines, name) for name in CONTESTANTS)
    ratios = _ratios(ours, floors, "children_seconds")
    trials = next((line for line in ours if "kill" in line), {})
    faults = [line["faults"] for line in ours]
    own = "requests_per_group", "all_but_events"
    figures = {
        "children_vs_floor": ratios,
        "running_vs_floor": _ratios(ours, floors, "running_seconds"),
        "children_seconds": _figures(ours, "at_once", "children_seconds"),
        "running_seconds": _figures(ours, "at_once", "running_seconds"),
        "operator_cpu_ms_per_job": _figures(ours, "at_once", "cpu_ms_per_group"),
        "requests_to_start_per_job": _figures(ours, "at_once", *own),
        "requests_moving_per_job_and_minute": _figures(ours, "moving", "requests_per_job_and_minute", "all_but_events"),
        "requests_at_rest_per_job_and_minute": _figures(
            ours, "at_rest", "requests_per_job_and_minute", "all_but_events"
        ),
        "operator_cores_moving": _figures(ours, "moving", "cores"),
        "operator_cores_at_rest": _figures(ours, "at_rest", "cores"),
        "single_job_running_seconds": _singles(ours),
        "crash_alone_p50_seconds": _figures(ours, "crash_alone", "to_running", "p50"),
        "crash_burst_p50_seconds": _figures(ours, "crash_burst", "to_running", "p50"),
        "crash_burst_max_seconds": _figures(ours, "crash_burst", "to_running", "max"),
        "crash_to_replacement_p50_seconds": _figures(ours, "crash_live", "to_job", "p50"),
        "crash_to_replacement_p99_seconds": _figures(ours, "crash_live", "to_job", "p99"),
        "hang_to_replacement_seconds": _figures([trials], "hang", "to_running", "max"),
        "resync_seconds": _figures([trials], "kill", "resync_seconds", "max"),
        "operator_rss_idle_mib": _figures(ours, "rss_idle_mib"),
        "operator_rss_mib": _figures(ours, "rss_peak_mib"),
        "jobset_children_vs_floor": _ratios(peers, peer_floors, "children_seconds"),
        "jobset_children_seconds": _figures(peers, "at_once", "children_seconds"),
        "jobset_running_seconds": _figures(peers, "at_once", "running_seconds"),
        "jobset_cpu_ms_per_set": _figures(peers, "at_once", "cpu_ms_per_group"),
        "jobset_requests_per_set": _figures(peers, "at_once", *own),
        "jobset_single_running_seconds": _singles(peers),
        "jobset_crash_alone_p50_seconds": _figures(peers, "crash_alone", "to_whole_set_running", "p50"),
        "jobset_crash_burst_p50_seconds": _figures(peers, "crash_burst", "to_whole_set_running", "p50"),
        "jobset_crash_burst_max_seconds": _figures(peers, "crash_burst", "to_whole_set_running", "max"),
        "jobset_rss_mib": _figures(peers, "rss_peak_mib"),
    }
    ranges = {name: [min(found), max(found)] for name, found in figures.items() if len(found) > 1}
    return {
        **{name: _median(found) for name, found in figures.items()},
        "wrong_restarts": sum(fault["wrong_restarts"] for fault in faults),
        "duplicates": sum(fault["duplicates"] for fault in faults),
        "lost_restarts": sum(fault["lost_restarts"] for fault in faults),
        "blind": trials.get("blind"),
        "hang_bound_seconds": trials.get("hang", {}).get("bound_seconds"),
        "upgrade_uid_changes": trials.get("upgrade", {}).get("uid_changes"),
        "errors": [line["error"] for line in lines if "error" in line],
        "complete": all(line["at_once"]["complete"] for line in lines if "at_once" in line),
        "jobs": options.jobs,
        "runs": options.runs,
        "ranges": ranges,
    }


def _of(lines: Iterable[Result], contestant: str) -> list[Result]:
    """Give a contestant's lines; a part that failed has none to count."""
    return [line for line in lines if line.get("contestant") == contestant and "error" not in line]


def _figures(lines: Iterable[Mapping[str, Any]], *keys: str) -> list[float]:
    found = []
    for line in lines:
        value: Any = line
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found.append(value)
    return found


def _singles(lines: Iterable[Result]) -> list[float]:
    return [seconds for line in lines for seconds in line["single_running_seconds"] if seconds is not None]


def _ratios(ours: Sequence[Result], floors: Sequence[Result], what: str) -> list[float]:
    """Compare run by run."""
    floor_of = {line["run"]: line["at_once"][what] for line in floors}
    pairs = [(line["at_once"][what], floor_of.get(line["run"])) for line in ours]
    return [round(own / floor, 3) for own, floor in pairs if own and floor]


def _median(found: Sequence[float]) -> float | None:
    return round(statistics.median(found), 3) if found else None
