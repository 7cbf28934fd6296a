"""A pod's last words: small, and proof only where they are a trainer's own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.results import Artifact
from distilljob_core.termination import MAXIMUM_BYTES, Termination, read_termination_message, termination_message


def test_a_finished_student_is_proven_by_its_own_words(summary):
    whole = summary("cnn", cycles=[], artifacts=[Artifact(name="x" * 200, size_bytes=1, sha256="0" * 64, kind="last")])
    read = read_termination_message(termination_message(0, "finished", whole), "cnn")
    assert (read.exit_code, read.message) == (0, "finished")
    assert read.summary == whole.model_copy(update={"artifacts": []})


def test_somebody_elses_terminal_record_proves_nothing(summary):
    assert read_termination_message(termination_message(0, "finished", summary("cnn")), "mlp") == Termination(
        exit_code=0, message="finished"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):\n  ...\nValueError: why",
        '{"event": "finished", "accuracy": 0.9}',
        '{"message": "no exit code"}',
        '{"exitCode": 300, "message": "no exit code of a process"}',
        "null",
        "80",
        '{"exitCode":0,"message":"cut off","summ',
    ],
)
def test_anything_else_is_a_message_and_proves_nothing(text):
    assert read_termination_message(f"{text}\n", "cnn") == Termination(message=text)


def test_no_words_are_no_error():
    assert read_termination_message("", "cnn") == Termination()


@given(st.integers(0, 255), st.text(max_size=3000))
def test_words_come_back_and_fit_whatever_they_are(exit_code, message):
    text = termination_message(exit_code, message * 3)
    read = read_termination_message(text, "cnn")
    assert len(text.encode()) <= MAXIMUM_BYTES
    assert read.exit_code == exit_code
    assert (message * 3).startswith(read.message)


def test_a_cut_message_uses_most_of_the_room(summary):
    text = termination_message(1, "é" * 5000, summary("cnn"))
    assert 3000 < len(text.encode()) <= MAXIMUM_BYTES
    assert json.loads(text)["summary"]["name"] == "cnn"


def test_a_name_that_is_no_text_can_still_be_told():
    assert read_termination_message(termination_message(81, "no \udcff.png"), "cnn").message == "no ?.png"
