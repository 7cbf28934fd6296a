"""Work that can wait: everybody gets a turn, and never too many at once."""

from hypothesis import given
from hypothesis import strategies as st

from distilljob_operator.pace import Pace


def turns(pace: Pace[int], number: int, now_seconds: float) -> list[float]:
    return [pace.turn(key, now_seconds) for key in range(number)]


def test_a_few_have_their_turn_at_once_and_the_others_one_after_the_other():
    assert turns(Pace(per_second=2, burst=3), 6, 100.0) == [100.0, 100.0, 100.0, 100.5, 101.0, 101.5]


def test_who_has_a_turn_keeps_it():
    pace: Pace[str] = Pace(per_second=1, burst=1)
    assert pace.turn("a", 10.0) == 10.0
    assert pace.turn("b", 10.0) == 11.0
    assert pace.turn("b", 10.7) == 11.0
    assert pace.turn("b", 11.2) == 11.0


def test_a_turn_that_is_over_is_followed_by_a_new_one():
    pace: Pace[str] = Pace(per_second=1, burst=1)
    pace.turn("a", 10.0)
    pace.over("a")
    assert pace.turn("a", 10.2) == 11.0


def test_a_quiet_spell_allows_a_burst_again_and_no_more():
    pace: Pace[int] = Pace(per_second=1, burst=3)
    assert turns(pace, 5, 0.0)[-1] == 2.0
    for key in range(5):
        pace.over(key)
    assert turns(pace, 4, 1_000.0) == [1_000.0, 1_000.0, 1_000.0, 1_001.0]


def test_who_never_had_a_turn_may_give_it_back():
    Pace(per_second=1, burst=1).over("nobody")


@given(
    st.lists(st.tuples(st.integers(0, 20), st.floats(0, 5), st.booleans()), max_size=200),
    st.sampled_from([0.5, 2.0, 8.0]),
    st.integers(1, 6),
)
def test_in_no_window_are_there_more_turns_than_the_burst_and_the_rate_allow(asked, per_second, burst):
    pace: Pace[int] = Pace(per_second, burst)
    now_seconds, given_turns, held = 0.0, [], set()
    for key, pause_seconds, is_over in asked:
        now_seconds += pause_seconds
        turn = pace.turn(key, now_seconds)
        if key not in held:
            given_turns.append(turn)
            held.add(key)
        if is_over:
            pace.over(key)
            held.discard(key)
    assert given_turns == sorted(given_turns)
    for start, first in enumerate(given_turns):
        for count, last in enumerate(given_turns[start:], start=1):
            assert count <= burst + (last - first) * per_second + 1e-6
