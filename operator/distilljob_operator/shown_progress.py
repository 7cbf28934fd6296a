"""What the round table tells of a job as a whole: where it stands, how good it is, when it will be done."""

from datetime import datetime
from typing import Any, Final

from distilljob_core import names
from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.outlook import open_cycle, seconds_left
from distilljob_core.phases import StudentPhase
from distilljob_core.results import best_student, teacher_gains
from distilljob_core.round_table import StudentView
from distilljob_core.spec.resolve import planned_epochs
from distilljob_core.status import ShownResult
from distilljob_operator.shown_rows import MINUTE_SECONDS, Sight, given, moment

ETA_SHARE: Final = 0.05
"""An estimate stays as it is while a new one differs by less than this share of the time that is left."""


def progress(sight: Sight) -> dict[str, Any]:
    """Give what the table tells of the job as a whole."""
    state, past, result = sight.state, sight.past, _result(sight)
    cycles = sight.job.spec.method.cycles if sight.job else past.cycles
    cycle = open_cycle(sight.table, cycles) if sight.table else past.cycle or int(state.started_seconds is not None)
    return given(
        cycle=cycle,
        cycles=cycles,
        cycle_column=f"{cycle}/{cycles}" if cycle else "",
        accuracy_column=_percent(result.accuracy) if result else _best_so_far(sight),
        slowest_student=_slowest(sight),
        estimated_completion_time=_estimate(sight),
        result=result,
    )


def _best_so_far(sight: Sight) -> str:
    known = [known for view in sight.views.values() if (known := _holdout_accuracy(view)) is not None]
    return _percent(max(known)) if known else sight.past.accuracy_column


def _holdout_accuracy(view: StudentView) -> float | None:
    return view.accuracy.get("holdout") if view.summary is None else view.summary.holdout.last


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _slowest(sight: Sight) -> str:
    """Name the student that has come least far; the first in spec order where several have."""
    if sight.state.active_since_seconds is None:
        return ""
    if sight.table is None:
        return sight.past.slowest_student
    return min((name for name in sight.in_play if name in sight.views), key=lambda n: sight.views[n].epoch, default="")


def _estimate(sight: Sight) -> datetime | None:
    """Tell when the slowest student will be through; None while that cannot be told of every student."""
    if sight.job is None or sight.state.active_since_seconds is None:
        return None
    views = [sight.views[name] for name in sight.in_play if name in sight.views]
    if not views:
        return sight.past.estimated_completion_time
    method, stop = sight.job.spec.method, sight.job.spec.stop_after_cycle
    goal = planned_epochs(method.model_copy(update={"cycles": stop or method.cycles}))
    as_of_seconds = _newest_step_seconds(sight, views)
    active = max(0.0, active_seconds(sight.state, as_of_seconds))
    left = [seconds_left(view, goal, active) for view in views]
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(views):  # of a restarted aggregator, or before the first epoch
        return sight.past.estimated_completion_time if all(view.ever_joined for view in views) else None
    return _steady(sight.past.estimated_completion_time, as_of_seconds, max(known))


def _newest_step_seconds(sight: Sight, views: list[StudentView]) -> float:
    """Tell when a student last made a step: an estimate is of that moment, or it would recede with every look.

    It is on the aggregator's clock, which is not ours; but an error that stays the same moves no estimate.
    """
    newest = max(view.last_progress_timestamp_seconds for view in views)
    return min(sight.now_seconds, newest) if newest else sight.now_seconds


def _steady(past: datetime | None, as_of_seconds: float, left_seconds: float) -> datetime:
    """Keep an estimate that is still as good as the new one, so that a steady pace writes nothing."""
    slack_seconds = max(MINUTE_SECONDS, ETA_SHARE * left_seconds)
    if past and abs(past.timestamp() - as_of_seconds - left_seconds) <= slack_seconds:
        return past
    return moment(as_of_seconds + left_seconds, MINUTE_SECONDS)


def _result(sight: Sight) -> ShownResult | None:
    """Give what came out of it, as result.json has it."""
    outcome, table, job = sight.state.outcome, sight.table, sight.job
    if outcome is None or outcome.kind != "Complete":
        return None
    if table is None or not table.complete or job is None:
        return sight.past.result
    summaries = [view.summary for view in table.students if view.summary is not None]
    best = next(summary for summary in summaries if summary.name == best_student(summaries))
    was_dropped = any(view.phase is StudentPhase.DROPPED for view in table.students)
    is_exact = not was_dropped and not any(close.missing for close in table.closes)
    storage = job.spec.results.storage
    return ShownResult(
        best_student=best.name,
        accuracy=round(best.accuracy.last, 4),
        exact=is_exact and all(summary.exact for summary in summaries),
        volume_claim_name=(storage and storage.claim_name) or names.results_claim(job.metadata.name, sight.state.uid),
        **given(
            ensemble_accuracy=round(best.ensemble.accuracy, 4) if best.ensemble else None,
            teacher_gain=next((round(gain, 4) for gain in reversed(teacher_gains(summaries))), None),
        ),
    )
