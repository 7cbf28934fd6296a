import json
import subprocess
import sys

import pytest

from distilljob.run_directory.events import RunEvent, append_event, event_line, read_events
from distilljob.run_directory.folder import RunFolder

CRASHED = RunEvent(
    timestamp_seconds=5.0,
    reason="StudentCrashed",
    student="mlp",
    attempt=2,
    message="attempt 2 exited 1\n  (boom – boom)",
    warning=True,
)
STARTED = RunEvent(timestamp_seconds=6.0, reason="RunnerStarted", message="process 7")


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path)
    made.make()
    return made


def test_before_the_first_event_there_are_none(tmp_path):
    assert read_events(RunFolder(tmp_path)).known == ()


def test_events_are_read_back_in_order_and_told_to_people_on_one_line_each(folder):
    for event in (CRASHED, STARTED):
        append_event(folder, event)
    assert read_events(folder).known == [CRASHED, STARTED]
    first, second = folder.runner_log.read_text().splitlines()
    assert first.endswith("warning mlp: StudentCrashed, attempt 2 exited 1 (boom – boom)")
    assert second.endswith("RunnerStarted, process 7")
    assert event_line(RunEvent(timestamp_seconds=0.0, reason="Resumed")) == "Resumed"
    assert json.loads(folder.events.read_text().splitlines()[1]) == {
        "timestampSeconds": 6.0, "reason": "RunnerStarted", "message": "process 7", "warning": False,
    }  # fmt: skip


@pytest.mark.parametrize("torn", [b'{"timest', b"\x00\x00\x00", b'{"reason": 3}', b"\xff\xfe", b"[]"])
def test_a_torn_line_costs_itself_alone(folder, torn):
    append_event(folder, CRASHED)
    with folder.events.open("ab") as file:
        file.write(torn)
    append_event(folder, STARTED)
    assert read_events(folder).known == [CRASHED, STARTED]
    assert torn in folder.events.read_bytes().splitlines()


FULL = """
import resource, signal, sys
from pathlib import Path
from distilljob.run_directory.events import RunEvent, append_event
from distilljob.run_directory.folder import RunFolder
from distilljob_core.errors import StorageFull

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    append_event(RunFolder(Path(sys.argv[1])), RunEvent(timestamp_seconds=1.0, reason="Released", message="x" * 200))
except StorageFull as error:
    print(error)
"""


@pytest.mark.parametrize("spare_bytes", [0, 1, 100])
def test_an_event_that_finds_no_room_leaves_no_half_a_line(folder, spare_bytes):
    append_event(folder, CRASHED)
    before = folder.events.read_bytes()
    limit = str(len(before) + spare_bytes)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder.root), limit], capture_output=True, text=True, check=True
    )
    assert f"{folder.events}: " in done.stdout
    assert folder.events.read_bytes() == before
    append_event(folder, STARTED)
    assert read_events(folder).known == [CRASHED, STARTED]


def test_the_log_for_people_is_whole_too_when_only_it_is_full(folder):
    append_event(folder, CRASHED)
    with folder.runner_log.open("a") as file:
        file.write("y" * 5000 + "\n")
    before = folder.runner_log.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder.root), str(len(before) + 5)], capture_output=True, text=True, check=True
    )
    assert str(folder.runner_log) in done.stdout
    assert folder.runner_log.read_bytes() == before
