"""Schedules: faults drawn from a seed, in the order of a run."""

import random

from faults import Fault
from job import CYCLES, STUDENTS
from places import PHASES, Moment
from processes import AGGREGATOR, RUNNER

WEIGHTS = {"Independent": 4, "Distilling": 4, "Evaluating": 2, "Checkpointing": 2, "Publishing": 1}
"""How often a phase is drawn; 2 where nothing is said of it."""


def draw(seed: int) -> list[Fault]:
    """Draw one schedule: a kill of a student, one of aggregator or runner, and more."""
    rng = random.Random(seed)
    kinds = [
        ("kill", rng.choice(STUDENTS)),
        ("kill", rng.choice((AGGREGATOR, RUNNER))),
        ("freeze", rng.choice((*STUDENTS, AGGREGATOR, RUNNER))),
        ("slow", rng.choice(STUDENTS)),
        ("term", rng.choice((*STUDENTS, AGGREGATOR, RUNNER))),
    ]
    faults = [Fault(kind, victim, _moment(rng, victim), _amount(rng, kind)) for kind, victim in kinds]
    return sorted(faults, key=lambda fault: fault.moment.order)


def _moment(rng: random.Random, victim: str) -> Moment:
    student = victim if victim in STUDENTS else rng.choice(STUDENTS)
    cycle = rng.randint(1, CYCLES)
    phases = [phase for phase in PHASES if phase != "Starting" and (phase != "Publishing" or cycle == CYCLES)]
    phase = rng.choices(phases, [WEIGHTS.get(phase, 2) for phase in phases])[0]
    delay_seconds = rng.uniform(0, 0.3) if phase in ("Independent", "Distilling", "Waiting") else 0.0
    return Moment(cycle, phase, student, delay_seconds)


def _amount(rng: random.Random, kind: str) -> float:
    if kind == "freeze":
        return rng.choice((rng.uniform(0.2, 5), rng.uniform(17, 22)))
    return rng.uniform(1, 3)
