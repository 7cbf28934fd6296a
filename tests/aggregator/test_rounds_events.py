"""Every event survives its own JSON: what is journaled can be replayed, whatever students say."""

import json
import math

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from distilljob_aggregator.rounds.events import Finished, Opened, event_from_json, event_to_json
from distilljob_core.errors import BadFrame
from distilljob_core.exchange import Report, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.results import StudentSummary
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc import messages

NOT_FINITE = [math.nan, math.inf, -math.inf]
COUNTS = st.integers(0, 2**31 - 1)


def survives(event) -> bool:
    return event_from_json(event_to_json(event)) == event


@given(COUNTS, COUNTS, COUNTS, st.text(), st.floats())
def test_an_announcement_is_refused_or_survives_the_journal(cycle, weight, size, text, cross_entropy):
    assume(not any(0xD800 <= ord(letter) < 0xE000 for letter in text))
    message = pb.OpenRequest(
        round=pb.Round(cycle=cycle, split=pb.SPLIT_TRAIN),
        weight=weight,
        holdout_size=size,
        codec=text,
        source_digest=text,
        cross_entropy=cross_entropy,
    )
    try:
        offer = messages.offer_from_message(message)
    except BadFrame:
        assert not math.isfinite(cross_entropy)
    else:
        assert survives(Opened(text, 1, offer))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(), st.floats())
def test_a_terminal_record_is_refused_or_survives_the_journal(summary, nll, seconds):
    content = summary("a").model_dump(mode="json") | {"nll": nll, "seconds": {"Waiting": seconds}}
    try:
        record = StudentSummary.model_validate_json(json.dumps(content))
    except ValidationError:
        assert not (math.isfinite(nll) and math.isfinite(seconds))
    else:
        assert survives(Finished("a", record, 1.0))


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("field", ["epoch", "samples_per_second", "loss", "accuracy", "teacher_gain"])
def test_a_heartbeat_with_a_number_that_is_none_is_refused(field, value):
    report = Report(StudentPhase.DISTILLING, **{field: {"test": value} if field == "accuracy" else value})
    with pytest.raises(BadFrame, match=f"{field} is {value}; it must be a finite number"):
        messages.report_from_message(messages.report_to_message(1, report))


@pytest.mark.parametrize("value", NOT_FINITE)
def test_an_announcement_with_a_cross_entropy_that_is_no_number_is_refused(exchange, value):
    message = messages.offer_to_message(1, exchange().offer("a", RoundKey(1)))
    message.cross_entropy = value
    with pytest.raises(BadFrame, match="cross_entropy"):
        messages.offer_from_message(message)
