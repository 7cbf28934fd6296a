"""Answers of an API server, and what they mean; the texts are those of Kubernetes 1.36."""

import pytest

from distilljob_operator import errors
from distilljob_operator.api import resource_of
from distilljob_operator.connection import _proxy_of_environment
from distilljob_operator.errors import error_from


@pytest.mark.parametrize(
    ("code", "answer", "kind"),
    [
        pytest.param(404, {"reason": "NotFound"}, errors.NotFound, id="not-found"),
        pytest.param(409, {"reason": "AlreadyExists"}, errors.AlreadyExists, id="name-taken"),
        pytest.param(409, {"reason": "Conflict"}, errors.Conflict, id="quota-is-being-counted"),
        pytest.param(410, {"reason": "Expired"}, errors.Gone, id="version-forgotten"),
        pytest.param(403, {"reason": "Forbidden"}, errors.Forbidden, id="no-rights"),
        pytest.param(422, {"reason": "Invalid"}, errors.Invalid, id="rule-broken"),
        pytest.param(
            422, {"reason": "Invalid", "details": {"causes": [{"field": "metadata.uid"}]}}, errors.Conflict, id="other"
        ),
        pytest.param(429, {"reason": "TooManyRequests"}, errors.TooManyRequests, id="too-many"),
        pytest.param(504, {"reason": "Timeout"}, errors.Unavailable, id="time-out"),
        pytest.param(503, {}, errors.Unavailable, id="a-load-balancer"),
        pytest.param(401, {"reason": "Unauthorized"}, errors.ApiError, id="anything-else"),
    ],
)
def test_an_answer_is_the_error_that_the_caller_can_act_on(code, answer, kind):
    assert type(error_from(code, answer)) is kind


@pytest.mark.parametrize(
    "message",
    [
        'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0',
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: a',
        'pods "p" is forbidden: status unknown for quota: q, resources: pods',
    ],
)
def test_a_quota_is_known_by_its_text(message):
    found = error_from(403, {"reason": "Forbidden", "message": message})
    assert isinstance(found, errors.Forbidden)
    assert found.is_quota


def test_a_limit_range_is_no_quota():
    text = 'persistentvolumeclaims "p" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi'
    found = error_from(403, {"reason": "Forbidden", "message": text})
    assert isinstance(found, errors.Forbidden)
    assert not found.is_quota


@pytest.mark.parametrize(
    ("header", "answer", "seconds"),
    [
        ("3", {}, 3.0),
        (None, {"details": {"retryAfterSeconds": 2}}, 2.0),
        ("Wed, 21 Oct 2015", {}, None),
        (None, {}, None),
    ],
)
def test_the_wish_to_be_left_alone_is_read_from_header_or_body(header, answer, seconds):
    assert error_from(429, answer, header).retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces/a/pods", "pods"),
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces/a/pods/p:8471/proxy/metrics", "pods/proxy"),
        ("/api/v1/namespaces/a", "namespaces"),
        ("/apis/batch/v1/namespaces/a/jobs/j", "jobs"),
        ("/apis/distilljob.dev/v1alpha1/namespaces/a/distilljobs/d/status", "distilljobs/status"),
        ("/version", "version"),
    ],
)
def test_requests_are_counted_by_kind_never_by_name(path, resource):
    assert resource_of(path) == resource


def test_the_proxy_of_the_environment_is_used_except_where_it_says_not_to(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.1,.cluster.local")
    assert _proxy_of_environment("https://api.example.org:6443") == "http://proxy:3128"
    assert _proxy_of_environment("https://10.0.0.1:443") is None
    assert _proxy_of_environment("http://127.0.0.1:8001") is None
