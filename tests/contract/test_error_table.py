"""Every error has its place on the wire, or is known to have none."""

import inspect

import grpc
import pytest

from distilljob_core import errors
from distilljob_core.rpc.status import NEVER_SENT, STATUS_OF, error_from, error_metadata

ALL = {error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, errors.DistillJobError)}


def test_every_error_can_be_sent_or_is_known_never_to_be():
    assert set(STATUS_OF) | NEVER_SENT == ALL
    assert not set(STATUS_OF) & NEVER_SENT


@pytest.mark.parametrize("error", sorted(STATUS_OF, key=lambda error: error.__name__))
def test_an_error_survives_the_way(error):
    arrived = error_from(error_metadata(error("what and why")), "what and why")
    assert type(arrived) is error
    assert str(arrived) == "what and why"
    assert STATUS_OF[error] not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)


@pytest.mark.parametrize("trailing", [None, (), (("other", "Fenced"),), (("distilljob-error", "Unheard"),)])
def test_a_status_that_is_not_ours_stays_what_it_is(trailing):
    assert error_from(trailing, "text") is None
