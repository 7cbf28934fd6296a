"""How a failed run is told: the reason, the log to read and its end, what to change."""

from typing import Final

from rich.markup import escape

from distilljob import console
from distilljob.errors import JobFailed
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


def job_failure(state: JobState, outcome: Outcome, folder: RunFolder) -> JobFailed:
    """Tell why the lifecycle ended the job."""
    log, lines = None, []
    if (blamed := culprit(state, outcome)) is not None:
        name, end = blamed
        log = folder.logs / f"{name}-a{end.attempt}.log"
        # A fatal error says it all; anything else left a traceback.
        lines = error_lines(log) if is_fatal(end.exit_code or ExitCode.DONE) else last_lines(log, NUM_LINES)
    return JobFailed(outcome.message, outcome.reason.value, log, lines, ADVICE.get(outcome.reason, ""))


def culprit(state: JobState, outcome: Outcome) -> tuple[str, Termination] | None:
    """Find whose end brought the outcome: the student it names, else whoever ended last before it."""
    ends = {name: student.last_termination for name, student in state.students.items()}
    before = [(name, end) for name, end in ends.items() if end and end.time_seconds <= outcome.time_seconds]
    return max(before, key=lambda item: (f"student {item[0]}:" in outcome.message, item[1].time_seconds), default=None)


def aggregator_failure(child: Child) -> JobFailed:
    """Tell why there is no point in starting the aggregator again."""
    title = f"the aggregator cannot be kept alive (exit code {child.exit_code})"
    lines = last_lines(child.log, NUM_LINES)
    return JobFailed(title, "AggregatorEnded", child.log, lines, f"cure what the log shows; {GO_ON}")


def print_failure(failure: JobFailed) -> None:
    """Print a failure as one block."""
    console.err.print(f"\n[bold red]failed:[/] {escape(failure.title)} ({failure.reason})")
    if failure.log is not None:
        console.err.print(f"[bold]{escape(str(failure.log))}[/] ends with", soft_wrap=True)
    for line in failure.lines:
        console.err.print(f"  {escape(line)}", soft_wrap=True)
    if failure.fix:
        console.err.print(f"[green]fix:[/] {failure.fix}")
