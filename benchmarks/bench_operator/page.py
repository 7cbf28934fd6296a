"""The page that people read: every target, what was measured, and on what."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_operator.load import Result

NOTES = "## Missed, and why\n"
"""What stands below this line is written by hand, and kept."""
HEAD = """# The operator, measured

Written by `make bench-operator`; what is measured, and how, is said in [the benchmark's page](../README.md).
"""


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    what: str
    target: str
    figure: str
    """Key of the summary."""
    is_met: Callable[[float, Result], bool]
    peer: str = ""
    """Key of the summary: JobSet's."""


def _most(limit: float) -> Callable[[float, Result], bool]:
    return lambda figure, _: figure <= limit


def _children(figure: float, summary: Result) -> bool:
    return figure <= (1.3 if summary["jobs"] <= 100 else 1.5)


def _memory(figure: float, summary: Result) -> bool:
    return figure <= 120 + 0.05 * 5 * summary["jobs"]


def _hang(figure: float, summary: Result) -> bool:
    return figure <= summary["hang_bound_seconds"]


TARGETS = (
    Target("one job alone: all 5 pods Running", "0.5 s", "single_job_running_seconds", _most(0.5),
           "jobset_single_running_seconds"),
    Target("all children created, by the floor", "1.3 at 100 jobs, 1.5 at 1,000", "children_vs_floor", _children,
           "jobset_children_vs_floor"),
    Target("operator CPU per job", "60 ms", "operator_cpu_ms_per_job", _most(60), "jobset_cpu_ms_per_set"),
    Target("requests per job to start", "18: 16 objects and 2", "requests_to_start_per_job", _most(18),
           "jobset_requests_per_set"),
    Target("requests per job and minute, moving", "1", "requests_moving_per_job_and_minute", _most(1)),
    Target("requests per job and minute, at rest", "0", "requests_at_rest_per_job_and_minute", _most(0.01)),
    Target("memory at its peak", "120 MiB and 50 kB a pod", "operator_rss_mib", _memory, "jobset_rss_mib"),
    Target("one crash: replacement Running, p50", "0.6 s", "crash_alone_p50_seconds", _most(0.6),
           "jobset_crash_alone_p50_seconds"),
    Target("50 crashes at once, p50", "3 s", "crash_burst_p50_seconds", _most(3), "jobset_crash_burst_p50_seconds"),
    Target("50 crashes at once, slowest", "6 s", "crash_burst_max_seconds", _most(6),
           "jobset_crash_burst_max_seconds"),
    Target("crash among all jobs: replacement Job, p50", "1 s", "crash_to_replacement_p50_seconds", _most(1)),
    Target("crash among all jobs: replacement Job, p99", "5 s", "crash_to_replacement_p99_seconds", _most(5)),
    Target("hang: replacement Running", "limit, 2 polls, grace", "hang_to_replacement_seconds", _hang),
    Target("restarts that nothing asked for", "0", "wrong_restarts", _most(0)),
    Target("doubled attempts", "0", "duplicates", _most(0)),
    Target("lost restarts", "0", "lost_restarts", _most(0)),
    Target("at work again after SIGKILL, slowest", "15 s", "resync_seconds", _most(15)),
    Target("pods whose UID an upgrade changed", "0", "upgrade_uid_changes", _most(0)),
)  # fmt: skip


def write(folder: Path) -> None:
    """Write operator.md from all results beside it."""
    page = folder / "operator.md"
    _, _, notes = page.read_text().partition(NOTES) if page.exists() else ("", "", "")
    parts = [HEAD]
    for path in sorted(folder.glob("operator-*.jsonl"), key=lambda path: int(path.stem.partition("-")[2])):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        parts.append(_section(lines[0], lines[1:-1], lines[-1]["summary"]))
    kept = f"\n{notes.strip()}\n" if notes.strip() else ""
    page.write_text("\n".join([*parts, NOTES]) + kept)


def _section(setting: Result, lines: Sequence[Result], summary: Result) -> str:
    machine, runs = setting["machine"], summary["runs"]
    versions = ", ".join(f"{name} {number}" for name, number in setting["versions"].items() if number)
    loads, sticks = [line["load_before"][0] for line in lines], [line["yardstick_ms"] for line in lines]
    command = f"make bench-operator JOBS={summary['jobs']} RUNS={runs}"
    place = f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}"
    paragraphs = [
        f"## {summary['jobs']} jobs of 4 students\n",
        f"{setting['when']}, `{command}`. {place}; {versions}.",
        f"Load before each part: {min(loads)} to {max(loads)}. Medians of {runs} runs, ranges in brackets.",
        f"CPU time of a fixed piece of work, for comparing CPU figures: {min(sticks):g} to {max(sticks):g} ms.\n",
        "| what | target, at most | distilljob | met | JobSet |",
        "| --- | --- | --- | --- | --- |",
        *(_row(target, summary) for target in TARGETS),
    ]
    return "\n".join([*paragraphs, *_blindness(summary["blind"])]) + "\n"


def _blindness(blind: Result | None) -> list[str]:
    if blind is None:
        return []
    told = [f"{lie}: {_seconds(found)}" for lie, found in blind.items() if isinstance(found, dict)]
    return [
        f"\nBlind for {blind['seconds']:.0f} s: {blind['restarts']} restarts.",
        f"The condition says so (target: {blind['bound_seconds']:g} s) after: {'; '.join(told)}.",
    ]


def _row(target: Target, summary: Result) -> str:
    figure = summary[target.figure]
    met = "" if figure is None else "yes" if target.is_met(figure, summary) else "**no**"
    peer = _cell(summary, target.peer) if target.peer else ""
    return f"| {target.what} | {target.target} | {_cell(summary, target.figure)} | {met} | {peer} |"


def _cell(summary: Result, key: str) -> str:
    figure, limits = summary[key], summary["ranges"].get(key)
    if figure is None:
        return ""
    return f"{figure:g}" + (f" ({limits[0]:g} to {limits[1]:g})" if limits else "")


def _seconds(found: Result) -> str:
    seconds = found["condition_after_seconds"]
    return "not told" if seconds is None else f"{seconds:g} s"
