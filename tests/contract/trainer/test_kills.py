"""Kills, damage and wishes to leave: what an attempt leaves behind, the next one takes up."""

import re
import resource
import signal

import torch
from attempts import ALONE, said

from distilljob_core.exit_codes import ExitCode
from distilljob_trainer import sealed
from distilljob_trainer.checkpoint import Checkpoints

KILLS = {
    "joined": said("joined"),
    "independent": said("epoch", epoch=1),
    "boundary": said("checkpoint", stage="Exchange"),
    "lesson": said("cycle", cycle=1),
    "distilling": said("epoch", epoch=4),
    "second-cycle": said("epoch", epoch=6),
    "trained": said("checkpoint", stage="Done"),
    "predicted": said("exchange", split="evaluation"),
}


def test_kills_in_every_phase_leave_no_trace(job, undisturbed):
    """Each place is hit once, one attempt after the other, by kill -9."""
    killed = job("killed")
    other = killed.start("mlp")
    resumed_steps = []
    for place, seen in KILLS.items():
        process = killed.start("bn")
        process.until(seen)
        process.send(signal.SIGKILL)
        assert process.exit_code() == -signal.SIGKILL, place
        resumed_steps.append(next(line for line in process.lines if line["event"] == "joined")["resumed_at_step"])
    assert resumed_steps == sorted(resumed_steps)
    assert resumed_steps[-1] > resumed_steps[3] > 0
    last = killed.start("bn")
    assert last.exit_code() == ExitCode.DONE
    assert other.exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == undisturbed.weights()
    assert killed.attempts["bn"] == len(KILLS) + 1


def test_kills_leave_no_trace_with_adamw_cosine_a_moving_average_and_two_threads(job):
    training = {
        "optimizer": {"kind": "AdamW", "learningRate": 0.01},
        "schedule": {"kind": "Cosine", "warmupEpochs": 1},
        "emaDecay": 0.9,
    }
    short = {"independentEpochs": 1, "distillEpochs": 1}
    whole, killed = (job(name, training=training, method=short, students=ALONE) for name in ("whole", "killed"))
    for one in (whole, killed):
        one.environment["OMP_NUM_THREADS"] = "2"
    whole.run()
    for seen in (KILLS["lesson"], said("epoch", epoch=3), KILLS["trained"]):
        process = killed.start("bn")
        process.until(seen)
        process.send(signal.SIGKILL)
        assert process.exit_code() == -signal.SIGKILL
    last = killed.start("bn")
    assert last.until(said("joined"))["resumed_at_step"] > 0
    assert last.exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == whole.weights()
    assert [one.result()["exact"] for one in (whole, killed)] == [True, True]


def test_a_full_disk_costs_an_attempt_and_nothing_else(job, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # its file would find the disk full too
    whole, full = job("whole", students=ALONE), job("full", students=ALONE, forked=False)
    whole.run()
    process = full.start("bn")
    process.until(said("checkpoint", stage="Exchange"))
    resource.prlimit(
        process.pid, resource.RLIMIT_FSIZE, (2_000, 2_000)
    )  # a checkpoint is larger, the last words are not
    assert process.exit_code() == ExitCode.CRASH
    (line,) = process.errors.read_text().splitlines()
    assert re.fullmatch(rf"StorageFull: {full.folder}/bn/\S+: File too large; enlarge the volume .*", line)
    assert not list((full.folder / "bn").glob(".*"))
    state, _ = Checkpoints(full.folder / "bn").newest()
    assert state.cursor.steps > 0
    last = full.start("bn")
    assert last.until(said("joined"))["resumed_at_step"] == state.cursor.steps
    assert last.exit_code() == ExitCode.DONE
    full.wait_until_complete()
    assert full.weights() == whole.weights()


def test_a_run_that_another_machine_took_up_is_not_called_exact(job):
    moved = job("moved", students=ALONE)
    process = moved.start("bn")
    process.until(said("epoch", epoch=2))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED
    newest = max((moved.folder / "bn").glob("checkpoint-*.json"))
    body, tensors = sealed.read(newest)
    body["numerics"] |= {"torch": "2.0.0"}
    sealed.write(newest, body, tensors)
    last = moved.start("bn")
    reason = f"torch was 2.0.0, is {torch.__version__}"
    assert last.until(said("this machine computes differently: the run goes on, but not exactly"))["differing"] == [
        reason
    ]
    assert last.exit_code() == ExitCode.DONE
    moved.wait_until_complete()
    result = moved.result()
    assert not result["exact"]
    assert result["students"][0]["inexactReasons"] == [reason]


def test_sigterm_saves_and_leaves_with_143_and_all_stacks(job, undisturbed):
    ended = job("ended")
    other = ended.start("mlp")
    process = ended.start("bn")
    process.until(said("epoch", epoch=2))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED
    assert "Current thread" in process.errors.read_text()
    last = ended.start("bn")
    assert last.until(said("joined"))["resumed_at_step"] > 0
    assert [last.exit_code(), other.exit_code()] == [ExitCode.DONE, ExitCode.DONE]
    ended.wait_until_complete()
    assert ended.weights() == undisturbed.weights()


def test_a_waiting_student_leaves_at_once_on_sigterm(job):
    alone = job("alone")
    process = alone.start("bn")
    process.until(said("checkpoint", stage="Exchange"))
    process.send(signal.SIGTERM)
    assert process.exit_code() == ExitCode.TERMINATED


def test_an_old_attempt_is_fenced_and_never_writes_again(job):
    fenced = job("fenced")
    old = fenced.start("bn")
    old.until(said("checkpoint", stage="Exchange"))
    new = fenced.start("bn", f"--checkpoints={fenced.folder}/elsewhere")
    new.until(said("joined"))
    assert old.exit_code() == ExitCode.FENCED
    assert "Fenced: " in old.errors.read_text()


def test_a_student_leaves_with_its_parent(job):
    orphan = job("orphan")
    process = orphan.start("bn", "--exit-with-parent")
    process.until(said("checkpoint", stage="Exchange"))
    process.close_input()
    assert process.exit_code() == ExitCode.TERMINATED
