"""What the API server holds, as a checked DistillJob."""

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_operator.valid import validate_body

BODY = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "demo", "uid": "u", "generation": 1, "managedFields": [{"manager": "kubectl"}]},
    "spec": {"dataset": {"name": "digits"}, "students": [{"name": "a", "model": {"name": "mlp_small"}}]},
    "status": {"phase": "Pending"},
}


def test_a_resource_of_the_api_server_is_a_job():
    job, valid = validate_body(BODY, 7.0)
    assert job.metadata.uid == "u"
    assert valid == Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", 7.0)


def test_everything_that_is_wrong_stands_in_one_message():
    job, valid = validate_body({**BODY, "spec": {**BODY["spec"], "method": {"cycels": 2, "temperature": 0}}}, 7.0)
    assert job is None
    assert (valid.status, valid.reason) == ("False", Reason.SPEC_INVALID)
    assert [told.partition(": ")[0] for told in valid.message.split("; ")] == [
        "spec.method.temperature",
        "spec.method.cycels",
    ]
    assert "unknown field (did you mean cycles?)" in valid.message


def test_what_is_not_built_is_refused():
    job, valid = validate_body({**BODY, "spec": {**BODY["spec"], "training": {"compile": "Default"}}}, 7.0)
    assert job is None
    assert "spec.training.compile: not supported yet" in valid.message


def test_what_only_a_cluster_minds_is_told_too():
    job, valid = validate_body({**BODY, "metadata": {"name": "1st"}}, 7.0)
    assert job is None
    assert valid.message.startswith("metadata.name: ")
