"""Conditions: a closed list, and transition times that mean something."""

from dataclasses import replace
from pathlib import Path

import pytest

from distilljob_core.conditions import Condition, ConditionType, Reason, merge_conditions

READY = Condition(ConditionType.AGGREGATOR_READY, "True", Reason.AGGREGATOR_AVAILABLE, "", 10.0)


def test_the_transition_time_moves_only_with_the_status():
    later = replace(READY, message="more", last_transition_seconds=20.0)
    assert merge_conditions([READY], [later]) == (replace(later, last_transition_seconds=10.0),)
    lost = replace(later, status="False", reason=Reason.AGGREGATOR_UNAVAILABLE)
    assert merge_conditions([READY], [lost]) == (lost,)


def test_conditions_of_others_stay():
    valid = Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", 1.0)
    assert merge_conditions([valid], [READY]) == (valid, READY)


def test_conditions_come_in_the_order_of_their_types():
    failed = Condition(ConditionType.FAILED, "True", Reason.FATAL_DATA, "", 1.0)
    assert merge_conditions([failed], [READY]) == (READY, failed)


@pytest.mark.parametrize("type_", [ConditionType.COMPLETE, ConditionType.FAILED])
def test_the_end_is_sticky(type_):
    end = Condition(type_, "True", Reason.FATAL_DATA, "first", 1.0)
    assert merge_conditions([end], [replace(end, status="False", message="second")]) == (end,)
    early = replace(end, status="False")
    assert merge_conditions([early], [end]) == (end,)


@pytest.mark.parametrize("kind", [ConditionType, Reason])
def test_every_word_says_when_it_is_used(kind):
    source = Path(__file__).parents[2].joinpath("core/distilljob_core/conditions.py").read_text()
    for member in kind:
        row = source.index(f'{member.name} = "{member.value}"\n')
        assert source[row:].splitlines()[1].strip().startswith('"""'), member


def test_there_are_fewer_types_than_a_status_may_hold():
    assert len(ConditionType) <= 16
