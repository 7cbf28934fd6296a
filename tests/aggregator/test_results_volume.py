"""What students publish, and what a job leaves behind."""

import json
from hashlib import sha256

import pytest

from distilljob_aggregator.results_volume import ResultsVolume, ensemble_manifest, run_result
from distilljob_aggregator.rounds.due import Wishes
from distilljob_aggregator.rounds.events import Counted, Finished
from distilljob_core.errors import BadFrame, ChecksumMismatch, ResultsFull, UnknownStudent
from distilljob_core.results import Artifact, CycleOutcome, EnsembleOutcome, HoldoutAccuracy

CONTENT = b"weights" * 1000
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "results"
    return ResultsVolume(folder, ("a", "a-0", "result")), folder


def send(volume, *chunks, digest=DIGEST):
    incoming = volume.incoming("a", "a.bin", len(CONTENT), digest)
    try:
        for chunk in chunks:
            incoming.write(chunk)
        incoming.finish()
    finally:
        incoming.close()


def test_a_file_appears_whole(volume):
    results, folder = volume
    send(results, CONTENT[:10], CONTENT[10:])
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    assert (folder / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("chunks", "changes", "error"),
    [
        ((CONTENT, b"x"), {}, BadFrame),
        ((CONTENT[:-1],), {}, ChecksumMismatch),
        ((CONTENT[:-1] + b"x",), {}, ChecksumMismatch),
        ((), {"digest": "none"}, ChecksumMismatch),
    ],
)
def test_other_bytes_than_announced_leave_nothing_and_keep_what_was_there(volume, chunks, changes, error):
    results, folder = volume
    send(results, CONTENT)
    with pytest.raises(error):
        send(results, *chunks, **changes)
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_full_volume_leaves_nothing(volume):
    results, folder = volume
    (folder / ".a.bin.1.part").symlink_to("/dev/full")
    with pytest.raises(ResultsFull, match="enlarge the results volume"):
        send(results, CONTENT)
    assert not list(folder.iterdir())


def test_a_full_volume_leaves_nothing_of_what_was_still_buffered(volume):
    volume, folder = volume
    (folder / ".a.bin.1.part").symlink_to("/dev/full")
    incoming = volume.incoming("a", "a.bin", 1, sha256(b"x").hexdigest())
    incoming.write(b"x")
    with pytest.raises(ResultsFull, match=r"a\.bin"):
        incoming.finish()
    with pytest.raises(ResultsFull, match=r"a\.bin"):
        incoming.close()
    assert not list(folder.iterdir())


def test_a_broken_stream_and_its_successor_do_not_mix(volume):
    results, folder = volume
    broken = results.incoming("a", "a.bin", len(CONTENT), DIGEST)
    broken.write(b"half of it")
    send(results, CONTENT)
    broken.close()
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["a.bin"]


def test_parts_of_before_a_kill_are_removed(volume):
    _, folder = volume
    (folder / ".a.bin.7.part").write_bytes(b"half of it")
    ResultsVolume(folder, ("a",))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("student", "name"),
    [
        ("a", "a-0.bin"),
        ("a", "b.bin"),
        ("a", "a"),
        ("a", "a./../b"),
        ("a", "a.\0"),
        ("a", f"a.{'x' * 200}"),
        ("result", "result.json"),
    ],
)
def test_a_name_that_is_not_the_students_is_refused(volume, student, name):
    with pytest.raises(UnknownStudent):
        volume[0].incoming(student, name, 1, "")


def test_an_error_that_is_not_about_room_stays_what_it_is(volume):
    results, folder = volume
    (folder / ".a.bin.1.part").mkdir()
    with pytest.raises(IsADirectoryError):
        send(results, CONTENT)


@pytest.fixture
def finished(exchange, summary):
    """A job of three students at its end, one of them dropped."""

    def make(*, dropped=(), weight=5, **plan):
        job = exchange(cycles=1, **plan)
        job.bring("a", "b", weight=weight)
        job.bring("c", weight=weight)
        job.settle()
        job.bring("a", "b", "c", weight=weight)
        job.settle()
        job.wishes = Wishes(dropped=frozenset(dropped))
        job.settle()
        for name, accuracy in (("a", 0.8), ("b", 0.9), ("c", 0.9)):
            if name not in dropped:
                holdout = HoldoutAccuracy(last=accuracy, selected=accuracy)
                artifact = Artifact(name=f"{name}.safetensors", size_bytes=1, sha256=name * 3, kind="last")
                own = summary(name, holdout=holdout, artifacts=[artifact])
                job.commit(Finished(name, own, 11.0))
        return job

    return make


def test_the_result_names_the_best_and_says_that_all_was_exact(finished):
    result = run_result(finished().state)
    assert (result.best, result.exact, result.inexact_reasons, result.seconds) == ("b", True, [], 10.0)
    assert [student.name for student in result.students] == ["a", "b", "c"]
    assert (result.cycles, result.name, result.method) == (1, "test", "MD")


def test_a_dropped_student_is_in_neither_result_nor_ensemble(finished):
    job = finished(dropped=("c",))
    assert job.state.is_complete is False
    result = run_result(job.state)
    assert (result.exact, result.inexact_reasons) == (False, ["c was dropped"])
    assert [student.name for student in result.students] == ["a", "b"]
    assert [member.student for member in ensemble_manifest(job.state).members] == ["a", "b"]


def test_the_manifest_has_the_weights_that_were_used(finished):
    members = ensemble_manifest(finished(weight=0).state).members
    assert [(member.weight, member.file, member.sha256) for member in members] == [
        (1, "a.safetensors", "aaa"),
        (1, "b.safetensors", "bbb"),
        (1, "c.safetensors", "ccc"),
    ]


def test_a_student_without_an_artifact_is_no_member(finished, summary):
    job = finished()
    job.commit(Finished("a", summary("a"), 12.0))
    assert [member.student for member in ensemble_manifest(job.state).members] == ["b", "c"]


def test_gains_ensemble_waiting_and_bytes_come_from_where_they_were_measured(finished, summary):
    job = finished()
    outcome = CycleOutcome(
        cycle=1,
        weight=5,
        weight_sum=15,
        ensemble_accuracy=0.95,
        best_accuracy=0.9,
        teacher_gain=0.05,
        teacher_cross_entropy=0.1,
        mean_cross_entropy=0.2,
    )
    ensemble = EnsembleOutcome(
        accuracy=0.95, nll=0.1, ece=0.01, members=["a", "b", "c"], weights=[5, 5, 5], disagreement=0.1
    )
    holdout = HoldoutAccuracy(last=1.0, selected=1.0)
    own = summary("c", holdout=holdout, cycles=[outcome], ensemble=ensemble, inexact_reasons=["other GPU"], seconds={})
    job.commit(Finished("c", own, 12.0))
    job.commit(Finished("a", summary("a", cycles=[outcome]), 12.0))
    job.commit(Counted(7, 8))
    result = run_result(job.state)
    assert (result.best, result.ensemble, result.teacher_gain) == ("c", ensemble, [0.05])
    assert result.exchanged_bytes == {"up": 7, "down": 8}
    assert result.inexact_reasons == ["c: other GPU"]
    assert result.students[2].barrier_share == 0.0


def test_the_share_of_waiting_is_of_all_the_students_time(exchange, summary):
    job = exchange(1, cycles=1)
    job.bring("a")
    job.pass_time(2.5)
    job.settle()
    job.bring("a")
    job.settle()
    job.commit(Finished("a", summary("a"), 5.0))
    assert run_result(job.state).students[0].barrier_share == 0.25


def test_results_are_written_for_people_and_programs(finished, volume):
    results, folder = volume
    results.write_results(finished().state)
    assert json.loads((folder / "result.json").read_text())["teacherGain"] == []
    members = json.loads((folder / "ensemble.json").read_text())["members"]
    assert [member["student"] for member in members] == ["a", "b", "c"]
