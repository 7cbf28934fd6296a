"""One long run whose students suffer, while the memory of runner and aggregator is watched."""

import random
import statistics
import time
from itertools import count
from typing import Any

from faults import INJECTORS, Fault, Landing
from job import STUDENTS
from places import Moment
from processes import AGGREGATOR, RUNNER
from record import Record
from run import Run, Settings

WARM_SHARE = 0.25
"""Of the run, whose memory does not count: everything is being filled for the first time."""
REPORT_SECONDS = 60.0
"""Before the end, whose memory does not count: the runner draws the report."""
PAUSE_SECONDS = (5.0, 20.0)


def settings(cycles: int) -> Settings:
    """A job of many short cycles."""
    return f"method.cycles={cycles}", "method.independentEpochs=1", "method.distillEpochs=1"


def torment(run: Run, record: Record) -> None:
    """Hurt a student every few seconds, to the end of the run."""
    rng = random.Random(record.seed)
    for number in count():
        due_seconds = time.monotonic() + rng.uniform(*PAUSE_SECONDS)
        while time.monotonic() < due_seconds:
            if run.look():
                return
            time.sleep(0.05)
        student, kind = rng.choice(STUDENTS), rng.choice(("kill", "term", "freeze", "slow", "reset", "corrupted"))
        victim = run.victim(student)
        if victim is None:
            continue
        fault = Fault(kind, student, Moment(0, "", student, 0), rng.uniform(0.5, 3), chunks=1, seed=number)
        landing = Landing(kind, student, "at any time")
        record.landings.append(landing)
        landing.place(student, run.places.of(student))
        INJECTORS[kind](run, fault, victim, landing)


def memory(run: Run) -> dict[str, Any]:
    """Sum up the resident memory of runner and aggregator: MiB in the middle and at most, growth in MiB an hour."""
    begun_seconds, ended_seconds = run.samples[0][0], run.samples[-1][0]
    warm_seconds = begun_seconds + WARM_SHARE * (ended_seconds - begun_seconds)
    last_seconds = ended_seconds - REPORT_SECONDS
    found = {}
    for name in (RUNNER, AGGREGATOR):
        points = [
            (at, sizes[name] / 2**20)
            for at, sizes in run.samples
            if name in sizes and warm_seconds <= at <= last_seconds
        ]
        if len(points) < 2:
            raise SystemExit(f"too short to tell of the memory of the {name}: more than 250 cycles are needed")
        hours, mib = [at / 3600 for at, _ in points], [size for _, size in points]
        found[name] = {
            "samples": len(points),
            "median_mib": round(statistics.median(mib), 1),
            "peak_mib": round(max(mib), 1),
            "slope_mib_per_hour": round(statistics.linear_regression(hours, mib).slope, 2),
        }
    return {"seconds": round(ended_seconds - begun_seconds), **found}
