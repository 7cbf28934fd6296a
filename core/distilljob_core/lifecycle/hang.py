"""Telling a hung student from a slow, a waiting and an unobservable one.

A student hangs when it makes no step beyond its phase's limit while the scrape of the aggregator is fresh. Blindness is
never evidence. When most students look hung at once, what they share is suspect, and nobody is restarted at first.
"""

from dataclasses import dataclass
from typing import Final

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import EndReason, Manner, MassHang, Standing, StudentState
from distilljob_core.lifecycle.orders import end
from distilljob_core.lifecycle.seen import AttemptSeen
from distilljob_core.phases import EXCHANGE_PHASES, TRAINING_PHASES, UNLIMITED_PHASES, StudentPhase
from distilljob_core.progress import Reading, Sight
from distilljob_core.spec.policies import Hang

GUARD_STUDENTS: Final = 3
GUARD_LIMITS: Final = 2
SUSPECT_LIMITS: Final = 0.5
"""Once somebody hangs, others that have been silent for this share of their limit look hung too: what stops all of
them stops none at the same moment, and the first would be ended before anybody else is over the limit."""
LOOK_SECONDS: Final = 1.0
"""Ages stand still from one look at the aggregator to the next: to come back sooner would be for nothing."""

_LEFT: Final = (StudentPhase.PARKED, StudentPhase.NEEDS_ROWS)


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a live student has made no step, and how long it may."""

    name: str
    seen: AttemptSeen
    phase: StudentPhase
    seconds: float
    limit_seconds: float

    @property
    def over_seconds(self) -> float:
        """Beyond the limit; negative within it."""
        return self.seconds - self.limit_seconds

    @property
    def is_suspect(self) -> bool:
        """Whether it looks hung beside one that is."""
        return self.seconds >= SUSPECT_LIMITS * self.limit_seconds


def limit_seconds(hang: Hang, phase: StudentPhase) -> float:
    """How long a live student may go without a step in this phase; one that was told to park has to save and go."""
    if phase in _LEFT:
        return hang.checkpoint_seconds
    if phase in UNLIMITED_PHASES:
        return float("inf")
    if phase in TRAINING_PHASES:
        return hang.steady_seconds
    if phase in EXCHANGE_PHASES:
        return hang.exchange_seconds
    limits = {StudentPhase.STARTING: hang.startup_seconds, StudentPhase.CHECKPOINTING: hang.checkpoint_seconds}
    return limits.get(phase, hang.evaluation_seconds)


def end_hung(world: World, draft: Draft) -> Draft:
    """End students that hang, keeping the evidence."""
    silences = [silence for name, student in draft.in_play() if (silence := _silence(world, draft, name, student))]
    hung = [silence for silence in silences if silence.over_seconds >= 0]
    for silence in silences:
        if 0 < -silence.over_seconds < float("inf"):
            draft = draft.wake(world.now_seconds + max(-silence.over_seconds, LOOK_SECONDS))
    num_suspects = sum(silence.is_suspect for silence in silences) if hung else 0
    draft = draft.job(mass_hang=_mass_hang(world, draft, num_suspects, len(silences)))
    candidates = [silence for silence in hung if not draft.state.students[silence.name].ending]
    if draft.state.mass_hang is None or not candidates:
        for silence in candidates:
            draft = _end(world, draft, silence)
        return draft
    return _end_one(world, draft, draft.state.mass_hang, candidates)


def _end(world: World, draft: Draft, silence: Silence) -> Draft:
    draft = end(world, draft, silence.name, silence.seen, EndReason.HANG, Manner.KEEP_EVIDENCE)
    message = f"attempt {silence.seen.attempt} made no step in {silence.phase} for {silence.seconds:.0f} s"
    message += f" (limit {silence.limit_seconds:.0f} s)"
    return draft.tell("Warning", Reason.STUDENT_HUNG, message, silence.name)


def _end_one(world: World, draft: Draft, mass: MassHang, candidates: list[Silence]) -> Draft:
    """In a mass hang: nobody for twice the limit, then the worst, and the next once that one is back."""
    hold_seconds = GUARD_LIMITS * max(silence.limit_seconds for silence in candidates)
    free_seconds = mass.since_seconds + hold_seconds
    if world.now_seconds < free_seconds and (mass.num_ended == 0 or _is_coming_back(world, draft)):
        return draft.wake(free_seconds)
    worst = max(candidates, key=lambda silence: silence.over_seconds)
    draft = draft.job(mass_hang=MassHang(world.now_seconds, mass.num_ended + 1))
    return _end(world, draft, worst)


def _mass_hang(world: World, draft: Draft, num_suspects: int, num_live: int) -> MassHang | None:
    before = draft.state.mass_hang
    if num_live >= GUARD_STUDENTS and 2 * num_suspects > num_live:
        return before or MassHang(world.now_seconds)
    return before if before and before.num_ended and _is_coming_back(world, draft) else None


def _is_coming_back(world: World, draft: Draft) -> bool:
    """Whether a replaced student has not got back to work yet."""
    return any(_is_away(world, name, student) for name, student in draft.in_play() if student.attempt)


def _is_away(world: World, name: str, student: StudentState) -> bool:
    if student.standing is Standing.PARKED:
        return False
    if student.ending or student.standing is Standing.IDLE or not world.is_running(name, student):
        return True
    reading = world.reading(name, student)
    return reading.sight is not Sight.VALUE or reading.phase is StudentPhase.STARTING


def _silence(world: World, draft: Draft, name: str, student: StudentState) -> Silence | None:
    """Measure a student's silence; None where nothing may be concluded."""
    seen = world.current(name, student)
    if student.standing is not Standing.LIVE or seen is None or not world.is_running(name, student):
        return None
    reading = world.reading(name, student)
    if not reading.is_evidence:
        return None
    phase = reading.phase or StudentPhase.STARTING
    watched_seconds = world.now_seconds - _watched_since_seconds(world, draft, student, seen, phase)
    seconds = min(_step_age_seconds(world, name, student, reading), watched_seconds)
    return Silence(name, seen, phase, seconds, limit_seconds(world.spec.failure_policy.hang, phase))


def _step_age_seconds(world: World, name: str, student: StudentState, reading: Reading) -> float:
    """How old the newest sign is that counts in this phase; for one that never joined, all of time."""
    if reading.phase is None:
        return float("inf")
    if reading.phase is StudentPhase.WAITING and not _is_closed_for(world, name, student):
        return reading.heartbeat_age_seconds
    return reading.progress_age_seconds


def _is_closed_for(world: World, name: str, student: StudentState) -> bool:
    """Whether the round that this student waits for has closed; unknown counts as open."""
    view = world.view(name)
    return view is not None and view.attempt == student.attempt and view.behind


def _watched_since_seconds(
    world: World, draft: Draft, student: StudentState, seen: AttemptSeen, phase: StudentPhase
) -> float:
    """From when on silence may be held against a student; a close frees only those that exchange.

    What claims to have started in the future is on another clock, or ours went back: sight and watch still bound it.
    """
    started = seen.started_seconds if seen.started_seconds is not None else student.asked_seconds
    closed = draft.state.last_close_seconds if phase in EXCHANGE_PHASES else None
    moments = (
        started,
        closed,
        student.sighted_seconds,
        world.seen.aggregator.started_seconds,
        world.seen.watching_since_seconds,
    )
    return max(moment for moment in moments if moment is not None and moment <= world.now_seconds)
