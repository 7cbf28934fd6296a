import io
from dataclasses import replace

import pytest
from rich.console import Console

from distilljob.local.picture import Painter, Picture, Row
from distilljob.local.view import LiveView, PlainView, open_view, render
from distilljob_core.lifecycle.model import Ending, EndReason, JobState, Manner, Standing, StudentState
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import CloseView, RoundTable, StudentView


def row(name="mlp", **changes):
    known = {
        "doing": "Independent", "attempt": 1, "cycle": 1, "epoch": 3.4, "planned_epochs": 8, "loss": 0.1234,
        "accuracy": 0.952, "samples_per_second": 1234.0, "eta_seconds": 12.0,
    }  # fmt: skip
    return Row(name, **(known | changes))


def picture(*rows):
    return Picture("tiny", "MD", 1, 2, None, 42.0, 1, rows)


def drawn(shown, width, height=30):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(render(shown, width, height))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_fits_with_every_number_whole(width):
    crowded = row("a-long-student", doing="Checkpointing", epoch=139.0, planned_epochs=160, eta_seconds=86_399 * 3)
    lines = drawn(picture(row(), crowded, row(samples_per_second=123_456.0)), width)
    assert all(len(line) <= width for line in lines)
    assert lines[0] == "tiny · MD · cycle 1/2 · 42s · restarts 1 · ETA 2d23h"
    for whole in ("Independent", "Checkpointing", "1/2", "3/8", "139/160", "0.1234", "95.20", "123,456", "12s", "━"):
        assert any(whole in line for line in lines), whole
    assert not any("…" in line and "a-long" not in line for line in lines)


def test_a_narrow_terminal_loses_speed_and_bar_before_numbers():
    lines = drawn(picture(row()), 60)
    assert all(len(line) <= 60 for line in lines)
    assert lines[2].split() == ["mlp", "Independent", "1/2", "3/8", "0.1234", "95.20", "12s"]


def test_a_low_terminal_shows_the_students_furthest_back():
    lines = drawn(picture(*(row(f"s{index}", epoch=float(index)) for index in range(8))), 100, height=8)
    assert len(lines) < 8
    assert lines[-1] == "and 5 more, further on"
    assert [line.split()[0] for line in lines[2:5]] == ["s0", "s1", "s2"]


def test_plain_output_is_one_line_an_epoch_and_student():
    console = Console(file=io.StringIO(), width=40)
    view = open_view(console)
    assert isinstance(view, PlainView)
    for epoch in (0.2, 0.9, 1.0, 1.5, 2.1):
        view.show(picture(row(epoch=epoch), row("cnn", epoch=epoch / 2, loss=None, accuracy=None)))
    view.tell("cycle 1 closed: 3 students", elapsed_seconds=65.0)
    view.close()
    assert console.file.getvalue().splitlines() == [
        "    42s  mlp: epoch 1/8, cycle 1/2, Independent, loss 0.1234, test 95.20 %, 1,234 samples/s",
        "    42s  mlp: epoch 2/8, cycle 1/2, Independent, loss 0.1234, test 95.20 %, 1,234 samples/s",
        "    42s  cnn: epoch 1/8, cycle 1/2, Independent, 1,234 samples/s",
        "  1m05s  cycle 1 closed: 3 students",
    ]


def test_a_terminal_gets_the_live_view():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    view = open_view(console)
    assert isinstance(view, LiveView)
    view.tell("mlp: StudentCrashed [x]", elapsed_seconds=1.0, is_warning=True)
    view.show(picture(row()))
    view.close()
    assert "StudentCrashed [x]" in console.file.getvalue()


def table(**changes):
    seen = {
        "name": "mlp", "phase": StudentPhase.INDEPENDENT, "attempt": 1, "pod_uid": "u", "ever_joined": True, "cycle": 1,
        "epoch": 2.0, "planned_epochs": 8, "step": 1, "loss": 0.5, "accuracy": {"test": 0.9, "holdout": 0.8},
        "teacher_gain": None, "samples_per_second": 10.0, "rows_durable": 0, "rows_total": 0, "barrier_seconds": 0.0,
        "last_heartbeat_timestamp_seconds": 0.0, "last_progress_timestamp_seconds": 0.0, "parked_attempt": None,
        "owes_rows": True, "behind": False, "summary": None,
    }  # fmt: skip
    close = CloseView(cycle=1, split="train", contributors=["mlp"], weights=[1], missing=[], last=False)
    return RoundTable(
        job="tiny", uid="u", clock_timestamp_seconds=0.0, started_timestamp_seconds=0.0, cycles=2, open=None,
        closes=[close], students=[StudentView(**(seen | changes))], complete=False, storage_full=None,
    )  # fmt: skip


def test_a_picture_keeps_the_last_table_that_could_be_read(job_file):
    from distilljob.job_file import read_job

    painter = Painter(read_job(job_file).job, 100.0)
    state = JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=1)}, active_since_seconds=100.0)
    painter.picture(state, table(), 110.0)
    later = painter.picture(state, table(epoch=4.0), 120.0)
    blind = painter.picture(state, None, 121.0)
    assert (later.cycle, later.cycles, later.elapsed_seconds) == (2, 2, 20.0)
    assert later.rows[0].eta_seconds == 4.0 * 20.0 / 4.0
    assert later.rows[0].accuracy == 0.9
    assert blind.rows[0].epoch == 4.0


def test_nobody_tells_when_a_run_ends_before_all_its_students_have_joined(job_file):
    from distilljob.job_file import read_job

    students = {"mlp": StudentState(Standing.LIVE, attempt=1), "cnn": StudentState()}
    state = JobState("u", students, active_since_seconds=0.0)
    picture = Painter(read_job(job_file).job, 0.0).picture(state, table(), 20.0)
    assert (picture.rows[0].eta_seconds, picture.eta_seconds) == (60.0, None)
    left = replace(state, students=students | {"cnn": StudentState(Standing.DROPPED)})
    assert Painter(read_job(job_file).job, 0.0).picture(left, table(), 20.0).eta_seconds == 60.0


def test_a_student_that_comes_back_shows_no_speed_of_its_dead_attempt(job_file):
    from distilljob.job_file import read_job

    state = JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=2)})
    row = Painter(read_job(job_file).job, 0.0).picture(state, table(last_progress_timestamp_seconds=1.0), 1.0).rows[0]
    assert (row.doing, row.epoch, row.accuracy) == ("Starting", 2.0, 0.9)
    assert (row.samples_per_second, row.eta_seconds, row.silent_seconds) == (0.0, None, None)


def test_before_the_first_join_a_student_is_starting(job_file):
    from distilljob.job_file import read_job

    painter = Painter(read_job(job_file).job, 0.0)
    state = JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=1)})
    for seen in (None, table(ever_joined=False)):
        shown = painter.picture(state, seen, 1.0)
        assert (shown.rows[0].doing, shown.rows[0].done, shown.rows[0].eta_seconds) == ("Starting", 0.0, None)


@pytest.mark.parametrize(
    ("student", "word"),
    [
        (StudentState(Standing.DONE), "Finished"),
        (StudentState(Standing.DROPPED), "Dropped"),
        (StudentState(Standing.PARKED), "Parked"),
        (StudentState(Standing.IDLE), "Queued"),
        (StudentState(Standing.IDLE, backoff_until_seconds=112.0), "Back-off 12s"),
        (StudentState(Standing.LIVE, attempt=1), "Independent"),
        (StudentState(Standing.LIVE, attempt=2), "Starting"),
        (StudentState(Standing.LIVE, 1, ending=Ending(1, EndReason.HANG, Manner.GRACEFUL, 0.0)), "Ending"),
    ],
)
def test_what_a_student_does_is_one_word(job_file, student, word):
    from distilljob.job_file import read_job

    shown = Painter(read_job(job_file).job, 0.0).picture(JobState("u", {"mlp": student}), table(), 100.0)
    assert shown.rows[0].doing == word
