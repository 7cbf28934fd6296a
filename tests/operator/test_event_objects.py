"""Events: one for each reason of a decision, named after the decision."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Event
from distilljob_operator.events import event_objects
from distilljob_operator.jobs import JobRecord

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def job(name: str = "digits", uid: str = "uid-1", generation: int = 1) -> JobRecord:
    return JobRecord(("team", name), uid, 7, {"metadata": {"generation": generation}})


def objects(*events: Event, record: JobRecord | None = None) -> list[dict[str, Any]]:
    return list(event_objects(record or job(), events, NOW, "pod-uid"))


def crashed(student: str, attempt: int = 1, message: str = "exit code 1") -> Event:
    return Event("Warning", Reason.STUDENT_CRASHED, message, student, attempt)


def names(*events: Event, record: JobRecord | None = None) -> list[str]:
    return [item["metadata"]["name"] for item in objects(*events, record=record)]


def test_students_of_one_reason_are_joined() -> None:
    started = Event("Normal", Reason.STUDENT_STARTED, "attempt 1", "c", 1)
    both = objects(crashed("a"), started, crashed("b"), crashed("d", message="exit code 2"))
    assert [(item["reason"], item["message"]) for item in both] == [
        ("StudentCrashed", "a, b: exit code 1; d: exit code 2"),
        ("StudentStarted", "c: attempt 1"),
    ]


def test_what_concerns_the_whole_job_is_said_as_it_is() -> None:
    [told] = objects(Event("Normal", Reason.RESUMED, "the job goes on"))
    assert told["message"] == "the job goes on"
    assert told["involvedObject"] == {
        "apiVersion": "distilljob.dev/v1alpha1",
        "kind": "DistillJob",
        "namespace": "team",
        "name": "digits",
        "uid": "uid-1",
        "resourceVersion": "7",
    }
    assert told["firstTimestamp"] == told["lastTimestamp"] == "2030-01-02T03:04:05Z"


def test_the_same_decision_has_the_same_name_whatever_its_figures_and_order() -> None:
    first = names(crashed("a", message="silent for 61 s"), crashed("b"))
    assert first == names(crashed("b"), crashed("a", message="silent for 75 s"))


@pytest.mark.parametrize(
    "other",
    [
        names(crashed("a", attempt=2)),
        names(crashed("b")),
        names(Event("Warning", Reason.STUDENT_HUNG, "exit code 1", "a", 1)),
        names(crashed("a"), record=job(uid="uid-2")),
    ],
)
def test_another_decision_has_another_name(other: list[str]) -> None:
    assert names(crashed("a")) != other


def test_a_wish_that_comes_again_is_another_decision() -> None:
    suspended = Event("Normal", Reason.SUSPENDING, "students save and end")
    assert names(suspended, record=job(generation=2)) != names(suspended, record=job(generation=4))


@given(st.text(max_size=3_000))
def test_no_message_is_too_long_for_the_api_server(message: str) -> None:
    [told] = objects(crashed("a", message=message))
    assert len(told["message"]) <= 1_024
    assert told["message"].startswith("a: ")
