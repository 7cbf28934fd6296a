import json

import pytest

from distilljob.errors import BadInput
from distilljob.job_file import read_job
from distilljob.local import host
from distilljob.local.run import claim, rested, revived
from distilljob.local.settings import Settings, settle, to_store
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.memory import Memory, read_memory, write_memory
from distilljob.run_directory.wishes import Wish, read_wish, write_wish
from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Account, JobState, Outcome, Standing, StudentState


def test_a_folder_keeps_its_uid_and_takes_what_may_change(job_file, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    first = claim(folder, read_job(job_file))
    again = claim(folder, read_job(job_file, ["stopAfterCycle=1"]))
    assert again.metadata.uid == first.metadata.uid != ""
    assert again.spec.stop_after_cycle == 1
    assert "stopAfterCycle: 1" in folder.job_yaml.read_text()
    assert json.loads(folder.snapshot.read_text())["metadata"]["uid"] == first.metadata.uid


def test_another_job_leaves_the_folder_as_it_was(job_file, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    claim(folder, read_job(job_file))
    before = folder.job_yaml.read_text()
    with pytest.raises(BadInput, match="--fresh"):
        claim(folder, read_job(job_file, ["method.cycles=5"]))
    assert folder.job_yaml.read_text() == before


def test_before_the_first_start_nothing_is_remembered(tmp_path):
    assert read_memory(RunFolder(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": {}, "lifecycle": {"uid": 5}}', "\xff"])
def test_a_damaged_memory_is_bad_input_with_a_way_out(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.state.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_memory(folder)
    assert caught.value.problems[0].path == str(folder.state)
    assert "--fresh" in caught.value.problems[0].hint


def test_what_was_remembered_is_read_back(tmp_path):
    folder = RunFolder(tmp_path)
    settings, state = Settings(3, "cpu", tmp_path, ()), JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=3)})
    memory = Memory(state, to_store(settings), 5.0)
    write_memory(folder, memory)
    assert read_memory(folder) == memory
    assert memory.settings == {"threads": 3, "device": "cpu", "data": str(tmp_path)}


def test_a_table_of_another_version_is_merely_not_shown(tmp_path):
    folder, memory = RunFolder(tmp_path), Memory(JobState("u"), {}, 5.0)
    write_memory(folder, memory)
    folder.state.write_text(json.dumps(json.loads(folder.state.read_text()) | {"table": {"rows": 3}}))
    assert read_memory(folder) == memory


@pytest.mark.parametrize(("alive_seconds", "active_seconds"), [(160.0, 67.0), (90.0, 7.0), (None, 7.0)])
def test_the_time_after_a_runner_was_killed_is_not_active(alive_seconds, active_seconds):
    state = JobState("u", active_since_seconds=100.0, active_seconds=7.0, startup_since_seconds=100.0)
    again = rested(Memory(state, {}, alive_seconds))
    assert (again.active_since_seconds, again.active_seconds) == (None, active_seconds)
    assert again.startup_since_seconds is None


def test_a_run_that_was_stopped_in_order_has_counted_its_time_itself():
    state = JobState("u", active_seconds=7.0)
    assert rested(Memory(state, {}, 160.0)) is state


@pytest.mark.parametrize(("settings", "kept"), [([], True), (["stopAfterCycle=2"], False)])
def test_the_newer_of_two_wishes_counts(job_file, tmp_path, settings, kept):
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    claim(folder, read_job(job_file))
    write_wish(folder, Wish(stop_after_cycle=1, instead_of=None))
    claim(folder, read_job(job_file, settings))
    assert (read_wish(folder) is not None) == kept


def test_a_damaged_wish_is_bad_input(tmp_path):
    folder = RunFolder(tmp_path)
    folder.wishes.write_text("{")
    with pytest.raises(BadInput) as caught:
        read_wish(folder)
    assert "wishes.json" in caught.value.problems[0].path


def test_a_run_that_did_not_fail_goes_on_as_it_is():
    state = JobState("u", {"mlp": StudentState(Standing.LIVE, attempt=3)})
    assert revived(state) is state


def test_a_failed_run_goes_on_with_full_budgets_but_without_the_dropped():
    spent = StudentState(Standing.LIVE, attempt=7, pod_uid="p", account=Account(spent=6))
    over = {"cnn": StudentState(Standing.DONE, attempt=1), "bn": StudentState(Standing.DROPPED, attempt=2)}
    outcome = Outcome("Failed", Reason.BUDGET_EXHAUSTED, "mlp has no restart left", 1.0)
    again = revived(JobState("u", {"mlp": spent, **over}, outcome=outcome))
    assert again.outcome is None
    assert again.students["mlp"].standing is Standing.IDLE
    assert (again.students["mlp"].attempt, again.students["mlp"].account) == (7, Account())
    assert {name: again.students[name] for name in over} == over


def test_threads_are_settled_once_and_the_device_until_told_otherwise(job_file, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    spec = read_job(job_file).job.spec
    first = settle(spec, {}, tmp_path, "cpu")
    assert first.threads >= 1
    kept = settle(spec, to_store(first) | {"threads": 5}, tmp_path, None)
    assert (kept.threads, kept.device) == (5, "cpu")
    assert settle(spec, to_store(first), tmp_path, "auto").device == "auto"


def test_a_gpu_is_found_and_a_missing_one_refused(job_file, tmp_path, monkeypatch):
    spec = read_job(job_file).job.spec
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(host, "_nvidia_smi", lambda: "GPU 0: X\nGPU 1: X\n")
    assert settle(spec, {}, tmp_path, "cuda").gpus == ("0", "1")
    assert settle(spec, {}, tmp_path, "cpu").gpus == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BadInput, match="no NVIDIA GPU"):
        settle(spec, {}, tmp_path, "cuda")
