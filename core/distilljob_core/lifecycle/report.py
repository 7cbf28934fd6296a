"""What the job's conditions say after a decision."""

from distilljob_core.conditions import Condition, ConditionType, Reason, Truth, merge_conditions
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import Standing, StudentState
from distilljob_core.lifecycle.restarts import describe_end, is_over
from distilljob_core.lifecycle.seen import AttemptStanding
from distilljob_core.progress import Sight, SightReason

Finding = tuple[Truth, Reason, str]


def report(world: World, draft: Draft) -> Draft:
    """Bring the conditions up to the decision. `Valid` belongs to whoever reads the spec."""
    idle = _idle(world, draft)
    findings = {
        ConditionType.AGGREGATOR_READY: _aggregator_ready(world, idle),
        ConditionType.STUDENTS_READY: idle or _students_ready(world, draft),
        ConditionType.PROGRESSING: idle or _progressing(draft),
        ConditionType.PROGRESS_OBSERVABLE: _observable(world, draft) if idle is None else ("Unknown", *idle[1:]),
        ConditionType.DEGRADED: _degraded(world, draft),
        ConditionType.SUSPENDED: _suspended(world, draft),
    }
    if outcome := draft.state.outcome:
        findings[ConditionType(outcome.kind)] = ("True", outcome.reason, outcome.message)
    new = [Condition(type_, *finding, world.now_seconds) for type_, finding in findings.items()]
    return draft.job(conditions=merge_conditions(draft.state.conditions, new))


def _idle(world: World, draft: Draft) -> Finding | None:
    """Why nothing is supposed to run; None if something is."""
    if draft.state.outcome:
        return "False", draft.state.outcome.reason, "the job has ended"
    if world.wishes.suspend:
        _, reason, _ = _suspended(world, draft)
        return "False", reason, "spec.suspend is true"
    return None


def _aggregator_ready(world: World, idle: Finding | None) -> Finding:
    if world.seen.aggregator.ready:
        return "True", Reason.AGGREGATOR_AVAILABLE, ""
    return "False", Reason.AGGREGATOR_UNAVAILABLE, idle[2] if idle else world.seen.aggregator.message


def _students_ready(world: World, draft: Draft) -> Finding:
    for name, student in draft.in_play():
        if finding := _not_ready(world, name, student):
            return finding
    has_place = [student.standing is Standing.LIVE for _, student in draft.in_play()]
    turns = f"{sum(has_place)} of {len(has_place)} have a place, the others wait for their turn"
    return "True", Reason.ALL_STUDENTS_RUNNING, "" if all(has_place) else turns


def _not_ready(world: World, name: str, student: StudentState) -> Finding | None:
    seen = world.current(name, student)
    backs_off = (student.backoff_until_seconds or 0.0) > world.now_seconds
    if ending := student.ending:
        told = f"attempt {ending.attempt} is being ended ({ending.reason}), the next one starts when it is gone"
        return "False", Reason.STUDENTS_RESTARTING, f"{name}: {told}"
    if student.standing is Standing.IDLE and backs_off:
        told = f"; {describe_end(student)}" if student.last_termination else ""
        return "False", Reason.STUDENTS_RESTARTING, f"{name}: waits for its next attempt{told}"
    if student.standing is not Standing.LIVE:
        return None
    if is_over(student, seen):
        return (
            "False",
            Reason.WAITING_FOR_TABLE,
            f"{name}: attempt {student.attempt} ended, the aggregator must say how",
        )
    if seen is None:
        return "False", Reason.STUDENTS_PENDING, f"{name}: attempt {student.attempt} was asked for"
    told = ": ".join(filter(None, (name, seen.reason, seen.message)))
    if seen.standing is AttemptStanding.UNREACHABLE:
        return "False", Reason.NODE_UNREACHABLE, told
    if seen.standing is AttemptStanding.PENDING:
        return "False", Reason.STUDENTS_PENDING, told
    return None


def _progressing(draft: Draft) -> Finding:
    if draft.state.quorum_joined:
        return "True", Reason.TRAINING, ""
    return "False", Reason.STARTING, "too few students have joined yet"


def _observable(world: World, draft: Draft) -> Finding:
    progress = world.seen.progress
    if progress.sight is Sight.STALE:
        return "Unknown", Reason.METRICS_STALE, progress.message
    if progress.reason is SightReason.NEVER_SCRAPED:
        return "Unknown", Reason.METRICS_UNAVAILABLE, "the aggregator has not been looked at yet"
    if progress.sight is Sight.NO_DATA:
        return "False", Reason.METRICS_UNAVAILABLE, progress.message
    for name, student in draft.in_play():
        reading = world.reading(name, student)
        if world.is_running(name, student) and not reading.is_evidence:
            return "False", Reason.METRICS_UNAVAILABLE, f"{name}: {reading.reason}"
    return "True", Reason.PROGRESS_READ, ""


def _degraded(world: World, draft: Draft) -> Finding:
    table = world.seen.table
    if table and table.storage_full == "Results":
        return "True", Reason.RESULTS_FULL, "make the results volume larger or free space; students retry"
    if table and table.storage_full == "State":
        return "True", Reason.SPOOL_FULL, "make the aggregator's state volume larger; students retry"
    if draft.state.mass_hang:
        message = "more than half of the students look hung: look at the aggregator, the network and the storage"
        return "True", Reason.MASS_HANG, message
    for name, student in draft.students():
        if student.account.out_of_memory > 1 and student.standing is not Standing.DONE:
            message = f"{name}: killed for memory {student.account.out_of_memory} times, raise its memory"
            return "True", Reason.STUDENT_OUT_OF_MEMORY, message
    dropped = [name for name, student in draft.students() if student.standing is Standing.DROPPED]
    if dropped:
        return "True", Reason.STUDENT_DROPPED, ", ".join(dropped)
    return "False", Reason.HEALTHY, ""


def _suspended(world: World, draft: Draft) -> Finding:
    if not world.wishes.suspend or draft.state.outcome:
        return "False", Reason.NOT_SUSPENDED, ""
    lives = any(world.live(name) or student.standing is Standing.LIVE for name, student in draft.students())
    if lives or world.seen.aggregator.exists:
        return "False", Reason.SUSPENDING, "attempts save and end"
    return "True", Reason.SUSPENDED_BY_USER, "everything is gone but the volumes"
