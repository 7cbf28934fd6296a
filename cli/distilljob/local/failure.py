"""How a failed run is told: the reason, the log to read and its end, what to change."""

from pathlib import Path
from typing import Final

from rich.markup import escape

from distilljob import console
from distilljob.local.logs import error_lines, last_lines
from distilljob.local.processes import Child
from distilljob.run_directory.folder import RunFolder
from distilljob_core.conditions import Reason
from distilljob_core.exit_codes import ExitCode, is_fatal
from distilljob_core.lifecycle.model import JobState, Outcome, Termination

NUM_LINES: Final = 12

GO_ON: Final = "then give the same command again: it goes on from the checkpoints"
ADVICE: Final = {
    Reason.BUDGET_EXHAUSTED: f"cure what the log shows, or raise failurePolicy.maxRestartsPerStudent; {GO_ON}",
    Reason.FATAL_SPEC: (
        "change the file, and begin with --fresh or in another folder (-o); or install the missing package, or set "
        f"PYTHONPATH, {GO_ON}"
    ),
    Reason.FATAL_DATA: f"put the dataset in order, or name its folder with --data; {GO_ON}",
    Reason.FATAL_MISMATCH: (
        f"give every student the same data and the same distilljob; {GO_ON}; if the data changed, begin with --fresh"
    ),
    Reason.FATAL_DEVICE: f"choose another --device, or another training.precision with --fresh; {GO_ON}",
    Reason.STUDENT_DIVERGED: "lower training.optimizer.learningRate or set training.clipNorm, and begin with --fresh",
    Reason.STARTUP_DEADLINE_EXCEEDED: f"read the log, or raise startupDeadlineSeconds with --fresh; {GO_ON}",
    Reason.DEADLINE_EXCEEDED: f"raise activeDeadlineSeconds; {GO_ON}",
    Reason.QUORUM_LOST: "lower quorum.minimumStudents or cure the students, and begin with --fresh",
}


def print_failure(state: JobState, folder: RunFolder) -> None:
    """Print why the lifecycle ended the job."""
    if (outcome := state.outcome) is None:
        return
    console.err.print(f"\n[bold red]failed:[/] {escape(outcome.message)} ({outcome.reason.value})")
    if (blamed := culprit(state, outcome)) is not None:
        name, end = blamed
        log = folder.logs / f"{name}-a{end.attempt}.log"
        # A fatal error says it all; anything else left a traceback.
        _print_log(log, error_lines(log) if is_fatal(end.exit_code or ExitCode.DONE) else last_lines(log, NUM_LINES))
    if (advice := ADVICE.get(outcome.reason)) is not None:
        console.err.print(f"[green]fix:[/] {advice}")


def culprit(state: JobState, outcome: Outcome) -> tuple[str, Termination] | None:
    """Find whose end brought the outcome: the student it names, else whoever ended last before it."""
    ends = {name: student.last_termination for name, student in state.students.items()}
    before = [(name, end) for name, end in ends.items() if end and end.time_seconds <= outcome.time_seconds]
    return max(before, key=lambda item: (f"student {item[0]}:" in outcome.message, item[1].time_seconds), default=None)


def print_aggregator_failure(child: Child) -> None:
    """Print why there is no point in starting the aggregator again."""
    console.err.print(f"\n[bold red]failed:[/] the aggregator cannot be kept alive (exit code {child.exit_code})")
    _print_log(child.log, last_lines(child.log, NUM_LINES))
    console.err.print(f"[green]fix:[/] cure what the log shows; {GO_ON}")


def _print_log(log: Path, lines: list[str]) -> None:
    console.err.print(f"[bold]{escape(str(log))}[/] ends with", soft_wrap=True)
    for line in lines:
        console.err.print(f"  {escape(line)}", soft_wrap=True)
