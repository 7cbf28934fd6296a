"""Which pod speaks for which attempt."""

import pytest

from distilljob.cluster.logs import Speaker, check_speaker, choose, next_attempt, read_attempts
from distilljob.errors import BadInput, NotFound

CNN = Speaker("tiny", "u-1", "cnn")
AGGREGATOR = Speaker("tiny", "u-1", "aggregator")


def pod(attempt, minute, *, phase="Running", **status):
    return {
        "metadata": {
            "name": f"pod-{attempt}-{minute}",
            "labels": {"distilljob.dev/attempt": str(attempt)},
            "creationTimestamp": f"2026-01-02T03:{minute:02d}:00Z",
        },
        "status": {"phase": phase, **status},
    }


def test_pods_are_found_by_the_labels_of_this_very_job():
    assert CNN.selector == "distilljob.dev/uid=u-1,distilljob.dev/role=student,distilljob.dev/student=cnn"
    assert AGGREGATOR.selector == "distilljob.dev/uid=u-1,distilljob.dev/role=aggregator"
    assert (CNN.container, AGGREGATOR.container) == ("student", "aggregator")


def test_attempts_count_as_numbers():
    attempts = read_attempts(CNN, [pod(10, 3), pod(2, 1), pod(9, 2)])
    assert [one.number for one in attempts] == [2, 9, 10]
    assert choose(CNN, attempts, None).number == 10
    assert choose(CNN, attempts, 9).number == 9


def test_the_aggregators_pods_are_numbered_in_the_order_of_their_making():
    attempts = read_attempts(AGGREGATOR, [pod(0, 7), pod(0, 4)])
    assert [(one.number, one.name) for one in attempts] == [(1, "pod-0-4"), (2, "pod-0-7")]


@pytest.mark.parametrize(
    ("pods", "wanted", "words"),
    [
        ([], None, "cnn has no pod now"),
        ([pod(2, 1)], 1, "cnn has no log of attempt 1; there is attempt 2"),
        ([pod(2, 1), pod(4, 2)], 3, "there are attempts 2, 4"),
    ],
)
def test_an_attempt_without_a_pod_is_told_with_those_that_have_one(pods, wanted, words):
    with pytest.raises(NotFound, match=words):
        choose(CNN, read_attempts(CNN, pods), wanted)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (pod(1, 1), ""),
        (pod(1, 1, phase="Failed"), ""),
        (pod(1, 1, phase="Pending"), "Pending"),
        (
            pod(1, 1, phase="Pending", containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
            "ImagePullBackOff",
        ),
        (
            pod(1, 1, phase="Pending", conditions=[{"reason": "Unschedulable", "message": "no GPU is free"}]),
            "Unschedulable: no GPU is free",
        ),
    ],
)
def test_a_pod_that_has_not_started_says_why(found, words):
    assert read_attempts(CNN, [found])[0].waits_for == words


def test_following_goes_from_attempt_to_attempt_and_never_back():
    pods = [pod(1, 1), pod(2, 2), pod(3, 3)]
    attempts = read_attempts(CNN, pods)
    assert next_attempt(CNN, attempts[:2], None, None).number == 2
    assert next_attempt(CNN, attempts, None, attempts[0]).number == 2
    assert next_attempt(CNN, attempts, None, attempts[2]) is None
    assert next_attempt(CNN, [], None, None) is None


def test_following_the_aggregator_knows_its_next_pod_though_numbers_shift():
    shown = read_attempts(AGGREGATOR, [pod(0, 1), pod(0, 2)])[1]
    assert next_attempt(AGGREGATOR, read_attempts(AGGREGATOR, [pod(0, 2)]), None, shown) is None
    assert next_attempt(AGGREGATOR, read_attempts(AGGREGATOR, [pod(0, 9)]), None, shown).name == "pod-0-9"


def test_a_process_that_no_job_has_is_told():
    check_speaker("cnn", ["mlp", "cnn"])
    with pytest.raises(NotFound, match="resnet is none of this job's processes: mlp, cnn, aggregator"):
        check_speaker("resnet", ["mlp", "cnn"])
    with pytest.raises(BadInput, match="no runner"):
        check_speaker("runner", ["mlp", "cnn"])
