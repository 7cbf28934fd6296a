"""What happens to a job on a real node, what the restart counters say of it, and that its weights do not notice.

Students lose their pods together where that can be: each failure is counted for the student that it met.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from real import faults
from real.jobs import Job, applied, digits
from real.site import Object, Site

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Met:
    """A failure, the student that it meets, and what it is counted as."""

    disturb: Callable[[Job, str], None]
    student: str
    counted: str


@dataclass(frozen=True)
class Staged:
    """What one job meets, and what its manifest needs for that."""

    met: tuple[Met, ...]
    prepare: Callable[[Object], Object] = lambda manifest: manifest


STAGED = {
    "killed-deleted-evicted": Staged(
        (
            Met(faults.kill, "mlp", "crash"),
            Met(faults.delete_pod, "cnn", "deleted"),
            Met(faults.evict, "cnn-bn", "node"),
        )
    ),
    "out-of-memory-and-early": Staged(
        (
            Met(faults.exhaust_memory, "cnn-bn", "crash"),
            Met(faults.leave_early, faults.EARLY, "early"),
        ),
        faults.may_leave_early,
    ),
}
UNCOUNTED = {
    "aggregator-and-operator": (faults.delete_aggregator, faults.kill_operator),
    "kubelet-stopped": (faults.stop_kubelet,),
    "suspended": (faults.suspend_and_resume,),
}


@pytest.mark.parametrize("name", STAGED)
def test_students_that_fail_are_replaced_and_counted_and_no_weight_changes(
    site: Site, team: str, undisturbed: dict[str, str], tmp_path: Path, name: str
):
    staged = STAGED[name]
    with applied(site, team, staged.prepare(digits(name))) as job:
        for met in staged.met:
            job.until_at_work(met.student)
            met.disturb(job, met.student)
        job.until_complete()
        assert job.restarts_of_students() == {met.student: {met.counted: 1} for met in staged.met}
        assert job.restarts() == Counter(met.counted for met in staged.met)
        assert job.weights(tmp_path) == undisturbed


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_students_survive_is_not_counted_and_no_weight_changes(
    site: Site, team: str, undisturbed: dict[str, str], tmp_path: Path, name: str
):
    with applied(site, team, digits(name)) as job:
        job.until_at_work("cnn")
        for disturb in UNCOUNTED[name]:
            disturb(job)
        job.until_complete()
        assert job.restarts() == {}
        assert job.weights(tmp_path) == undisturbed


def test_students_that_take_turns_end_with_the_weights_of_all_at_once(
    site: Site, team: str, undisturbed: dict[str, str], tmp_path: Path
):
    with applied(site, team, digits("turns", placement={"maximumConcurrentStudents": 1})) as job:
        job.until_complete()
        assert job.restarts() == {}
        assert max(row["attempt"] for row in job.status["students"]) > 1, "nobody ever left its place to another"
        assert job.weights(tmp_path) == undisturbed
