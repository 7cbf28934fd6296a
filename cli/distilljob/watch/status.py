"""How a job stands, and what to do next: `distilljob status`, wherever the job runs."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from distilljob import console
from distilljob.console import in_time
from distilljob.local.columns import status_columns
from distilljob.local.picture import Row
from distilljob.local.view import header, rows_table
from distilljob.watch.seen import Seen, Watches
from distilljob.watch.sight import Watcher
from distilljob_core.conditions import ConditionType, Reason
from distilljob_core.exit_codes import ExitCode
from distilljob_core.lifecycle.model import StudentState

REFRESH_SECONDS: Final = 1.0
_AGES: Final = frozenset({"elapsedSeconds", "etaSeconds", "silentSeconds", "samplesPerSecond", "barrierSeconds"})
_WAITING: Final = frozenset({Reason.STUDENTS_PENDING, Reason.NODE_UNREACHABLE, Reason.WAITING_FOR_TABLE})
"""Why a student does not run, where no other line says so."""


def run_status(root: Path, *, watch: bool, as_json: bool) -> int:
    """Print how a local run stands; the exit code.

    Raises:
        NotFound: there is no run.
        BadInput: a file of the run is damaged.
    """
    return show_status(Watcher(root), watch=watch, as_json=as_json)


def show_status(watcher: Watches[Seen], *, watch: bool, as_json: bool) -> int:
    """Print how a job stands, once or until nothing more can come; the exit code."""
    if not watch:
        sight = watcher.look()
        if as_json:
            console.print_json(to_json(sight))
        else:
            _print_status(sight, console.out)
    elif console.out.is_terminal and not as_json:
        with Live(console=console.out, auto_refresh=False) as live:
            for sight in _sights(watcher):
                live.update(render_status(sight, console.out.width), refresh=True)
        _print_advice(sight, console.out)
    else:
        _print_changes(watcher, console.out, as_json=as_json)
    return 0


def _sights(watcher: Watches[Seen]) -> Iterator[Seen]:
    """Look again and again until nothing more can come."""
    while True:
        sight = watcher.look()
        yield sight
        if not sight.is_live or console.out.quiet:
            return
        time.sleep(REFRESH_SECONDS)


def _print_changes(watcher: Watches[Seen], out: Console, *, as_json: bool) -> None:
    """Print whenever something else changed than ages and speeds; as JSON one document a line."""
    before = None
    for sight in _sights(watcher):
        tree = to_json(sight)
        if before == (steady := _without_ages(tree)):
            continue
        before = steady
        if as_json:
            console.print_text(json.dumps(tree, ensure_ascii=False), out)
        else:
            _print_status(sight, out)
            out.print()


def _print_status(sight: Seen, out: Console) -> None:
    out.print(render_status(sight, out.width))
    _print_advice(sight, out)


def _print_advice(sight: Seen, out: Console) -> None:
    """Print what to do next; a command stays on one line, to be copied."""
    what, *commands = sight.advice
    out.print(f"[green]next:[/] {escape(what)}")
    for command in commands:
        console.print_text(f"  {command}", out)


def _without_ages(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_ages(value) for key, value in tree.items() if key not in _AGES}
    return [_without_ages(item) for item in tree] if isinstance(tree, list) else tree


def render_status(sight: Seen, width: int) -> RenderableType:
    """Draw a status for people."""
    line = Text.assemble(header(sight.picture), " · ", (sight.phase_word, sight.phase_style), sight.about)
    aggregator = Text(f"aggregator: {sight.aggregator}", no_wrap=True, overflow="ellipsis")
    parts: list[RenderableType] = [line, aggregator, ""]
    parts += rows_table(sight.picture, status_columns(width, is_live=sight.is_live), width)
    notes = [*_last_ends(sight), *_troubles(sight)]
    if notes:
        parts += ["", *notes]
    if outcome := list(_outcome(sight)):
        parts += ["", *outcome]
    return Group(*parts, "")


def _last_ends(sight: Seen) -> Iterator[RenderableType]:
    for name, student in sight.state.students.items():
        if ending := student.ending:
            yield Text(f"{name}: attempt {ending.attempt} is being ended ({ending.reason})")
        if (end := student.last_termination) is None or _is_suspended(sight):
            continue
        why = "parked" if end.exit_code == ExitCode.PARKED else ": ".join(filter(None, (end.reason, end.message)))
        how = "was not seen to end" if end.exit_code is None else f"ended with exit code {end.exit_code}"
        ago = f", {in_time(time.time() - end.time_seconds)} ago" if time.time() > end.time_seconds else ""
        yield Text(f"{name}: attempt {end.attempt} {how}{ago}{f' ({why})' if why else ''}")


def _is_suspended(sight: Seen) -> bool:
    """Whether everything was ended on the user's wish: the last ends are no failures then."""
    return any(one.type is ConditionType.SUSPENDED and one.status == "True" for one in sight.state.conditions)


def _troubles(sight: Seen) -> Iterator[RenderableType]:
    """Show what somebody should look at; of a run that nobody runs that is history."""
    for condition in sight.state.conditions if sight.is_live and sight.state.outcome is None else ():
        if condition.type is ConditionType.DEGRADED and condition.status == "True":
            yield Text(f"degraded: {condition.reason}, {condition.message}", style="yellow")
        if condition.type is ConditionType.STUDENTS_READY and condition.reason in _WAITING:
            yield Text(f"waiting: {condition.message}", style="yellow")


def _outcome(sight: Seen) -> Iterator[RenderableType]:
    outcome = sight.state.outcome
    if not sight.is_live and outcome is not None and outcome.kind == "Failed":
        yield Text.assemble(("failed: ", "bold red"), f"{outcome.message} ({outcome.reason})")
    if sight.verdict:
        yield Text(sight.verdict)


def to_json(sight: Seen) -> dict[str, Any]:
    """Give a status for programs."""
    picture, state = sight.picture, sight.state
    outcome = state.outcome
    return {
        "name": picture.job,
        **sight.origin,
        "phase": sight.phase_word,
        "reason": outcome.reason if outcome else None,
        "message": outcome.message if outcome else None,
        "method": picture.method,
        "cycle": picture.cycle,
        "cycles": picture.cycles,
        "stopAfterCycle": sight.stop_after_cycle,
        "elapsedSeconds": picture.elapsed_seconds,
        "etaSeconds": picture.eta_seconds,
        "aggregator": sight.aggregator,
        "students": [_student(row, state.students[row.name]) for row in picture.rows],
        "conditions": [camel(asdict(condition)) for condition in state.conditions],
        "next": sight.advice,
    }


def _student(row: Row, student: StudentState) -> dict[str, Any]:
    end = student.last_termination
    return {
        "name": row.name,
        "phase": row.doing,
        "attempt": row.attempt,
        "cycle": row.cycle,
        "epoch": row.epoch,
        "plannedEpochs": row.planned_epochs,
        "loss": row.loss,
        "testAccuracy": row.accuracy,
        "samplesPerSecond": row.samples_per_second,
        "silentSeconds": row.silent_seconds,
        "rowsDurable": row.rows_durable,
        "rowsTotal": row.rows_total,
        "barrierSeconds": row.barrier_seconds,
        "restarts": asdict(student.restarts),
        "backoffUntilSeconds": student.backoff_until_seconds,
        "lastTermination": camel(asdict(end)) if end else None,
    }


def camel(record: Mapping[str, Any]) -> dict[str, Any]:
    """Spell the keys of a record as the rest of our JSON does."""
    return {to_camel(key): value for key, value in record.items()}
