"""The status's result says what result.json says: one is made of the round table, the other by the aggregator."""

import json

import pytest

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.exchange import RoundKey
from distilljob_core.lifecycle.model import JobState, Outcome
from distilljob_core.results import CycleOutcome, EnsembleOutcome, RunResult
from distilljob_core.softlabels.frames import Split
from distilljob_core.spec.load import check_job
from distilljob_operator.shown import shown

RESOURCE = {"apiVersion": "distilljob.dev/v1alpha1", "kind": "DistillJob"}
TRAIN, LAST = RoundKey(1), RoundKey(1, Split.EVALUATION)
VALID = Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", 0.0)
MEASURED = {
    "cycles": [
        CycleOutcome(
            cycle=1, weight=90, weight_sum=180, ensemble_accuracy=0.93, best_accuracy=0.91, teacher_gain=0.02,
            teacher_cross_entropy=0.3, mean_cross_entropy=0.4,
        )
    ],
    "ensemble": EnsembleOutcome(
        accuracy=0.94, nll=0.2, ece=0.01, members=["a", "b"], weights=[90, 90], disagreement=None
    ),
}  # fmt: skip


@pytest.mark.parametrize("is_late", [False, True])
def test_the_result_in_the_status_is_that_of_result_json(start_aggregator, spec, make_student, is_late):
    quorum = {"minimumStudents": 1, "cycleDeadlineSeconds": 1} if is_late else {}
    raw = spec("a", "b", quorum=quorum)
    aggregator = start_aggregator(raw)
    students = [make_student(aggregator, name) for name in "ab"]
    for student in students:
        student.join()
    for student in students[: 1 if is_late else 2]:
        student.upload(TRAIN)
    for student in students:
        student.wait(TRAIN)
    for student in students:
        student.upload(LAST)
    for student in students:
        student.wait(LAST)
        student.client.finish(student.summary().model_copy(update=MEASURED))
    aggregator.until(lambda: aggregator.table().complete)

    written = RunResult.model_validate_json((aggregator.results / "result.json").read_text())
    table = aggregator.table()
    job = check_job({**RESOURCE, "metadata": {"name": table.job}, "spec": raw})
    state = JobState(table.uid, outcome=Outcome("Complete", Reason.ALL_STUDENTS_DONE, "", 9.0))
    status = shown(job, state, table, 9.0, generation=1, valid=VALID, before=None)
    best = next(student for student in written.students if student.name == written.best)
    assert status["result"] == {
        "bestStudent": written.best,
        "accuracy": best.accuracy.last,
        "ensembleAccuracy": written.ensemble.accuracy,
        "teacherGain": written.teacher_gain[-1],
        "exact": not is_late,
        "volumeClaimName": f"{job.metadata.name}-results-{table.uid[:8]}",
    }
    assert written.exact is not is_late
    assert status["accuracyColumn"] == f"{100 * best.accuracy.last:.1f}%"
    json.dumps(status)
