import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from distilljob.errors import BadInput
from distilljob.run_directory import folder as folders
from distilljob.run_directory.folder import RUN_MADE, RunFolder, write_json


def begun(root):
    folder = RunFolder(root)
    root.mkdir(exist_ok=True)
    write_json(folder.snapshot, {"kind": "DistillJob"})
    folder.make()
    return folder


def test_an_absent_or_empty_folder_may_be_used(tmp_path):
    RunFolder(tmp_path / "new").check_usable()
    RunFolder(tmp_path).check_usable()


def test_a_run_may_be_used_again(tmp_path):
    begun(tmp_path).check_usable()


def test_a_folder_whose_run_was_killed_while_it_wrote_its_snapshot_may_be_used(tmp_path):
    (tmp_path / ".job.json.tmp").write_text('{"kind"')
    RunFolder(tmp_path).check_usable()


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadInput, match="neither empty nor a run directory"):
        RunFolder(tmp_path).check_usable()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file"):
        RunFolder(tmp_path / "file").check_usable()


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "Pod"}', "\x00"])
def test_a_damaged_snapshot_is_no_run(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    assert not RunFolder(tmp_path).is_run()


def test_clearing_removes_what_a_run_made_and_nothing_else(tmp_path):
    folder = begun(tmp_path)
    for name in RUN_MADE:
        if not (tmp_path / name).exists():
            (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    folder.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_second_runner_is_refused_with_the_firsts_number(tmp_path):
    with RunFolder(tmp_path).locked(), pytest.raises(BadInput, match=str(os.getpid())), RunFolder(tmp_path).locked():
        pass


def test_a_folder_is_in_use_until_the_last_inherited_lock_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LEFTOVER_SECONDS", 0)
    with RunFolder(tmp_path).locked() as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(BadInput, match="earlier runner are still alive"), RunFolder(tmp_path).locked():
        pass
    child.communicate()
    monkeypatch.setattr(folders, "LEFTOVER_SECONDS", 1)
    with RunFolder(tmp_path).locked():
        pass


def use(folder):
    folder.check_usable()
    with folder.locked():
        pass


def test_a_folder_below_a_file_is_refused_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="Not a directory; choose another folder"):
        use(RunFolder(tmp_path / "file" / "run"))


@pytest.mark.parametrize("name", ["mkdir", "iterdir", "open"])
def test_a_folder_that_may_not_be_used_is_refused_in_words(tmp_path, monkeypatch, name):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(BadInput, match="Permission denied; choose another folder"):
        use(RunFolder(tmp_path))


def test_whoever_asks_learns_the_runners_process_and_holds_nothing(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.runner() is None
    with folder.locked():
        assert folder.runner() == str(os.getpid())
    assert (tmp_path / "lock").exists()
    assert folder.runner() is None


def test_a_runner_waits_for_somebody_who_merely_asks(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.locked():
        pass
    asking = (tmp_path / "lock").open("rb")
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.1, asking.close).start()
    with folder.locked():
        assert folder.runner() == str(os.getpid())
