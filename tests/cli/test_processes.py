import os
import signal
import sys
import time

import pytest

from distilljob.errors import MissingPart
from distilljob.local import processes
from distilljob.local.aggregator import BACKOFF_SECONDS, AggregatorKeeper
from distilljob.local.logs import last_lines
from distilljob.local.processes import find_program, start
from distilljob_core.plan import Process

PATIENT = "import sys; print('ready', flush=True); sys.stdin.read()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PATIENT


@pytest.fixture
def run(tmp_path):
    children = []

    def begin(code, environment=None, env=None):
        process = Process("p", "student", (sys.executable, "-c", code), env=env or {})
        with (tmp_path / "lock").open("wb") as lock:
            child = start(
                process, [], environment or {}, tmp_path / "log", inherited_lock=lock.fileno(), now_seconds=0.0
            )
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        ended(child)


def ended(child, now_seconds=1.0):
    while (code := child.poll(now_seconds)) is None:
        time.sleep(0.01)
    return code


def ready(child):
    while last_lines(child.log, 1) != ["ready"]:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "exit_code"), [("", 0), ("exit(75)", 75), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_an_end_is_reported_as_pods_report_it(run, code, exit_code):
    assert ended(run(code)) == exit_code


def test_a_child_is_told_to_leave_with_its_parent_and_holds_its_pipe(run):
    child = run("import sys, os, stat; print(sys.argv[1:], stat.S_ISFIFO(os.fstat(0).st_mode))")
    ended(child)
    assert last_lines(child.log, 1) == ["['--exit-with-parent'] True"]


def test_the_plan_wins_over_the_machine_and_both_over_the_users_environment(run, monkeypatch):
    monkeypatch.setenv("A", "user")
    monkeypatch.setenv("B", "user")
    monkeypatch.setenv("DISTILLJOB_STUDENT", "somebody else")
    code = "import os; print(*(os.environ.get(k) for k in ('A', 'B', 'C', 'DISTILLJOB_STUDENT')))"
    child = run(code, {"B": "machine", "C": "machine"}, {"C": "plan"})
    ended(child)
    assert last_lines(child.log, 1) == ["user machine plan None"]


def test_a_child_has_a_process_group_of_its_own_so_that_ctrl_c_is_the_runners(run):
    child = run(PATIENT)
    assert os.getpgid(child.pid) == child.pid


def test_a_child_that_does_not_leave_is_killed_when_its_grace_is_over(run):
    child = run(STUBBORN)
    ready(child)
    child.terminate(kill_at_seconds=100.0)
    assert child.poll(99.0) is None
    assert ended(child, 100.0) == 128 + signal.SIGKILL


def test_a_stopped_child_is_let_go_on_so_that_it_can_leave(run):
    child = run(PATIENT)
    ready(child)
    os.kill(child.pid, signal.SIGSTOP)
    child.terminate(kill_at_seconds=100.0)
    assert ended(child) == 128 + signal.SIGTERM


def test_a_more_pressing_end_replaces_a_milder_one(run):
    child = run(STUBBORN)
    ready(child)
    child.terminate(kill_at_seconds=100.0)
    child.terminate(kill_at_seconds=0.0)
    assert ended(child, 1.0) == 128 + signal.SIGKILL


def test_last_lines_of_no_log_are_none(tmp_path):
    assert last_lines(tmp_path / "none") == []


def test_a_missing_program_is_named_with_what_brings_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match=r"distilljob-trainer is not installed: pip install 'distilljob\[trainer\]'"):
        find_program("distilljob-trainer")


def test_a_missing_library_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setattr(processes, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingPart, match=r"distilljob-trainer needs torch: pip install 'distilljob\[trainer\]'"):
        processes.check_installed()


@pytest.mark.parametrize(("has_answered", "expected"), [(True, [*BACKOFF_SECONDS, 0.0]), (False, [0.0, 1.0, 0.0])])
def test_a_dead_aggregator_is_started_again_at_once_and_then_ever_slower(run, has_answered, expected):
    keeper = AggregatorKeeper(lambda now_seconds: run("exit(1)"))
    keeper.has_answered = has_answered
    now_seconds, waits = 0.0, []
    while keeper.failure is None:
        keeper.keep(True, now_seconds, grace_seconds=1.0)
        ended(keeper.child, now_seconds)
        assert keeper.observe(now_seconds).exit_code == 1
        before = now_seconds
        while keeper.failure is None and keeper.child is None:
            keeper.keep(True, now_seconds, grace_seconds=1.0)
            if keeper.child is None:
                now_seconds += 0.5
        waits.append(now_seconds - before)
    assert waits == expected
    assert keeper.failure.exit_code == 1


def test_a_fatal_end_of_the_aggregator_is_not_tried_again(run):
    keeper = AggregatorKeeper(lambda now_seconds: run("exit(87)"))
    keeper.keep(True, 0.0, grace_seconds=1.0)
    ended(keeper.child)
    keeper.observe(0.0)
    keeper.keep(True, 100.0, grace_seconds=1.0)
    assert keeper.child is None
    assert keeper.failure.exit_code == 87


def test_an_aggregator_that_was_asked_to_leave_did_not_fail(run):
    keeper = AggregatorKeeper(lambda now_seconds: run(PATIENT))
    keeper.keep(True, 0.0, grace_seconds=1.0)
    ready(keeper.child)
    keeper.keep(False, 0.0, grace_seconds=100.0)
    ended(keeper.child)
    assert keeper.observe(1.0) is None
    assert keeper.child is keeper.failure is None
