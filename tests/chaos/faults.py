"""What is done to a run, each with the proof that it happened."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from places import Moment, Place
from processes import AGGREGATOR, RUNNER, Victim, state_of
from run import Run

END_SECONDS = 60.0
"""How long a process may take to save and leave."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A planned fault."""

    kind: str
    victim: str
    """A student, aggregator, runner; network or clock."""
    moment: Moment
    amount: float = 0.0
    """Seconds that it lasts, or that the clock steps."""


@dataclass(slots=True)
class Landing:
    """What became of a planned fault."""

    kind: str
    victim: str
    planned: str
    landed: bool = False
    proof: str = ""
    seen: str = ""
    """The student whose place is given: the victim itself where it is one."""
    attempt: int = 0
    phase: str = ""
    cycle: int = 0
    epoch: float = 0.0
    step: int = 0
    pid: int = 0
    at_seconds: float = field(default=0.0)

    def place(self, student: str, place: Place | None) -> None:
        """Note where a student is."""
        self.seen = student
        if place is not None:
            self.attempt, self.phase, self.cycle = place.attempt, place.phase, place.cycle
            self.epoch, self.step = round(place.epoch, 2), place.step


Injector = Callable[[Run, Fault, Victim, Landing], None]


def kill(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """SIGKILL."""
    if victim.name == RUNNER:
        run.excuses[str(-signal.SIGKILL)] += 1
    victim.send(signal.SIGKILL)
    _note_end(victim, landing)
    if fault.victim == landing.seen:
        landing.place(fault.victim, run.places.of(fault.victim))  # the last word of the dead


def term(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """SIGTERM."""
    if victim.name == RUNNER:
        run.excuses["143"] += 1
    victim.send(signal.SIGTERM)
    _note_end(victim, landing)


def freeze(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """SIGSTOP, and SIGCONT after a while; the run goes on meanwhile."""
    victim.send(signal.SIGSTOP)
    landing.landed = _is_stopped(victim)
    landing.proof = f"stopped for {fault.amount:.1f} s" if landing.landed else "was not stopped"

    def thaw() -> None:
        if landing.landed and state_of(victim.pid) != "T":
            landing.proof += ", ended before it could go on"
        victim.send(signal.SIGCONT)

    run.undo_later(fault.amount, thaw)


def slow(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """SIGSTOP and SIGCONT in turn: a tenth of the speed."""
    until_seconds, num_stops = time.monotonic() + fault.amount, 0
    while time.monotonic() < until_seconds and not victim.ends_within(0):
        victim.send(signal.SIGSTOP)
        num_stops += _is_stopped(victim)
        time.sleep(0.09)
        victim.send(signal.SIGCONT)
        time.sleep(0.01)
    landing.landed = num_stops > 0
    landing.proof = f"stopped {num_stops} times in {fault.amount:.1f} s"


def _is_stopped(victim: Victim) -> bool:
    for _ in range(50):
        if state_of(victim.pid) == "T":
            return True
        time.sleep(0.001)
    return False


def _note_end(victim: Victim, landing: Landing) -> None:
    landing.landed = victim.ends_within(END_SECONDS)
    landing.proof = f"process {victim.pid} " + ("ended" if landing.landed else f"lives {END_SECONDS:.0f} s later")


ON_PROCESSES: dict[str, Injector] = {"kill": kill, "term": term, "freeze": freeze, "slow": slow}
ANYBODY = (RUNNER, AGGREGATOR)
