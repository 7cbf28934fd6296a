"""When it is asked why Jobs make no pods, and what is kept of the answers."""

from dataclasses import dataclass

from distilljob_operator.no_pod import AGAIN_SECONDS, Reasons


@dataclass(frozen=True)
class Job:
    uid: str


A, B = Job("a"), Job("b")
QUOTA = "exceeded quota"


def test_a_job_is_asked_about_at_once_and_after_an_answer_no_more():
    reasons = Reasons()
    assert reasons.next_question([A], 5.0) == (5.0, A)
    reasons.take(A, QUOTA, 5.0)
    assert reasons.next_question([A], 1000.0) is None
    assert reasons.messages == {"a": QUOTA}


def test_a_job_that_nobody_could_tell_of_is_asked_about_again_later():
    reasons = Reasons()
    reasons.take(A, None, 5.0)
    assert reasons.messages == {}
    assert reasons.next_question([A], 6.0) == (5.0 + AGAIN_SECONDS, A)
    reasons.take(A, QUOTA, 5.0 + AGAIN_SECONDS)
    assert reasons.next_question([A], 1000.0) is None


def test_who_has_never_been_asked_about_comes_before_who_is_asked_about_again():
    reasons = Reasons()
    reasons.take(A, None, 5.0)
    assert reasons.next_question([A, B], 6.0) == (6.0, B)


def test_where_no_job_is_without_pods_there_is_nothing_to_ask():
    assert Reasons().next_question([], 5.0) is None
