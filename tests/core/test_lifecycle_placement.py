"""Taking turns: fewer places than students, and nobody restarted for it."""

import pytest

from distilljob_core.phases import StudentPhase


@pytest.fixture
def turns(bench):
    """Four students, two places; a and b run."""
    return bench(4, placement={"maximumConcurrentStudents": 2})


def park(made, name):
    made.view(name, parked_attempt=made.attempt(name).attempt, phase=StudentPhase.PARKED, owes_rows=False)
    made.end(name, exit_code=75)


def test_only_as_many_start_as_there_are_places(bench, starts):
    made = bench(4, running=False, placement={"maximumConcurrentStudents": 2})
    assert starts(made.go()) == [("a", 1), ("b", 1)]
    assert starts(made.decide()) == []


def test_without_a_limit_all_start_at_once(bench, starts):
    assert len(starts(bench(4, running=False).decide())) == 4


def test_who_parks_makes_room_for_the_next_who_owes_rows(turns, starts):
    park(turns, "a")
    decision = turns.decide()
    assert starts(decision) == [("c", 1)]
    assert turns.state.students["a"].standing == "Parked"
    assert turns.state.students["a"].restarts.total == 0
    parked = next(event for event in decision.events if event.reason == "StudentParked")
    assert parked.message == "attempt 1 is parked, its place is another student's"


def test_who_waits_for_a_turn_is_counted_where_all_that_should_run_do(turns):
    turns.decide()
    told = "2 of 4 have a place, the others wait for their turn"
    assert turns.condition("StudentsReady") == ("True", "AllStudentsRunning", told)


def test_who_is_parked_stays_so_while_its_round_is_open(turns, starts):
    park(turns, "a")
    park(turns, "b")
    turns.go()
    turns.end("c")
    turns.end("d")
    turns.decide()
    turns.lose("c")
    turns.lose("d")
    assert {name for name, _ in starts(turns.decide())} <= {"c", "d"}
    assert turns.state.students["a"].attempt == 1


def test_coming_back_from_a_park_is_a_new_attempt_and_no_restart(turns, starts):
    park(turns, "a")
    park(turns, "b")
    turns.go()
    park(turns, "c")
    park(turns, "d")
    turns.close()
    for name in "abcd":
        turns.view(name, owes_rows=True, behind=True)
    assert starts(turns.go()) == [("a", 2), ("b", 2)]
    assert turns.state.students["a"].restarts.total == 0


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param({"d": {"phase": StudentPhase.NEEDS_ROWS}}, "d", id="first-who-must-send-rows-again"),
        pytest.param({"c": {"behind": True}, "d": {"owes_rows": True}}, "d", id="then-who-owes-the-open-round"),
        pytest.param({"d": {"behind": True}}, "d", id="then-who-is-behind-a-closed-round"),
        pytest.param({"c": {"owes_rows": True}, "d": {"owes_rows": True}}, "c", id="in-spec-order"),
    ],
)
def test_whose_turn_it_is(turns, starts, views, expected):
    for name in "abcd":
        turns.view(name, owes_rows=False)
    park(turns, "a")
    for name, changes in views.items():
        turns.view(name, **changes)
    assert [name for name, _ in starts(turns.decide())] == [expected]


def test_a_parked_student_waits_while_the_table_is_unreadable(bench, starts):
    made = bench(2, placement={"maximumConcurrentStudents": 1})
    park(made, "a")
    assert starts(made.go()) == [("b", 1)]
    made.is_readable = False
    made.end("b")
    assert starts(made.go()) == [("b", 2)]
    assert made.state.students["a"].standing == "Parked"


def test_a_parked_student_comes_back_when_no_round_is_open_any_more(bench, starts):
    made = bench(2, placement={"maximumConcurrentStudents": 1})
    park(made, "a")
    made.go()
    made.finish("b")
    made.lose("b")
    made.open = None
    assert starts(made.decide()) == [("a", 2)]


def test_a_crashed_student_that_owes_nothing_comes_back_last(turns, starts):
    turns.view("a", owes_rows=False)
    turns.end("a")
    turns.end("b")
    assert starts(turns.decide()) == [("b", 2), ("c", 1)]


def test_a_place_is_free_only_when_the_old_attempt_is_proven_gone(bench, starts):
    made = bench(2, placement={"maximumConcurrentStudents": 1})
    made.finish("a")
    assert starts(made.decide()) == []
    made.end("a", exit_code=0)
    assert starts(made.decide()) == [("b", 1)]


def test_gone_while_parked_is_parked(turns, starts):
    turns.view("a", parked_attempt=1, phase=StudentPhase.PARKED, owes_rows=False)
    turns.lose("a")
    assert starts(turns.decide()) == [("c", 1)]
    assert turns.state.students["a"].standing == "Parked"


def test_a_directive_for_an_older_attempt_proves_no_park(turns, starts):
    turns.end("a")
    turns.go()
    turns.view("a", parked_attempt=1)
    turns.end("a", exit_code=75)
    turns.decide()
    assert turns.state.students["a"].restarts.crash == 2


def test_a_place_whose_student_waits_out_a_crash_goes_to_another(turns, starts):
    turns.end("a")
    turns.go()
    turns.end("a")
    assert starts(turns.decide()) == [("c", 1)]
