"""Status, top, logs and finish on run directories that nobody runs, or that only seem to be run."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from distilljob.errors import BadInput
from distilljob.job_file import read_job
from distilljob.local.run import claim
from distilljob.main import main
from distilljob.run_directory.events import RunEvent, RunReason, append_event
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.memory import Memory, write_memory
from distilljob.run_directory.wishes import read_wish
from distilljob.watch.finish import run_finish
from distilljob.watch.logs import readable
from distilljob.watch.sight import Watcher
from distilljob.watch.status import render_status, to_json
from distilljob.watch.top import render_top
from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import JobState, Outcome, Restarts, Standing, StudentState, Termination
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView

CRASH = Termination(attempt=2, exit_code=137, reason="", time_seconds=100.0, message="killed")
HURT = StudentState(Standing.IDLE, attempt=2, restarts=Restarts(crash=2, hang=1), last_termination=CRASH)


def view(name, **changes):
    seen = {
        "name": name, "phase": StudentPhase.UPLOADING, "attempt": 1, "pod_uid": "u", "ever_joined": True, "cycle": 1,
        "epoch": 12.0, "planned_epochs": 160, "step": 1, "loss": 0.5, "accuracy": {"test": 0.9}, "teacher_gain": None,
        "samples_per_second": 123_456.0, "rows_durable": 12_500, "rows_total": 50_000, "barrier_seconds": 3700.0,
        "last_heartbeat_timestamp_seconds": 90.0, "last_progress_timestamp_seconds": 90.0, "parked_attempt": None,
        "owes_rows": True, "behind": False, "summary": None,
    }  # fmt: skip
    return StudentView(**(seen | changes))


def table(*views, closes=(), is_open=True):
    return RoundTable(
        job="tiny", uid="u", clock_timestamp_seconds=100.0, started_timestamp_seconds=0.0, cycles=2,
        open=RoundView(cycle=1, split="train", open_seconds=3.0) if is_open else None, closes=list(closes),
        students=list(views), complete=False, storage_full=None,
    )  # fmt: skip


def close(cycle, *, last=False):
    return CloseView(cycle=cycle, split="train", contributors=["mlp"], weights=[1], missing=[], last=last)


@pytest.fixture
def make_run(job_file, tmp_path):
    """Make a run directory as a runner leaves it."""

    def make(state=None, seen=None, settings=(), events=()):
        folder = RunFolder(tmp_path / "run")
        folder.make()
        job = claim(folder, read_job(job_file, settings))
        if state is not None:
            state = replace(state, uid=job.metadata.uid)
            write_memory(folder, Memory(state, {"data": "/my data"}, alive_seconds=160.0, table=seen))
        for reason in events:
            append_event(folder, RunEvent(timestamp_seconds=1.0, reason=reason))
        return folder

    return make


def drawn(renderable, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("command", [["status"], ["top"], ["finish"], ["logs", "mlp"]])
def test_what_is_no_run_is_not_found(tmp_path, capsys, command):
    for folder, words in ((tmp_path / "none", "no such folder"), (tmp_path, "holds no run")):
        assert main([command[0], str(folder), *command[1:]]) == 3
        assert words in " ".join(capsys.readouterr().err.split())


def test_a_run_that_never_came_to_its_first_start_is_stopped(make_run, capsys):
    folder = make_run()
    assert main(["status", str(folder.root), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["phase"], status["runner"], status["reason"]) == ("Stopped", None, None)
    assert [student["phase"] for student in status["students"]] == ["Stopped", "Stopped"]


def test_looking_changes_nothing(make_run):
    folder = make_run(JobState("u", {"mlp": HURT}), table(view("mlp")))
    before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")}
    assert main(["status", str(folder.root)]) == main(["top", str(folder.root)]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")} == before


def test_a_stopped_run_tells_where_each_student_is_and_how_to_go_on(make_run, capsys):
    state = JobState("u", {"mlp": HURT}, active_since_seconds=100.0, active_seconds=5.0)
    folder = make_run(state, table(view("mlp", attempt=2)), events=[RunReason.RUNNER_STARTED])
    assert main(["status", str(folder.root)]) == 0
    told = capsys.readouterr().out
    assert "cycle 1/2 · 1m05s · restarts 3 · Stopped (its runner was killed)" in told
    assert "aggregator: not running" in told
    assert "12/160  90.00 crash 2, hang 1" in told
    assert "mlp: attempt 2 ended with exit code 137" in told
    assert told.splitlines()[-1] == (f"  distilljob run {folder.job_yaml} -o {folder.root} --data '/my data'")


def test_a_runner_that_said_good_bye_was_not_killed(make_run):
    folder = make_run(JobState("u"), events=[RunReason.RUNNER_STARTED, RunReason.RUNNER_STOPPED])
    assert not to_json(Watcher(folder.root).look())["runnerWasKilled"]


def test_a_failed_run_tells_why_and_what_to_change(make_run, capsys):
    outcome = Outcome("Failed", Reason.STUDENT_DIVERGED, "student mlp: attempt 1 exited 85", 1.0)
    folder = make_run(JobState("u", {"mlp": HURT}, outcome=outcome))
    assert main(["status", str(folder.root)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Failed" in told
    assert "failed: student mlp: attempt 1 exited 85 (StudentDiverged)" in told
    assert "lower training.optimizer.learningRate" in told


def test_a_run_whose_aggregator_does_not_answer_says_so(make_run):
    folder = make_run(JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=1)}))
    with folder.locked():
        sight = Watcher(folder.root).look()
        assert (sight.phase, sight.aggregator) == ("Running", "the aggregator has no address yet")
        assert "the aggregator has no address yet" in drawn(render_top(sight, [], 80, 24), 80)
        assert "the aggregator has no address yet" in drawn(render_status(sight, 80), 80)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("height", [24, 80])
def test_top_fits_with_64_students_and_every_number_whole(make_run, width, height):
    names = [f"a-long-student-{number}" for number in range(64)]
    students = (
        "students=[" + ", ".join(f"{{name: {name}, gpus: 0, model: {{name: mlp_small}}}}" for name in names) + "]"
    )
    state = JobState("u", {name: StudentState(Standing.LIVE, attempt=1, restarts=Restarts(crash=7)) for name in names})
    folder = make_run(state, table(*map(view, names)), [students], [RunReason.RUNNER_STARTED] * 20)
    sight = Watcher(folder.root).look()
    lines = drawn(render_top(sight, [0.01, -0.02], width, height), width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= height
    assert "open round: cycle 1, 0 of 64 students complete" in lines[1]
    rows = "12,500/50,000" if width == 120 else "25%"
    for whole in ("12/160", "0.5000", "90.00", "123,456", rows, "1h01m", "7"):
        assert whole in lines[4], whole
    assert "teacher gain by cycle, hold-out points: +1.00, -2.00" in lines
    assert "RunnerStarted" in lines[-1]


@pytest.mark.parametrize(
    ("seen", "settings", "asked", "words"),
    [
        (table(view("mlp"), closes=[close(1)]), [], 1, "only 2 is left"),
        (table(view("mlp")), ["method.cycles=7"], 8, "only 1 to 7 are left"),
        (table(view("mlp"), closes=[close(1), close(2, last=True)]), [], None, "has closed its last cycle, 2"),
        (None, ["method.name=Independent"], None, "its method is Independent"),
    ],
)
def test_a_run_ends_early_only_where_it_can(make_run, seen, settings, asked, words):
    folder = make_run(JobState("u"), seen, settings)
    with pytest.raises(BadInput) as caught:
        run_finish(folder.root, asked)
    assert words in str(caught.value)
    assert read_wish(folder) is None


@pytest.mark.parametrize(("asked", "cycle"), [(None, 2), (3, 3), (4, 4)])
def test_a_wish_to_end_early_is_kept_and_shown(make_run, asked, cycle, capsys):
    folder = make_run(JobState("u"), table(view("mlp"), closes=[close(1)]), ["method.cycles=4"])
    assert run_finish(folder.root, asked) == 0
    assert read_wish(folder).stop_after_cycle == cycle
    assert to_json(Watcher(folder.root).look())["stopAfterCycle"] == cycle
    assert "distilljob run" in capsys.readouterr().out


def test_a_damaged_memory_is_bad_input(make_run, capsys):
    folder = make_run(JobState("u"))
    folder.state.write_text("{")
    assert main(["status", str(folder.root)]) == 2
    assert "state.json" in "".join(capsys.readouterr().err.split())


def test_logs_are_found_by_attempt_the_newest_first(make_run, capfdbinary):
    folder = make_run(JobState("u"))
    for number in (1, 2, 10):
        (folder.logs / f"mlp-a{number}.log").write_text(f"attempt {number}\nhalf a line")
    (folder.logs / "mlp-a2.log.gz").touch()
    (folder.logs / "aggregator-1.log").write_text("listening\n")
    for arguments, told in (
        (["mlp"], b"attempt 10\nhalf a line"),
        (["mlp", "--attempt", "2"], b"attempt 2\nhalf a line"),
        (["mlp", "-f"], b"attempt 10\nhalf a line"),
        (["mlp", "--attempt", "1", "-f"], b"attempt 1\nhalf a line"),
        (["aggregator"], b"listening\n"),
        (["runner"], b""),
    ):
        assert main(["logs", str(folder.root), *arguments]) == 0
        assert capfdbinary.readouterr().out == told


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["resnet"], 3, "resnet is none of this run's processes: mlp, cnn, aggregator, runner"),
        (["cnn"], 3, "cnn has not been started"),
        (["cnn", "--attempt", "1"], 3, "cnn has not been started"),
        (["cnn", "-f"], 3, "cnn has not been started"),
        (["mlp", "--attempt", "4"], 3, "mlp has no log of attempt 4; there are attempts 1 to 3"),
        (["runner", "--attempt", "1"], 2, "leave out --attempt"),
    ],
)
def test_a_log_that_is_not_there_is_told_with_those_that_are(make_run, capsys, arguments, code, words):
    folder = make_run(JobState("u"))
    for number in (1, 3):
        (folder.logs / f"mlp-a{number}.log").touch()
    assert main(["logs", str(folder.root), *arguments]) == code
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            (
                '{"student": "mlp", "attempt": 1, "epoch": 3, "loss": 0.123456789, "event": "epoch", "level": "info", '
                '"timestamp": "2026-01-02T03:04:05.678Z", "open": "cycle 1, train", "tags": [1, "a b"], "stage": "x"}'
            ),
            '03:04:05 info    epoch  epoch=3 loss=0.123457 open="cycle 1, train" tags=[1, "a b"] stage=x',
        ),
        ('{"event": "left"}', "                 left"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("[1]", "[1]"),
        ('{"a": 1}', '{"a": 1}'),
        ("[bold]x[/]", "[bold]x[/]"),
    ],
)
def test_a_terminal_shows_log_lines_for_people(line, shown):
    assert readable(line).plain == shown


@pytest.mark.parametrize("command", [["status"], ["top"], ["finish"], ["logs", "mlp"]])
def test_a_snapshot_that_nobody_knows_is_bad_input_and_names_the_file(make_run, capsys, command):
    folder = make_run()
    folder.snapshot.write_text('{"kind": "DistillJob"}')
    assert main([command[0], str(folder.root), *command[1:]]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "the run cannot be read" in told
    assert "put back a copy of the file" in told


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("state.json", ["status"]),
        ("wishes.json", ["top"]),
        ("logs/mlp-a1.log", ["logs", "mlp"]),
        ("job.json", ["logs", "mlp"]),
    ],
)
def test_what_cannot_be_read_is_named_without_a_traceback(make_run, capsys, name, command):
    root = make_run(JobState("u")).root
    (root / name).unlink(missing_ok=True)
    (root / name).mkdir()
    assert main([command[0], str(root), *command[1:]]) == 2
    told = "".join(capsys.readouterr().err.split())
    assert f"{root / name}cannotbeused:Isadirectory" in told


def test_names_of_folders_are_printed_as_they_are(tmp_path, capsys):
    folder = tmp_path / ":fire: [red]"
    folder.mkdir()
    assert main(["status", str(folder)]) == 3
    assert ":fire: [red] holds no run" in " ".join(capsys.readouterr().err.split())


def test_a_file_is_no_folder(job_file, capsys):
    assert main(["status", str(job_file)]) == 3
    assert "is a file; name the folder of a run" in " ".join(capsys.readouterr().err.split())
