"""What the API server answers, told to people."""

import pytest

from distilljob.cluster.refusal import explain, no_cluster
from distilljob.errors import BadInput, CommandError, NotFound
from distilljob_core.spec.base import Problem
from distilljob_operator.errors import error_from

HOST = "https://cluster"


def told(code, **answer):
    return explain(error_from(code, answer), "here", HOST)


def cause(field, message, reason="FieldValueInvalid"):
    return {"field": field, "message": message, "reason": reason}


def test_every_broken_rule_stands_at_its_field_in_the_words_of_validate():
    causes = [
        cause("spec.method.temperature", 'Invalid value: "object": ECDNN needs temperature 1'),
        cause("spec.students", "Invalid value: students must be unique: rename one"),
        cause(
            "spec.method.cycles", "Invalid value: 0: spec.method.cycles in body should be greater than or equal to 1"
        ),
        cause("spec.method.name", 'Unsupported value: "MDD": supported values: "MD"', "FieldValueNotSupported"),
        cause("<nil>", "Invalid value: null: some validation rules were not checked"),
    ]
    error = told(422, message="DistillJob is invalid", details={"causes": causes})
    assert (type(error), error.exit_code) == (BadInput, 2)
    assert error.problems == (
        Problem("spec.method.temperature", "ECDNN needs temperature 1"),
        Problem("spec.students", "students must be unique: rename one"),
        Problem("spec.method.cycles", "should be greater than or equal to 1, not 0"),
        Problem("spec.method.name", 'Unsupported value: "MDD": supported values: "MD"'),
        Problem("DistillJob", "null: some validation rules were not checked"),
    )


def test_a_field_that_an_older_resource_does_not_know_says_what_to_update():
    message = 'DistillJob in version "v1alpha1" cannot be handled: strict decoding error: unknown field "spec.new"'
    [problem] = told(400, message=message).problems
    assert (problem.path, problem.message) == ("spec.new", "unknown field")
    assert "distilljob schema | kubectl apply --server-side -f -" in problem.hint


@pytest.mark.parametrize(
    ("code", "message", "kind", "title", "words"),
    [
        (400, "odd", BadInput, "the cluster refuses this DistillJob", "odd"),
        (401, "Unauthorized", CommandError, "the cluster does not know you", "log in again"),
        (403, 'User "u" cannot list', CommandError, "you may not do this", "ask whoever runs the cluster"),
        (403, "exceeded quota: q", CommandError, "the quota is used up", "ask for more"),
        (404, "the server could not find the requested resource", NotFound, "not installed in this cluster", "install"),
        (404, "404 page not found", NotFound, "not installed in this cluster", "install"),
        (404, 'namespaces "here" not found', NotFound, "there is no namespace here; choose one with -n", ""),
        (404, 'pods "p" not found', NotFound, 'pods "p" not found', ""),
        (409, "the object has been modified", CommandError, "give the command again", ""),
        (418, "tea", CommandError, "the cluster refuses", "tea"),
        (429, "slow", CommandError, "the cluster is busy", "in a moment"),
        (503, "apiserver is shutting down", CommandError, "the cluster does not answer", "kubectl cluster-info"),
    ],
)
def test_a_refusal_says_what_to_do(code, message, kind, title, words):
    error = told(code, message=message)
    assert type(error) is kind
    assert title in error.title
    assert words in str(error)


def test_a_namespace_on_its_way_out_takes_nothing_new():
    error = told(403, message="no", details={"causes": [cause("", "", "NamespaceTerminating")]})
    assert error.problems == (Problem("namespace here", "is being deleted", "choose another with -n"),)


def test_no_way_to_a_cluster_says_how_a_local_run_is_named():
    error = no_cluster("no way to a cluster: ~/.kube/config: there is no such file. Give --kubeconfig FILE, or set it")
    assert error.problems[0].message == "~/.kube/config: there is no such file"
    assert "./NAME" in error.problems[0].hint
