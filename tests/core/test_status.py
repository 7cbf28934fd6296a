"""The status as it is stored: camelCase, lenient towards other versions, and with the memory inside."""

import json
from dataclasses import fields

from distilljob_core.conditions import ConditionType, Reason
from distilljob_core.lifecycle.model import JobState, Restarts, StudentState, state_to_json
from distilljob_core.status import DistillJobStatus, ShownCondition, ShownRestarts, ShownStudent


def stored(status):
    return json.loads(status.model_dump_json(by_alias=True, exclude_unset=True))


def test_an_empty_status_is_a_status():
    assert DistillJobStatus.model_validate({}).phase == "Pending"


def test_the_pods_uid_is_spelled_as_kubernetes_does():
    assert stored(ShownStudent(name="a", pod_uid="u")) == {"name": "a", "podUID": "u"}


def test_words_of_a_newer_version_are_read():
    found = {
        "conditions": [
            {"type": "New", "status": "True", "reason": "Newer", "lastTransitionTime": "2030-01-01T00:00:00Z"}
        ],
        "newField": 1,
    }
    status = DistillJobStatus.model_validate(found)
    assert status.conditions[0].reason == "Newer"
    assert stored(status)["conditions"][0]["lastTransitionTime"] == "2030-01-01T00:00:00Z"


def test_every_word_fits():
    longest = max(len(word) for word in [*ConditionType, *Reason])
    assert ShownCondition.model_json_schema()["properties"]["reason"]["maxLength"] >= longest


def test_restarts_are_shown_by_the_causes_that_are_counted():
    assert set(ShownRestarts.model_fields) == {field.name for field in fields(Restarts)}


def test_the_memory_of_a_large_job_stays_small():
    state = JobState("uid", {f"student-{index}": StudentState(attempt=1, pod_uid="u" * 36) for index in range(64)})
    assert len(json.dumps(state_to_json(state))) < 16_000
