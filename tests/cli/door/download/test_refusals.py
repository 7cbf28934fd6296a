"""`distilljob download` when there is nothing to fetch, or no way to it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import distilljob
from distilljob.cluster import reader
from distilljob.cluster.download import run_download
from distilljob.cluster.reader import what_it_waits_for
from distilljob.cluster.results import read_content, read_listing
from distilljob.errors import CommandError, NotFound
from distilljob_core.files import DirectoryLock


def download(place, folder: Path, part: Any = "best", name: str = "tiny") -> None:
    assert run_download(name, folder, place, part, None) == 0


def test_a_pod_that_cannot_start_says_why_and_is_removed(server, place, tmp_path):
    server.phase, server.waiting = "Pending", "ErrImageNeverPull"
    with pytest.raises(CommandError, match=r"ErrImageNeverPull: no such image \(--image names another"):
        download(place, tmp_path / "best")
    assert len(server.deleted) == 1


def test_a_pod_that_waits_for_ever_says_what_for(server, place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reader, "START_SECONDS", 1.0)
    server.phase, server.waiting = "Pending", "ErrImagePull"
    with pytest.raises(CommandError, match=r"does not start\n.*ErrImagePull: no such image"):
        download(place, tmp_path / "best")
    assert capsys.readouterr().err.count("waits: ErrImagePull") == 1
    assert len(server.deleted) == 1


def test_where_nothing_of_the_job_is_left_an_image_is_asked_for_and_no_pod_is_made(server, place, tmp_path):
    server.pods.clear()
    with pytest.raises(CommandError, match=r"no image is known.*\n.*--image"):
        download(place, tmp_path / "best")
    assert not server.created


def test_a_claim_that_is_gone_is_named_and_no_pod_is_made(server, place, tmp_path):
    server.claim = False
    with pytest.raises(NotFound, match=r"tiny-results-.* is gone"):
        download(place, tmp_path / "best")
    assert not server.created


def test_a_job_that_was_deleted_is_told_with_the_claim_that_it_left(server, place, tmp_path):
    with pytest.raises(NotFound) as raised:
        download(place, tmp_path / "best", name="gone")
    assert "gone-results" not in str(raised.value)
    server.kept = ["0123456789ab"]
    with pytest.raises(NotFound, match=r"no job gone.*\n.*gone-results-01234567: has the results"):
        download(place, tmp_path / "best", name="gone")


def test_a_job_without_a_result_says_how_to_wait_for_it(server, place, tmp_path):
    server.job["status"] = {"phase": "Distilling", "startTime": "2026-01-01T00:00:00Z"}
    with pytest.raises(CommandError, match=r"no result yet\n.*Distilling.*wait tiny"):
        download(place, tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_a_job_that_has_not_begun_has_not_even_parts(server, place, tmp_path):
    server.job["status"] = {"phase": "Pending"}
    with pytest.raises(CommandError, match=r"no result yet\n.*Pending.*wait tiny"):
        download(place, tmp_path / "all", "all")
    assert not server.created


def test_a_job_that_failed_points_to_what_its_students_published(server, place, tmp_path):
    failed = {"type": "Failed", "status": "True", "reason": "Why", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    server.job["status"] = {"phase": "Failed", "startTime": "2026-01-01T00:00:00Z", "conditions": [failed]}
    with pytest.raises(CommandError, match=r"tiny has no result\n.*Failed \(--all fetches"):
        download(place, tmp_path / "best")


def test_a_volume_that_is_empty_is_told(server, place, tmp_path):
    for file in server.results.iterdir():
        file.unlink()
    with pytest.raises(CommandError, match=r"tiny has published nothing"):
        download(place, tmp_path / "best")


def test_a_volume_that_lost_its_result_is_told(server, place, tmp_path):
    (server.results / "result.json").unlink()
    with pytest.raises(CommandError, match=r"hold no result.json; was the volume emptied"):
        download(place, tmp_path / "best")


def test_a_job_without_an_ensemble_is_told(server, place, tmp_path):
    (server.results / "ensemble.json").unlink()
    with pytest.raises(NotFound, match="has no ensemble"):
        download(place, tmp_path / "best", "ensemble")


def test_whoever_may_run_no_program_in_pods_is_told_the_right(server, place, tmp_path):
    server.exec_status = 403
    with pytest.raises(CommandError, match=r"you may not do this\n.*needs get and create on pods/exec"):
        download(place, tmp_path / "best")
    assert len(server.deleted) == 1


def test_a_pod_that_names_files_elsewhere_is_not_believed(server, place, tmp_path, monkeypatch):
    from distilljob.cluster import volume

    program = "print('[[\"../../escaped\", 3]]')"
    monkeypatch.setattr(volume, "_LIST", program)
    with pytest.raises(CommandError, match=r"'../../escaped', which no job publishes"):
        download(place, tmp_path / "best")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\x1b[2J", "a\nb", "a\udcff"])
def test_names_that_lead_elsewhere_or_reach_into_the_terminal_are_refused_and_shown_harmless(name):
    with pytest.raises(CommandError, match="which no job publishes") as raised:
        read_listing(json.dumps([[name, 3]]).encode())
    assert str(raised.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("said", [b"", b"hello", b"3", b'[["a", "many"]]', b'[["a"]]', b"\xff\x1b"])
def test_what_is_no_list_of_files_is_told_with_what_may_help(said):
    with pytest.raises(CommandError, match=r"instead of a list of files, .*\n.*name another image") as raised:
        read_listing(said)
    assert str(raised.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("said", [b"", b"3", b"3 abc", b"x " + b"0" * 64, b"3 " + b"/" * 64])
def test_what_is_no_checksum_is_told(said):
    with pytest.raises(CommandError, match=r"instead of size and sha256 of a.json, .*\n.*name another image"):
        read_content("a.json", said)


def test_what_a_newer_version_tells_besides_is_no_hindrance(server, place, tmp_path):
    for name, inner in (("result.json", "students"), ("ensemble.json", "members")):
        told = json.loads((server.results / name).read_bytes())
        told["newer"] = told[inner][0]["newer"] = 1
        (server.results / name).write_text(json.dumps(told))
    download(place, tmp_path / "ensemble", "ensemble")
    assert distilljob.read(tmp_path / "ensemble").best in ("mlp", "cnn")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["students"], None, r"students: .*\(update this distilljob"),
        (["best"], "other", "says 'other', which is nothing of this job"),
        (["students", 0, "name"], "../../mlp", "says '../../mlp', which"),
        (["students", 0, "model"], "\x1b[2J", r"says '\\x1b\[2J', which"),
        (["students", 0, "artifacts", 0, "sha256"], "/", "says '/', which"),
    ],
)
def test_a_result_that_is_none_of_this_job_is_told(server, place, tmp_path, path, value, told):
    content = block = json.loads((server.results / "result.json").read_bytes())
    for step in path[:-1]:
        block = block[step]
    block[path[-1]] = value
    (server.results / "result.json").write_text(json.dumps(content))
    with pytest.raises(CommandError, match=f"result.json in the volume cannot be read\n.*{told}"):
        download(place, tmp_path / "best")


def test_a_folder_of_another_job_is_refused(server, place, tmp_path):
    download(place, tmp_path / "best")
    server.job["metadata"]["uid"] = "99999999-2222-3333-4444-555555555555"
    with pytest.raises(distilljob.BadInput, match="holds a run of another job"):
        download(place, tmp_path / "best")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(distilljob.BadInput, match="neither empty nor a run directory"):
        download(place, tmp_path / "other")


def test_a_folder_that_another_command_fills_is_refused(server, place, tmp_path):
    download(place, tmp_path / "best")
    with DirectoryLock(tmp_path / "best"), pytest.raises(distilljob.BadInput, match=f"in use by process {os.getpid()}"):
        download(place, tmp_path / "best", "all")


def test_a_file_in_place_of_the_folder_is_refused(place, tmp_path):
    (tmp_path / "best").write_text(json.dumps("mine"))
    with pytest.raises(distilljob.BadInput, match="is a file"):
        download(place, tmp_path / "best")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Pending"}, "Pending"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]},
            "Unschedulable: full",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Evicted: disk"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, "Pending"),
        (
            {
                "phase": "Failed",
                "containerStatuses": [{"state": {"terminated": {"reason": "StartError", "message": "x"}}}],
            },
            "StartError: x",
        ),
    ],
)
def test_what_a_pod_waits_for_is_told_in_kubernetes_words(status, words):
    assert what_it_waits_for({"status": status}) == words
