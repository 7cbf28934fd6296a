"""What of a look at an aggregator is worth a round of its job at once; all else is progress, and can wait. Pure."""

from collections.abc import Hashable

from distilljob_core.progress import StudentSamples
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_operator.progress.look import Look


def news(look: Look) -> Hashable:
    """Give everything that something may follow from, so that two looks can be told apart.

    Ages, steps, losses and accuracies are missing: what follows from a limit that comes near has a time of its own.
    """
    progress = look.progress
    students = tuple((name, *_of_samples(samples)) for name, samples in sorted(progress.students.items()))
    table = None if look.table is None else _of_table(look.table)
    return progress.sight, progress.reason, progress.message, look.message, students, table


def _of_samples(samples: StudentSamples) -> tuple[Hashable, ...]:
    is_usable = samples.progress_age_seconds is not None and samples.heartbeat_age_seconds is not None
    return samples.attempt, samples.pod_uid, samples.phase, is_usable


def _of_table(table: RoundTable) -> Hashable:
    opened = None if table.open is None else (table.open.cycle, table.open.split)
    students = tuple(map(_of_view, table.students))
    return table.started_timestamp_seconds, opened, len(table.closes), table.complete, table.storage_full, students


def _of_view(view: StudentView) -> Hashable:
    return (
        view.name,
        view.phase,
        view.attempt,
        view.pod_uid,
        view.ever_joined,
        view.rows_durable > 0,
        view.parked_attempt,
        view.owes_rows,
        view.behind,
        view.summary is not None,
    )
