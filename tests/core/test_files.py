"""Files are replaced whole and durably, and a directory has one owner."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilljob_core.errors import DistillJobError, StorageFull
from distilljob_core.files import DirectoryLock, full_storage_named, write_atomically

HOLD_LOCK = """
import sys
from pathlib import Path
from distilljob_core.files import DirectoryLock
with DirectoryLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Stands for a full disk: the kernel takes bytes up to the limit and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("content", [b"new", memoryview(b"new"), lambda file: file.write(b"new")])
def test_content_is_replaced_and_nothing_else_is_left(tmp_path: Path, content):
    path = tmp_path / "a"
    path.write_bytes(b"older and longer")
    write_atomically(path, content)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_old_content_survives_a_writer_that_fails(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(file) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_old_content_survives_a_full_disk(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(StorageFull, match=str(path)), file_size_limit(1000):
        write_atomically(path, bytes(2000))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_other_errors_of_the_disk_keep_their_type(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a", b"new")
    with pytest.raises(PermissionError), full_storage_named(tmp_path):
        raise PermissionError


def test_a_leftover_of_a_killed_writer_does_no_harm(tmp_path: Path):
    (tmp_path / ".a.tmp").write_bytes(b"half of something longer")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_file_is_durable_before_its_name_and_its_name_before_the_return(tmp_path: Path, monkeypatch):
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def record_replace(source, target) -> None:
        events.append(f"replace {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomically(tmp_path / "a", b"new")
    assert events == ["fsync .a.tmp", "replace a", f"fsync {tmp_path.name}"]


def test_second_holder_of_a_directory_is_told_who_has_it(tmp_path: Path, holder):
    process = holder()
    with pytest.raises(DistillJobError, match=rf"{tmp_path} is in use by process {process.pid};"):
        DirectoryLock(tmp_path)


def test_directory_is_free_once_its_holder_is_killed(tmp_path: Path, holder):
    process = holder()
    process.kill()
    process.wait()
    DirectoryLock(tmp_path).release()


def test_the_name_of_an_earlier_holder_is_forgotten(tmp_path: Path):
    (tmp_path / "lock").write_text("9" * 20)
    with DirectoryLock(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_directory_is_free_after_release(tmp_path: Path, holder):
    with DirectoryLock(tmp_path):
        pass
    holder()


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path):
    with DirectoryLock(tmp_path), pytest.raises(DistillJobError, match=str(os.getpid())):
        DirectoryLock(tmp_path)
