"""`distilljob status DIR`: how a run stands, and what to do next."""

import json
import shlex
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
from distilljob.local.failure import ADVICE
from distilljob.local.picture import Row
from distilljob.local.view import header, rows_table
from distilljob.watch.sight import RunPhase, Sight, Watcher
from distilljob_core.conditions import ConditionType
from distilljob_core.lifecycle.model import StudentState

REFRESH_SECONDS: Final = 1.0
_AGES: Final = frozenset({"elapsedSeconds", "etaSeconds", "silentSeconds", "samplesPerSecond", "barrierSeconds"})
_STYLES: Final = {RunPhase.RUNNING: "cyan", RunPhase.FINISHED: "green", RunPhase.FAILED: "red"}


def run_status(root: Path, *, watch: bool, as_json: bool) -> int:
    """Print how a run stands; the exit code.

    Raises:
        NotFound: there is no run.
        BadInput: a file of the run is damaged.
    """
    watcher = Watcher(root)
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


def _sights(watcher: Watcher) -> Iterator[Sight]:
    """Look again and again until nobody runs the job."""
    while True:
        sight = watcher.look()
        yield sight
        if not sight.is_live or console.out.quiet:
            return
        time.sleep(REFRESH_SECONDS)


def _print_changes(watcher: Watcher, out: Console, *, as_json: bool) -> None:
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


def _print_status(sight: Sight, out: Console) -> None:
    out.print(render_status(sight, out.width))
    _print_advice(sight, out)


def _print_advice(sight: Sight, out: Console) -> None:
    """Print what to do next; a command stays on one line, to be copied."""
    what, *commands = advice(sight)
    out.print(f"[green]next:[/] {escape(what)}")
    for command in commands:
        console.print_text(f"  {command}", out)


def _without_ages(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_ages(value) for key, value in tree.items() if key not in _AGES}
    return [_without_ages(item) for item in tree] if isinstance(tree, list) else tree


def render_status(sight: Sight, width: int) -> RenderableType:
    """Draw a status for people."""
    runner = f" (process {sight.runner})" if sight.runner else ""
    if sight.was_killed and sight.phase is RunPhase.STOPPED:
        runner = " (its runner was killed)"
    line = Text.assemble(header(sight.picture), " · ", (sight.phase.value, _STYLES.get(sight.phase, "yellow")), runner)
    aggregator = Text(f"aggregator: {sight.aggregator}", no_wrap=True, overflow="ellipsis")
    parts: list[RenderableType] = [line, aggregator, ""]
    parts += rows_table(sight.picture, status_columns(width, is_live=sight.is_live), width)
    notes = [*_last_ends(sight), *_troubles(sight)]
    if notes:
        parts += ["", *notes]
    if outcome := list(_outcome(sight)):
        parts += ["", *outcome]
    return Group(*parts, "")


def _last_ends(sight: Sight) -> Iterator[RenderableType]:
    for name, student in sight.memory.state.students.items():
        if (end := student.last_termination) is None:
            continue
        why = ": ".join(filter(None, (end.reason, end.message)))
        how = "was not seen to end" if end.exit_code is None else f"ended with exit code {end.exit_code}"
        ago = f", {in_time(time.time() - end.time_seconds)} ago" if time.time() > end.time_seconds else ""
        yield Text(f"{name}: attempt {end.attempt} {how}{ago}{f' ({why})' if why else ''}")


def _troubles(sight: Sight) -> Iterator[RenderableType]:
    """Show what somebody should look at; of a run that nobody runs that is history."""
    state = sight.memory.state
    for condition in state.conditions if sight.is_live and state.outcome is None else ():
        if condition.type is ConditionType.DEGRADED and condition.status == "True":
            yield Text(f"degraded: {condition.reason}, {condition.message}", style="yellow")


def _outcome(sight: Sight) -> Iterator[RenderableType]:
    outcome = sight.memory.state.outcome
    if sight.phase is RunPhase.FAILED and outcome is not None:
        yield Text.assemble(("failed: ", "bold red"), f"{outcome.message} ({outcome.reason})")
    if sight.phase is RunPhase.FINISHED and sight.result is not None:
        yield Text(sight.result.verdict)


def advice(sight: Sight) -> list[str]:
    """Say what to do next, and the commands that do it."""
    root = shlex.quote(str(sight.folder.root))
    outcome = sight.memory.state.outcome
    if sight.phase is RunPhase.RUNNING:
        if outcome is not None:
            return ["it is about to end; look again", f"distilljob status {root}"]
        return ["watch it, or end it early and well", f"distilljob top {root}", f"distilljob finish {root}"]
    if sight.phase is RunPhase.FINISHED:
        return [f"the weights are in {sight.folder.results}; a page about the run", f"distilljob report {root}"]
    cure = ADVICE.get(outcome.reason, "try again") if outcome else "go on where it stopped"
    return [cure, command_line(sight)]


def command_line(sight: Sight) -> str:
    """Give a command that goes on with the run from anywhere; job.yaml holds what was asked for, --set and all."""
    folder = sight.folder
    parts = ["distilljob", "run", str(folder.job_yaml), "-o", str(folder.root)]
    if data := sight.memory.settings.get("data"):
        parts += ["--data", str(data)]
    return shlex.join(parts)


def to_json(sight: Sight) -> dict[str, Any]:
    """Give a status for programs."""
    picture, state = sight.picture, sight.memory.state
    outcome = state.outcome
    return {
        "name": picture.job,
        "directory": str(sight.folder.root),
        "phase": sight.phase.value,
        "runner": sight.runner,
        "runnerWasKilled": sight.was_killed,
        "reason": outcome.reason.value if outcome else None,
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
        "next": advice(sight),
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
