"""What of a spec may no longer change."""

import pytest

from distilljob_core.crd import schema
from distilljob_core.spec.frozen import FREEZES, FROZEN, FROZEN_POD, FROZEN_WISH, Stage, frozen_changes
from distilljob_core.spec.job import DistillJobSpec

BASE = {
    "dataset": {"name": "digits"},
    "students": [{"name": "a", "model": {"name": "mlp_small"}}, {"name": "b", "model": {"name": "cnn_small"}}],
}


def changes(stage, **changed):
    before, now = (DistillJobSpec.model_validate(spec) for spec in (BASE, BASE | changed))
    return [(problem.path, problem.message) for problem in frozen_changes(before, now, stage)]


def students(**changed):
    return [BASE["students"][0] | changed, BASE["students"][1]]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(
    ("changed", "path"),
    [
        pytest.param({"method": {"cycles": 2}}, "spec.method.cycles", id="block"),
        pytest.param({"startup_deadline_seconds": 5}, "spec.startupDeadlineSeconds", id="value"),
        pytest.param({"aggregator": {"storage": {"size": "1Gi"}}}, "spec.aggregator.storage.size", id="deep"),
        pytest.param({"students": students()[:1]}, "spec.students", id="a-student-less"),
        pytest.param({"students": students()[::-1]}, "spec.students[0].name", id="order"),
        pytest.param({"students": students(gpus=2)}, "spec.students[0].gpus", id="of-a-student"),
        pytest.param({"students": students(training={"batch_size": 9})}, "spec.students[0].training", id="override"),
    ],
)
def test_what_the_weights_depend_on_is_frozen_from_the_start(changed, path, stage):
    assert (path, FROZEN) in changes(stage, **changed)


POD_CHANGES = [
    pytest.param({"pod": {"image": "x"}}, "spec.pod.image", id="all"),
    pytest.param({"aggregator": {"pod": {"image": "x"}}}, "spec.aggregator.pod.image", id="aggregator"),
    pytest.param({"students": students(pod={"image": "x"})}, "spec.students[0].pod.image", id="student"),
]


@pytest.mark.parametrize(("changed", "path"), POD_CHANGES)
def test_pods_change_while_the_job_is_suspended_only(changed, path):
    assert changes(Stage.SUSPENDED, **changed) == []
    for stage in (Stage.STARTED, Stage.ENDED):
        assert changes(stage, **changed) == [(path, FROZEN_POD)]


WISHES = [
    pytest.param({"suspend": True}, "spec.suspend", id="suspend"),
    pytest.param({"stop_after_cycle": 2}, "spec.stopAfterCycle", id="stop"),
    pytest.param({"active_deadline_seconds": 60}, "spec.activeDeadlineSeconds", id="deadline"),
    pytest.param({"failure_policy": {"max_restarts": 3}}, "spec.failurePolicy.maxRestarts", id="policy"),
]


@pytest.mark.parametrize(("changed", "path"), WISHES)
def test_wishes_change_until_the_job_has_ended(changed, path):
    assert changes(Stage.STARTED, **changed) == changes(Stage.SUSPENDED, **changed) == []
    assert changes(Stage.ENDED, **changed) == [(path, FROZEN_WISH)]


@pytest.mark.parametrize("stage", Stage)
def test_the_time_to_live_changes_always(stage):
    assert changes(stage, ttl_seconds_after_finished=5) == []


def test_a_default_that_is_written_out_is_no_change():
    assert changes(Stage.ENDED, method={"cycles": 4}, pod={}) == []


def test_both_values_are_shown():
    before, now = (DistillJobSpec.model_validate(BASE | {"method": {"cycles": n}}) for n in (2, 5))
    assert [problem.hint for problem in frozen_changes(before, now, Stage.STARTED)] == ["is 5, was 2"]


def test_every_field_below_spec_is_frozen_or_said_to_be_free():
    """A new field is not forgotten: it is frozen from the start, or stands among the exceptions."""
    fields = schema()["properties"]["spec"]["properties"]
    frozen = {freeze.field_path.removeprefix(".spec.").partition(".")[0] for freeze in FREEZES}
    assert set(fields) - frozen == {"ttlSecondsAfterFinished"}
