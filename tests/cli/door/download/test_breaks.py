"""`distilljob download` when something breaks in the middle."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import distilljob
from distilljob.cluster import download as download_command
from distilljob.cluster.arrival import Arrival
from distilljob.cluster.download import run_download
from distilljob.cluster.place import Place
from distilljob.errors import CommandError


def download(place, folder: Path, part: Any = "all") -> distilljob.Result:
    assert run_download("tiny", folder, place, part, None) == 0
    return distilljob.read(folder)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def weights_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "results").iterdir() if path.suffix == ".safetensors")


def parts_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "results").iterdir() if path.suffix == ".part")


def is_removed(server) -> bool:
    return server.deleted == [server.reader["metadata"]["name"]]


def test_a_stream_that_breaks_goes_on_where_it_broke(server, place, tmp_path):
    server.cuts = 3
    fetched = download(place, tmp_path / "all")
    assert digests(fetched.folder / "results") == digests(server.results)
    assert sum(offset > 0 for offset in server.offsets) == 3


def test_a_stream_that_lost_its_end_goes_on_though_its_program_ended_well(server, place, tmp_path):
    server.short_ends = 2
    fetched = download(place, tmp_path / "all")
    assert digests(fetched.folder / "results") == digests(server.results)
    assert sum(offset > 0 for offset in server.offsets) == 2


def test_a_list_and_a_checksum_that_lost_their_ends_are_asked_for_again(server, place, tmp_path):
    server.short_outputs = 3
    fetched = download(place, tmp_path / "all")
    assert server.short_outputs == 0
    assert digests(fetched.folder / "results") == digests(server.results)


def test_a_list_that_never_comes_whole_is_given_up(server, place, tmp_path):
    server.short_outputs = 1000
    with pytest.raises(CommandError, match="the results did not arrive: the stream ended before the program did"):
        download(place, tmp_path / "all")
    assert is_removed(server)


def test_a_file_that_became_smaller_since_it_was_listed_is_fetched_as_it_is(server, place, tmp_path):
    server.replaced_before_look = {"ensemble.json": b"{}"}
    fetched = download(place, tmp_path / "all")
    assert (fetched.folder / "results/ensemble.json").read_bytes() == b"{}"


def test_a_file_that_becomes_another_while_it_is_fetched_is_named(server, place, tmp_path):
    server.replaced_after_look = {"result.json": b"{}"}
    with pytest.raises(CommandError, match=r"result.json cannot be read .*: it has 2 bytes now, not \d+; give"):
        download(place, tmp_path / "all")


def test_what_is_kept_of_a_file_that_is_another_now_is_removed_and_of_other_files_is_not(server, place, tmp_path):
    download(place, tmp_path / "best", "best")
    folder = tmp_path / "best/results"
    for name in ("cnn.json", "cnn.safetensors", "gone.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / f".{name}.0123456789ab.part").write_bytes(b"old")
    download(place, tmp_path / "best")
    assert parts_of(tmp_path / "best") == [".gone.json.0123456789ab.part"]


def test_a_disk_that_fails_costs_nothing_of_what_arrived(server, place, tmp_path, monkeypatch):
    def fail(arrival: Arrival) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(Arrival, "finish", fail)
        with pytest.raises(CommandError, match="all cannot be written: Input/output error"):
            download(place, tmp_path / "all")
    assert len(parts_of(tmp_path / "all")) == 1


def test_a_connection_that_breaks_for_good_is_given_up_and_what_arrived_is_kept(server, place, tmp_path):
    size = (server.results / "cnn-selected.safetensors").stat().st_size
    server.cuts = 1000
    with pytest.raises(CommandError, match=r"cnn-selected.safetensors did not arrive: .*goes on from there"):
        download(place, tmp_path / "all")
    assert (weights_of(tmp_path / "all"), is_removed(server)) == ([], True)
    (part,) = parts_of(tmp_path / "all")
    assert (tmp_path / "all/results" / part).stat().st_size > size / 2
    server.cuts = 0
    server.offsets.clear()
    fetched = download(place, tmp_path / "all")
    assert server.offsets[0] > size / 2
    assert digests(fetched.folder / "results") == digests(server.results)


def test_what_is_kept_of_another_file_is_not_gone_on_with(server, place, tmp_path):
    server.cuts = 1000
    with pytest.raises(CommandError):
        download(place, tmp_path / "all")
    (part,) = parts_of(tmp_path / "all")
    (tmp_path / "all/results" / part).write_bytes(b"x" * 10_000_000)
    server.cuts = 0
    fetched = download(place, tmp_path / "all")
    assert digests(fetched.folder / "results") == digests(server.results)


def test_a_kept_part_with_wrong_bytes_is_given_up_and_the_next_command_begins_anew(server, place, tmp_path):
    server.cuts = 1000
    with pytest.raises(CommandError):
        download(place, tmp_path / "all")
    (part,) = parts_of(tmp_path / "all")
    (tmp_path / "all/results" / part).write_bytes(b"x" * 100)
    server.cuts = 0
    with pytest.raises(CommandError, match=r"cnn-selected.safetensors has not the sha256 that was announced"):
        download(place, tmp_path / "all")
    assert (weights_of(tmp_path / "all"), parts_of(tmp_path / "all")) == ([], [])
    assert digests(download(place, tmp_path / "all").folder / "results") == digests(server.results)


def test_weights_that_the_volume_has_damaged_never_appear(server, place, tmp_path):
    weights = server.results / "cnn.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(CommandError, match=r"cnn.safetensors has not the sha256 that was announced"):
        download(place, tmp_path / "all")
    assert weights_of(tmp_path / "all") == ["cnn-selected.safetensors"]
    assert is_removed(server)


def test_a_reader_that_ends_meanwhile_says_why(server, place, tmp_path):
    server.ended = "Evicted"
    with pytest.raises(CommandError, match=r"has ended\n.*Evicted: it is over"):
        download(place, tmp_path / "all")
    assert len(parts_of(tmp_path / "all")) == 1


def test_a_download_that_outlives_its_reader_goes_on_through_another(server, place, tmp_path):
    server.ended, server.num_ending = "DeadlineExceeded", 2
    fetched = download(place, tmp_path / "all")
    assert digests(fetched.folder / "results") == digests(server.results)
    assert server.offsets[0] == 0 < server.offsets[1] < server.offsets[2]
    assert server.deleted == [pod["metadata"]["name"] for pod in server.created]
    assert len(server.created) == 3


def test_readers_that_end_before_they_bring_anything_are_not_replaced_for_ever(server, place, tmp_path):
    server.ended, server.num_ending = "DeadlineExceeded", 1000
    server.brings_nothing = True
    with pytest.raises(CommandError, match=r"has ended\n.*DeadlineExceeded: it is over"):
        download(place, tmp_path / "all")
    assert server.deleted == [pod["metadata"]["name"] for pod in server.created]


def test_a_file_that_vanishes_is_named_in_words(server, place, tmp_path):
    server.vanishing = "cnn.safetensors"
    with pytest.raises(CommandError) as raised:
        download(place, tmp_path / "all")
    assert str(raised.value) == "cnn.safetensors cannot be read in the volume: No such file or directory"
    assert is_removed(server)


def test_a_disk_that_is_full_is_named_and_gets_its_room_back(server, place, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CommandError, match=r"all cannot be written: File too large"):
            download(place, tmp_path / "all")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (weights_of(tmp_path / "all"), parts_of(tmp_path / "all")) == ([], [])
    assert is_removed(server)


def full(path: Path, *_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize("first", ["results", "job.json"])
def test_a_download_that_had_no_room_even_to_begin_can_be_given_again(server, place, tmp_path, monkeypatch, first):
    mkdir = Path.mkdir
    with monkeypatch.context() as broken:
        if first == "results":
            broken.setattr(Path, "mkdir", lambda path, **how: (full if path.name == first else mkdir)(path, **how))
        else:
            broken.setattr(download_command, "write_json", full)
        with pytest.raises(CommandError, match="all cannot be written: No space left"):
            download(place, tmp_path / "all")
    assert digests(download(place, tmp_path / "all").folder / "results") == digests(server.results)


def test_a_pod_that_cannot_be_removed_is_named_with_the_command_that_removes_it(server, place, tmp_path, capsys):
    server.delete_status = 503
    download(place, tmp_path / "all")
    told = " ".join(capsys.readouterr().err.split())
    assert f"kubectl delete pod {server.reader['metadata']['name']} -n team" in told
    assert len(server.deleted) == 4


def test_a_pod_that_appears_after_its_creation_seemed_to_fail_is_removed(server, place, tmp_path):
    server.late = 2
    with pytest.raises(CommandError, match="the cluster does not answer"):
        download(place, tmp_path / "all")
    assert is_removed(server)


@pytest.fixture
def _heard() -> Iterator[None]:
    """Whoever starts the tests under nohup has SIGHUP ignored, and the command would inherit it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_leaves_no_pod_and_goes_on_later(server, place, tmp_path, uncovered, number):
    server.holds = 1
    with start(place, tmp_path / "all", uncovered) as process:
        assert server.is_held.wait(60)
        until_something_arrived(tmp_path / "all")
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in complaint
    assert is_removed(server)
    server.offsets.clear()
    download(place, tmp_path / "all")
    assert server.offsets[0] > 0


@pytest.mark.usefixtures("_heard")
def test_whoever_does_not_wait_for_the_pods_removal_is_told_its_name(server, place, tmp_path, uncovered):
    server.holds, server.holds_deletion = 1, True
    with start(place, tmp_path / "all", uncovered) as process:
        assert server.is_held.wait(60)
        process.send_signal(signal.SIGINT)
        assert server.is_deletion_held.wait(60)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in complaint
    assert f"kubectl delete pod {server.reader['metadata']['name']} -n team" in " ".join(complaint.split())


def start(place: Place, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "distilljob.main", "download", "tiny", str(folder), "--all"]
    command += [f"--kubeconfig={place.kubeconfig}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def until_something_arrived(folder: Path) -> None:
    give_up_seconds = time.monotonic() + 60
    while not any(path.stat().st_size for path in (folder / "results").glob(".*.part")):
        assert time.monotonic() < give_up_seconds
        time.sleep(0.02)
