"""A local run: from a job to a finished run directory, or as far as it goes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.markup import escape

from distilljob import console
from distilljob.errors import BadInput, CommandError, JobFailed, Stopped
from distilljob.job_file import JobFile, read_job
from distilljob.local.failure import aggregator_failure, job_failure, print_failure
from distilljob.local.machine import Machine
from distilljob.local.outcome import result_table, write_outcome
from distilljob.local.processes import Child, check_installed
from distilljob.local.runner import Ended, Runner
from distilljob.local.settings import Device, Settings, settle, to_store
from distilljob.local.signals import Signals
from distilljob.local.snapshot import differences
from distilljob.local.view import View, open_view
from distilljob.run_directory.find import read_snapshot
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob.run_directory.memory import Memory, read_memory, write_memory
from distilljob.run_directory.result import LocalResult, read_result
from distilljob.run_directory.wishes import read_wish
from distilljob_core.errors import StorageFull
from distilljob_core.exit_codes import ExitCode
from distilljob_core.files import write_atomically
from distilljob_core.lifecycle.deadlines import stop_clock
from distilljob_core.lifecycle.model import Account, JobState, Standing, StudentState
from distilljob_core.spec.base import Problem
from distilljob_core.spec.cluster import local_problems
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import resolve_students
from distilljob_core.spec.snapshot import snapshot


def run_local(
    file: Path,
    output: Path | None,
    overrides: Sequence[str],
    *,
    fresh: bool,
    data: Path,
    device: Device | None,
    as_json: bool,
) -> int:
    """Run a job file, and print how it goes and ends; the exit code.

    With `as_json` standard output holds the result alone, and everything else goes to standard error.

    Raises:
        CommandError: something the user gave is wrong or missing; nothing was started.
    """
    told = console.err if as_json else console.out
    try:
        given = read_job(file, overrides)
        result = run_job(given, output, fresh=fresh, data=data, device=device, told=told, open_view=open_view)
    except Stopped:
        told.print("stopped, everything is saved; the same command goes on from here")
        return ExitCode.TERMINATED
    except JobFailed as failure:
        print_failure(failure)
        return failure.exit_code
    if as_json:
        console.print_json(result.model_dump(mode="json", by_alias=True))
    else:
        told.print()
        told.print(result_table(result, run_folder(given, output)))
    return ExitCode.DONE


def run_folder(given: JobFile, output: Path | None) -> RunFolder:
    """Find the job's run directory."""
    return RunFolder(output or Path("runs") / given.job.metadata.name)


def run_job(
    given: JobFile,
    output: Path | None,
    *,
    fresh: bool,
    data: Path,
    device: Device | None,
    told: Console,
    open_view: Callable[[Console], View],
) -> LocalResult:
    """Run a job in its folder, from its beginning or from where it stands; what it measured.

    Raises:
        JobFailed: it ended without a result.
        Stopped: a signal came; the same call goes on.
        CommandError: something the user gave is wrong or missing; nothing was started.
    """
    check_runs_here(given.job)
    folder = run_folder(given, output)
    folder.check_usable()
    with folder.locked() as inherited_lock, full_disk_told(folder):
        if fresh:
            folder.clear()
        job = claim(folder, given)
        memory = read_memory(folder) or Memory(JobState(uid=job.metadata.uid), {})
        if (outcome := memory.state.outcome) is not None and outcome.kind == "Complete":
            told.print("\n[bold green]this run is finished[/]")
            return finished(folder, memory.state)
        settings = settle(job.spec, memory.settings, data, device)
        announce(told, job, folder, settings, memory.state)
        state = revived(rested(memory))
        folder.make()
        write_memory(folder, replace(memory, state=state, settings=to_store(settings)))
        with Signals().installed() as signals:
            machine = Machine(job, folder, settings, state, inherited_lock)
            view = open_view(told)
            try:
                runner = Runner(
                    job, folder, settings, state, machine=machine, view=view, signals=signals, table=memory.table
                )
                ended = runner.run()
            finally:
                view.close()
        if ended is Ended.STOPPED:
            raise Stopped(signals.stops[0])
        return conclude(runner.state, folder, machine.aggregator.failure)


def check_runs_here(job: DistillJob) -> None:
    """See that one machine can do what the job asks for, and that this one has the programs.

    Raises:
        BadInput: the job needs a cluster; names every field that does.
        MissingPart: names what is missing and the extra that brings it.
    """
    if problems := list(local_problems(job)):
        raise BadInput(f"{job.metadata.name} cannot run on one machine", problems)
    check_installed()


def claim(folder: RunFolder, given: JobFile) -> DistillJob:
    """Take the job's snapshot, or see that the folder's is the same job.

    Raises:
        BadInput: it is another one; names every field that differs.
    """
    uid = str(uuid4())
    if folder.is_run():
        before = read_snapshot(folder)
        problems = differences(before, given.job)
        if problems:
            raise BadInput(
                f"{folder.root} holds a run of another job; begin again with --fresh, or choose another folder with -o",
                problems,
            )
        uid = before.metadata.uid
    else:
        write_json(folder.snapshot, snapshot(given.job, uid))
    drop_older_wish(folder, given.job)
    write_atomically(folder.job_yaml, given.text.encode())
    metadata = given.job.metadata.model_copy(update={"uid": uid})
    return given.job.model_copy(update={"metadata": metadata})


def drop_older_wish(folder: RunFolder, job: DistillJob) -> None:
    """Forget what `finish` asked for when the file has changed its mind since."""
    wish = read_wish(folder)
    if wish is not None and wish.instead_of != job.spec.stop_after_cycle:
        folder.wishes.unlink()


@contextmanager
def full_disk_told(folder: RunFolder) -> Iterator[None]:
    """Say what to do when the runner's own files find no room; students and aggregator wait for it by themselves."""
    try:
        yield
    except StorageFull as error:
        hint = "free some space, then give the same command again: it goes on from here"
        raise CommandError("the run has stopped", [Problem(str(folder.root), str(error), hint)]) from error


def rested(memory: Memory) -> JobState:
    """Count as active only the time in which a runner was alive; one that was killed could not say so itself."""
    state = memory.state
    if state.active_since_seconds is None:
        return state
    return stop_clock(state, max(state.active_since_seconds, memory.alive_seconds or 0.0))


def revived(state: JobState) -> JobState:
    """Let a failed run go on: whoever starts it again has changed something, so every budget is full again."""
    if state.outcome is None:
        return state
    students = {name: _revived_student(student) for name, student in state.students.items()}
    return replace(
        state,
        outcome=None,
        conditions=(),
        students=students,
        startup_since_seconds=None,
        startup_tries=0,
        released_until_seconds=None,
    )


def _revived_student(student: StudentState) -> StudentState:
    if student.standing in (Standing.DONE, Standing.DROPPED):
        return student
    return replace(student, standing=Standing.IDLE, ending=None, backoff_until_seconds=None, account=Account())


def announce(told: Console, job: DistillJob, folder: RunFolder, settings: Settings, state: JobState) -> None:
    """Say what begins, or goes on, and on what."""
    students = resolve_students(job.spec)
    verb = "go on with" if state.started_seconds is not None else "run"
    num_gpus = len(settings.gpus)
    where = f"{num_gpus} {'GPU' if num_gpus == 1 else 'GPUs'}" if num_gpus else "CPU"
    told.print(
        f"{verb} [bold]{job.metadata.name}[/] in {escape(str(folder.root))}: {len(students)} "
        f"{'student' if len(students) == 1 else 'students'} on {where}, {settings.threads} "
        f"{'thread' if settings.threads == 1 else 'threads'} each",
        soft_wrap=True,
    )
    if not settings.gpus and settings.device == "auto" and any(student.gpus for student in students):
        told.print("there is no GPU here: all students train on the CPU")
    if state.outcome is not None:
        told.print(f"it failed before ({state.outcome.reason.value}); trying again", soft_wrap=True)


def conclude(state: JobState, folder: RunFolder, aggregator: Child | None) -> LocalResult:
    """Give the result of a run whose processes have all ended.

    Raises:
        JobFailed: there is none.
    """
    if aggregator is not None:
        raise aggregator_failure(aggregator)
    assert state.outcome is not None
    if state.outcome.kind == "Complete":
        return finished(folder, state)
    raise job_failure(state, state.outcome, folder)


def finished(folder: RunFolder, state: JobState) -> LocalResult:
    """Read the result of a finished run; writes it and the page first if the last runner did not come so far."""
    if not folder.result.exists():
        folder.report.unlink(missing_ok=True)  # drawn by somebody while the run went on
        write_outcome(folder, {name: student.restarts.total for name, student in state.students.items()})
    if not folder.report.exists():
        draw_report(folder)
    return read_result(folder)


def draw_report(folder: RunFolder) -> None:
    """Draw the page about the run; whatever goes wrong there must not cost a finished run its result."""
    try:
        from distilljob.report.command import write_report  # matplotlib takes its time

        write_report([folder.root], folder.report)
    except Exception as error:
        console.err.print(f"[yellow]warning:[/] the report is missing: {escape(str(error))}", soft_wrap=True)
