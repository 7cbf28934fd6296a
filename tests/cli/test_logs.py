from types import SimpleNamespace

import pytest

from distilljob.local import failure
from distilljob.local.machine import last_words
from distilljob.run_directory.folder import RunFolder
from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import JobState, Outcome, Standing, StudentState, Termination

SHAPES = """\
FactoryError: model 'm:f' with options {} raised RuntimeError: Error(s) in loading state_dict for Net:
    Missing key(s) in state_dict: "fc.weight".
ValueError: was raised below
    size mismatch for conv.weight
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "x.py", line 1, in <module>
KeyError: 'first'

During handling of the above exception, another exception occurred:

torch.OutOfMemoryError: CUDA out of memory.
Tried to allocate 2 GiB
"""


@pytest.fixture
def words(tmp_path):
    """Give the last words of a process with this log and exit code."""

    def read(text, exit_code=80):
        (tmp_path / "log").write_text(text)
        return last_words(SimpleNamespace(exit_code=exit_code, log=tmp_path / "log"))

    return read


def test_an_error_of_several_lines_is_told_from_the_line_that_names_it(words):
    told = words('{"event": "failed"}\n' + SHAPES)
    assert told.startswith("FactoryError: model 'm:f' with options {} raised RuntimeError: Error(s) in loading")
    assert 'Missing key(s) in state_dict: "fc.weight". ValueError: was raised below size mismatch' in told


def test_a_traceback_is_told_by_the_error_that_ends_it(words):
    assert words(TRACEBACK, exit_code=1) == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"


@pytest.mark.parametrize(("text", "told"), [("it is all over\n---\n", "it is all over"), ("", ""), ("---", "")])
def test_a_log_that_names_no_error_is_told_by_its_last_line_with_a_word(words, text, told):
    assert words(text, exit_code=3) == told


@pytest.mark.parametrize("exit_code", [None, 0, 137])
def test_who_runs_or_is_done_or_was_killed_left_no_words(words, exit_code):
    assert words(SHAPES, exit_code) == ""


def failed(tmp_path, capsys, reason, exit_code, log):
    folder = RunFolder(tmp_path)
    folder.make()
    (folder.logs / "mlp-a1.log").write_text(log)
    end = Termination(attempt=1, reason=reason.value, exit_code=exit_code, message="", time_seconds=1.0)
    student = StudentState(Standing.IDLE, attempt=1, last_termination=end)
    outcome = Outcome("Failed", reason, "student mlp: failed", 2.0)
    failure.print_failure(failure.job_failure(JobState("u", {"mlp": student}, outcome=outcome), outcome, folder))
    return " ".join(capsys.readouterr().err.split())


def test_a_fatal_error_is_shown_with_all_its_lines_and_nothing_before(tmp_path, capsys):
    shown = failed(tmp_path, capsys, Reason.FATAL_SPEC, 80, "noise before\n" + SHAPES)
    assert "FactoryError: model" in shown
    assert "size mismatch for conv.weight" in shown
    assert "noise before" not in shown
    assert "PYTHONPATH" in shown


def test_after_a_mismatch_there_is_a_way_out_when_the_first_was_wrong(tmp_path, capsys):
    shown = failed(tmp_path, capsys, Reason.FATAL_MISMATCH, 82, "FingerprintMismatch: other data")
    assert "if the data changed, begin with --fresh" in shown
