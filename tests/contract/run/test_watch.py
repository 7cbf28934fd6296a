"""A real run seen from outside while it goes on, after it was killed, and when it is done."""

import json
import os
import pty
import resource
import select
import signal
import subprocess
import time
from typing import NamedTuple

import pytest

from distilljob.main import main

SLOW = "students[cnn].model={name: 'misbehaving:slow', options: {delay: 0.4}}"
LEAVE_SCREEN = b"\x1b[?1049l"


def run_in_terminal(command, keys, until):
    """Run a command in a terminal of its own and press keys once it shows a text; its exit code and all it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(theirs)
    written = b""
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            written += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if until in written and keys:
            os.write(ours, keys)
            keys = b""
    os.close(ours)
    return process.wait(), written


@pytest.fixture
def ask(capsys, monkeypatch):
    """Give a command on a run's folder; its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def ask(run, command, *arguments):
        capsys.readouterr()
        code = main([command, str(run.folder), *arguments])
        return Answer(code, *capsys.readouterr())

    return ask


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def check_live(run, ask):
    status = json.loads(ask(run, "status", "--json").out)
    assert (status["phase"], status["runner"], status["stopAfterCycle"]) == ("Running", str(run.process.pid), None)
    assert (status["cycle"], status["cycles"], status["aggregator"]) == (1, 3, "ready")
    cnn = status["students"][1]
    assert (cnn["name"], cnn["attempt"], cnn["lastTermination"]) == ("cnn", 1, None)
    assert cnn["silentSeconds"] < 60
    once = ask(run, "top").out
    assert "open round: cycle 1" in once
    assert "RunnerStarted" in once
    code, written = run_in_terminal([*run.program, "top", str(run.folder)], b"q", b"open round")
    assert code == 0
    assert LEAVE_SCREEN in written


def until_remembered(run, student):
    """Wait until the runner has written down, which it does now and then, that a student has made a step."""
    while True:
        table = json.loads((run.folder / "state.json").read_text()).get("table") or {"students": []}
        if any(view["name"] == student and view["epoch"] > 0 for view in table["students"]):
            return
        assert run.process.poll() is None
        time.sleep(0.02)


def check_stopped(run, ask):
    """Gives the command that status names."""
    told = ask(run, "status").out
    status = " ".join(told.split())
    assert "Stopped (its runner was killed)" in status
    assert "ends after cycle 2" in status
    assert json.loads(ask(run, "status", "--json").out)["students"][0]["epoch"] > 0
    refused = ask(run, "finish", "--after-cycle", "4")
    assert refused.code == 2
    assert "only 1 to 3 are left" in refused.err
    command = told.rpartition("\n  ")[2].split()
    assert command[:2] == ["distilljob", "run"]
    return command


def check_finished(run, ask):
    assert run.result()["cycles"] == 1
    assert "Finished" in ask(run, "top").out
    assert "distilljob report" in ask(run, "status", "--watch").out
    assert ask(run, "finish").code == 2
    assert '"attempt": "1"' in ask(run, "logs", "cnn", "--attempt", "1").out
    assert '"attempt": "2"' in ask(run, "logs", "cnn").out
    unknown = ask(run, "logs", "cnn", "--attempt", "9")
    assert (unknown.code, "attempts 1 to 2" in unknown.err) == (3, True)


def check_events(run):
    told = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    starts = [event["attempt"] for event in told if event["reason"] == "StudentStarted" and event["student"] == "cnn"]
    assert starts == [1, 2]
    reasons = [event["reason"] for event in told if "student" not in event]
    wanted = {"RunnerStarted": 2, "RunnerStopped": 1, "RoundClosed": 2}
    assert {reason: reasons.count(reason) for reason in wanted} == wanted
    assert "FinishAsked" in reasons  # twice, if the first runner lived long enough to read it


def test_a_run_is_watched_ended_early_killed_and_gone_on_with(distilljob_run, ask):
    run = distilljob_run("students[cnn].model={name: 'misbehaving:slow', options: {delay: 5}}", "method.cycles=3")
    run.until("mlp: epoch 2/")
    run.until_logged("cnn-a1.log", '"event": "joined"')
    until_remembered(run, "mlp")
    check_live(run, ask)
    with run.follow("logs", "cnn", "--follow") as following:
        assert '"event": "joined"' in following.stdout.readline()
        early = ask(run, "finish", "--after-cycle", "2")
        assert "tiny ends after cycle 2 of 3; cycle 1 is open" in early.out
        run.process.kill()
        run.process.wait()
        following.stdout.read()
    assert following.returncode == 0
    command = check_stopped(run, ask)
    assert "tiny ends after cycle 1 of 3" in ask(run, "finish").out
    done = subprocess.run([*run.program, *command[1:]], cwd=run.cwd, env=run.environment, check=False)
    assert done.returncode == 0
    check_finished(run, ask)
    check_events(run)


def test_a_machine_that_sleeps_hurts_nobody_and_a_full_disk_stops_the_run_in_order(distilljob_run, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # its file would find the disk full too
    limits = "failurePolicy.hang={steadySeconds: 8, evaluationSeconds: 8, exchangeSeconds: 8, checkpointSeconds: 8}"
    run = distilljob_run(SLOW, limits, "method.cycles=1")
    run.until("cnn: epoch 1/")
    everybody = [run.process.pid, *run.children().values()]
    for number in everybody:
        os.kill(number, signal.SIGSTOP)
    time.sleep(10)
    for number in everybody:
        os.kill(number, signal.SIGCONT)
    run.until("cnn: epoch [2-3]/")

    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    assert run.end() == 1
    assert "error: the run has stopped" in run.output
    assert "free some space, then give the same command again" in " ".join(run.output.split())
    assert "Traceback" not in run.output
    assert run.children() == {}
    assert run.state()["students"]["cnn"]["attempt"] == 1
    assert all(json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines())

    again = distilljob_run(SLOW, limits, "method.cycles=1")
    assert again.end() == 0, again.output
    assert "Hung" not in (run.folder / "events.jsonl").read_text()
    assert set(again.state()["students"]["cnn"].get("restarts", {})) <= {"node"}
