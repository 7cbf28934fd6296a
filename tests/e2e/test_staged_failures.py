"""What happens to a job on a real node, what the restart counters say of it, and that its weights do not notice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from real import faults
from real.jobs import Job, applied, digits
from real.site import Object, Site

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Staged:
    """One failure, and what the status counts afterwards."""

    disturb: Callable[[Job], None]
    restarts: dict[str, int] = field(default_factory=dict)
    spec: Object = field(default_factory=dict)
    prepare: Callable[[Object], Object] = lambda manifest: manifest


STAGED = {
    "killed": Staged(faults.kill, {"crash": 1}),
    "out-of-memory": Staged(faults.exhaust_memory, {"crash": 1}),
    "frozen": Staged(faults.freeze, {"hang": 1}, {"failurePolicy": {"hang": {"steadySeconds": 30}}}),
    "deleted": Staged(faults.delete_pod, {"deleted": 1}),
    "evicted": Staged(faults.evict, {"node": 1}),
    "leaves-early": Staged(faults.leave_early, {"early": 1}, prepare=faults.leaves_early),
    "aggregator-deleted": Staged(faults.delete_aggregator),
    "operator-killed": Staged(faults.kill_operator),
    "kubelet-stopped": Staged(faults.stop_kubelet),
    "suspended": Staged(faults.suspend_and_resume),
}


@pytest.mark.parametrize("name", STAGED)
def test_a_disturbed_job_completes_with_the_weights_of_an_undisturbed_one(
    site: Site, team: str, undisturbed: dict[str, str], tmp_path: Path, name: str
):
    staged = STAGED[name]
    with applied(site, team, staged.prepare(digits(name, **staged.spec))) as job:
        job.until_at_work(faults.STUDENT)
        staged.disturb(job)
        job.until_complete()
        assert job.restarts() == staged.restarts
        assert job.weights(tmp_path) == undisturbed


def test_students_that_take_turns_end_with_the_weights_of_all_at_once(
    site: Site, team: str, undisturbed: dict[str, str], tmp_path: Path
):
    with applied(site, team, digits("turns", placement={"maximumConcurrentStudents": 1})) as job:
        job.until_complete()
        assert job.restarts() == {}
        assert max(row["attempt"] for row in job.status["students"]) > 1, "nobody ever left its place to another"
        assert job.weights(tmp_path) == undisturbed
