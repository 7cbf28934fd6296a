"""The local runner, its students and its aggregator, killed, frozen and told to stop."""

import signal
from pathlib import Path

SLOW = "students[cnn].model={name: 'misbehaving:slow', options: {delay: 0.4}}"
SLOW_ALONE = "students=[{name: cnn, gpus: 0, model: {name: 'misbehaving:slow', options: {delay: 0.4}}}]"


def lives(number):
    """Whether a process still does anything; one that merely waits to be collected does not."""
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_student_and_aggregator_are_replaced_and_the_run_finishes(distilljob_run):
    run = distilljob_run(SLOW)
    run.until("cnn: epoch [1-7]/8")
    run.kill("aggregator")
    run.until("the aggregator ended with exit code 137")
    run.until("cnn: epoch [1-7]/8")
    run.kill("cnn")
    run.until("cnn: StudentStarted, attempt 2")
    assert run.end() == 0, run.output
    assert run.restarts() == {"mlp": 0, "cnn": 1}
    assert (run.folder / "logs" / "aggregator-2.log").exists()
    assert (run.folder / "logs" / "cnn-a2.log").exists()


def test_a_hung_student_is_replaced_and_its_log_keeps_the_stacks(distilljob_run):
    limits = "failurePolicy.hang={steadySeconds: 3, evaluationSeconds: 3, checkpointSeconds: 3}"
    run = distilljob_run(SLOW, limits)
    run.until("cnn: epoch [1-7]/8")
    run.kill("cnn", signal.SIGSTOP)
    run.until("cnn: StudentHung")
    assert run.end() == 0, run.output
    assert run.restarts() == {"mlp": 0, "cnn": 1}
    assert "most recent call first" in (run.folder / "logs" / "cnn-a1.log").read_text()


def test_a_killed_runner_leaves_no_process_and_the_same_command_goes_on(distilljob_run):
    run = distilljob_run(SLOW_ALONE)
    run.until("cnn: epoch [1-7]/8")
    alive = run.children()
    assert set(alive) == {"aggregator", "cnn"}
    run.process.kill()
    run.process.wait()
    again = distilljob_run(SLOW_ALONE)
    again.until("go on with tiny")
    assert not any(lives(number) for number in alive.values())
    assert again.end() == 0, again.output
    assert again.state()["students"]["cnn"]["attempt"] == 2
    assert again.state()["students"]["cnn"]["restarts"] == {"node": 1}


def test_a_signal_saves_and_the_same_command_goes_on_without_a_restart(distilljob_run):
    run = distilljob_run(SLOW)
    run.until("cnn: epoch [1-7]/8")
    run.process.terminate()
    assert run.end() == 143
    assert run.children() == {}
    assert "the same command goes on" in run.output
    again = distilljob_run(SLOW)
    assert again.end() == 0, again.output
    assert again.restarts() == {"mlp": 0, "cnn": 0}


def test_a_second_signal_waits_for_nobody_and_still_costs_no_restart(distilljob_run):
    run = distilljob_run(SLOW_ALONE.replace("0.4", "60"))
    run.until_logged("cnn-a1.log", '"event": "joined"')
    run.process.send_signal(signal.SIGINT)
    run.until("Suspending")
    run.process.terminate()
    assert run.end() == 143
    assert run.children() == {}
    cnn = run.state()["students"]["cnn"]
    assert cnn["last_termination"]["exit_code"] == 128 + signal.SIGKILL
    assert "restarts" not in cnn
