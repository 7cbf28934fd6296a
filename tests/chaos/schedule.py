"""Schedules: faults drawn from a seed, in the order of a run."""

import random

from faults import Fault
from job import CYCLES, STUDENTS
from places import PHASES, Moment
from processes import AGGREGATOR, RUNNER
from proxy import KINDS

WEIGHTS = {"Independent": 4, "Distilling": 4, "Evaluating": 2, "Checkpointing": 2, "Publishing": 1}
"""How often a phase is drawn; 2 where nothing is said of it."""


SECONDS = {
    "slow": (1.0, 3.0),
    "reset": (0.0, 0.0),
    "half-open": (3.0, 20.0),
    "slowed": (2.0, 5.0),
    "duplicated": (5.0, 5.0),
    "corrupted": (5.0, 5.0),
    "disk-full": (1.0, 4.0),
}
"""How long faults last."""
FREEZE_SECONDS = ((0.2, 5.0), (17.0, 22.0))
"""Shorter and longer than the job's patience with a student that hangs."""
CLOCK_SECONDS = (120.0, 14_400.0)
LIMITS_BYTES = {RUNNER: (0, 1_024), AGGREGATOR: (0, 4_096, 12_288), "student": (0, 4_096, 20_000, 65_536)}
"""How long files may become on a full disk: nothing, or less than what each writes sooner or later."""


def draw(seed: int) -> list[Fault]:
    """Draw one schedule: kill a student and aggregator or runner, stop somebody, hurt network, disk or clock."""
    rng = random.Random(seed)
    anybody = (*STUDENTS, AGGREGATOR, RUNNER)
    kinds = [
        ("kill", rng.choice(STUDENTS)),
        ("kill", rng.choice((AGGREGATOR, RUNNER))),
        rng.choice([("freeze", rng.choice(anybody)), ("slow", rng.choice(STUDENTS)), ("term", rng.choice(anybody))]),
        (rng.choice(KINDS), rng.choice(STUDENTS)),
        rng.choice([("disk-full", rng.choice(anybody)), ("clock", RUNNER)]),
        (rng.choice(("kill", "term", "freeze", "disk-full")), rng.choice(anybody)),
    ]
    faults = [_fault(rng, kind, victim) for kind, victim in kinds]
    return sorted(faults, key=lambda fault: fault.moment.order)


def _fault(rng: random.Random, kind: str, victim: str) -> Fault:
    moment = _moment(rng, victim)
    if kind == "clock":
        return Fault(kind, victim, moment, rng.choice((-1, 1)) * rng.uniform(*CLOCK_SECONDS))
    low, high = rng.choice(FREEZE_SECONDS) if kind == "freeze" else SECONDS.get(kind, (0.0, 0.0))
    return Fault(
        kind,
        victim,
        moment,
        amount=rng.uniform(low, high),
        chunks=rng.randint(1, 3),
        limit_bytes=rng.choice(LIMITS_BYTES.get(victim, LIMITS_BYTES["student"])),
        seed=rng.randrange(2**32),
    )


def _moment(rng: random.Random, victim: str) -> Moment:
    student = victim if victim in STUDENTS else rng.choice(STUDENTS)
    cycle = rng.randint(1, CYCLES)
    phases = [phase for phase in PHASES if phase != "Starting" and (phase != "Publishing" or cycle == CYCLES)]
    phase = rng.choices(phases, [WEIGHTS.get(phase, 2) for phase in phases])[0]
    delay_seconds = rng.uniform(0, 0.3) if phase in ("Independent", "Distilling", "Waiting") else 0.0
    return Moment(cycle, phase, student, delay_seconds)
