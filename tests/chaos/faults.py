"""What is done to a run, each with the proof that it happened."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import disk
import proxy
from places import Moment, Place
from processes import AGGREGATOR, RUNNER, Victim, state_of
from run import ANY_CODE, END_SECONDS, PATIENCE_SECONDS, Run

SIGNALED = (-signal.SIGKILL, -signal.SIGTERM, 143)
"""How processes end that were told to."""
MINIMUM_JUMP_SECONDS = 30.0
"""Of a clock; a smaller one may be the time that passed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A planned fault."""

    kind: str
    victim: str
    """A student, the aggregator or the runner; steps of the clock happen to all, and count as the runner's."""
    moment: Moment
    amount: float = 0.0
    """Seconds that it lasts; for the clock, how far it is off from then on."""
    chunks: int = 0
    """Of network faults: how many pieces are duplicated or corrupted."""
    limit_bytes: int = 0
    """Of full disks: how long a file may become."""
    seed: int = 0
    """Of network faults: which bytes."""


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
        run.excuses.append(frozenset({-signal.SIGKILL}))
    victim.send(signal.SIGKILL)
    _note_end(victim, landing)
    if fault.victim == landing.seen:
        landing.place(fault.victim, run.places.of(fault.victim))  # the last word of the dead


def term(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """SIGTERM."""
    if victim.name == RUNNER:
        run.excuses.append(frozenset({-signal.SIGTERM, 143}))  # the former before Python runs
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


def network(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """One of proxy.KINDS towards one student, until its time is up."""
    seconds = max(fault.amount, PATIENCE_SECONDS)
    trouble = run.proxy.trouble(fault.kind, fault.victim, seconds, chunks=fault.chunks, seed=fault.seed)

    def look_back() -> None:
        landing.landed, landing.proof = trouble.landed, trouble.proof

    run.undo_later(fault.amount, look_back, lambda: trouble.landed)


def disk_full(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """No file of a process may grow beyond a limit, for a while."""
    logs = run.folder / "logs"
    before, num_lines, num_ends = disk.sizes(logs), len(run.output), len(run.exit_codes)
    if victim.name in (RUNNER, AGGREGATOR):
        run.excuses.append(ANY_CODE)
    disk.fill(victim.pid, fault.limit_bytes)
    begun_seconds = time.monotonic()
    said: list[str] = []

    def is_felt() -> bool:
        if said:
            return True
        if victim.name == RUNNER:
            said.extend(f"runner: {line.strip()}" for line in run.output[num_lines:] if disk.is_complaint(line))
            said.extend(f"runner ended with code {code}" for code in run.exit_codes[num_ends:] if code not in SIGNALED)
        else:
            said.extend(disk.complaints(logs, victim.name, before))
            said.extend(run.last_words(victim.name, landing.attempt))
        if victim.name == AGGREGATOR and (full := run.status().get("storageFull")):
            said.append(f"/v1/status: storageFull {full}")
        return bool(said)

    def free() -> None:
        landing.landed = is_felt()
        for pid in run.all_pids():
            disk.free(pid)
        first = f"; {said[0][:160]}" if said else ""
        landing.proof = f"{fault.limit_bytes} bytes a file for {time.monotonic() - begun_seconds:.1f} s{first}"

    run.undo_later(fault.amount, free, is_felt)


def clock_step(run: Run, fault: Fault, victim: Victim, landing: Landing) -> None:
    """All wall clocks of the run jump."""
    before_seconds = run.aggregator_clock_seconds()
    run.step_clock(fault.amount)
    after_seconds = run.aggregator_clock_seconds()
    if before_seconds is None or after_seconds is None:
        landing.proof = "the aggregator did not tell its time"
        return
    jump_seconds = after_seconds - before_seconds
    landing.landed = abs(jump_seconds) > MINIMUM_JUMP_SECONDS
    landing.proof = f"the aggregator's clock jumped by {jump_seconds:.0f} s"


INJECTORS: dict[str, Injector] = {
    "kill": kill,
    "term": term,
    "freeze": freeze,
    "slow": slow,
    "disk-full": disk_full,
    "clock": clock_step,
    **dict.fromkeys(proxy.KINDS, network),
}
