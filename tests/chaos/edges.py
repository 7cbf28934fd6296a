"""Kill at every edge: each time a student enters another phase for the first time, a process is killed right there.

The student itself does it (startup/chaos_places.py): at that instant, neither earlier nor later. Then the run goes on
to the next new edge, so one run walks through all of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from faults import Landing
from job import STEPS_PER_EPOCH, STUDENTS
from processes import AGGREGATOR, RUNNER, lives
from run import ANY_CODE, Run, Settings

SETTINGS: Settings = (
    "method.independentEpochs=1",
    "method.distillEpochs=1",
    "checkpoints.intervalSeconds=3600",  # saved at stages only, so that edges lie at the same steps in every attempt
)
MAXIMUM_STARTS = 1_000


def pairs() -> Iterator[tuple[str, str]]:
    """Whose edges, and who is killed there: every student, runner and aggregator at every student's edges."""
    for watched in STUDENTS:
        for target in (watched, AGGREGATOR, RUNNER):
            yield watched, target
    yield STUDENTS[0], STUDENTS[1]
    yield STUDENTS[1], STUDENTS[2]
    yield STUDENTS[2], STUDENTS[0]


def edge_run(folder: Path, watched: str, target: str) -> Run:
    """Prepare a run in which `target` dies at all of `watched`'s edges."""
    variables = {
        "CHAOS_EDGES": str(folder.with_suffix(".edges")),
        "CHAOS_WATCHED": watched,
        "CHAOS_TARGET": target,
        "CHAOS_STEPS_PER_EPOCH": str(STEPS_PER_EPOCH),
    }
    run = Run(folder, variables, SETTINGS)
    run.excuses.append(ANY_CODE)
    run.maximum_starts = MAXIMUM_STARTS
    return run


def kills(run: Run, watched: str, target: str) -> list[Landing]:
    """Read what was killed where."""
    path = run.folder.with_suffix(".edges")
    lines = path.read_text().splitlines() if path.exists() else []
    return [_landing(line, watched, target) for line in lines]


def _landing(line: str, watched: str, target: str) -> Landing:
    """Read `PID: BEFORE -> AFTER, cycle C, step S`."""
    pid, _, edge = line.partition(": ")
    phases, cycle, step = edge.split(", ")
    landing = Landing("kill", target, edge, pid=int(pid), seen=watched, phase=phases)
    landing.cycle, landing.step = int(cycle.split()[1]), int(step.split()[1])
    landing.landed = not lives(landing.pid) or landing.pid == os.getpid()
    landing.proof = f"process {pid} ended"
    return landing
