"""Hung, slow, waiting, or merely not to be seen: only the first is ended."""

from dataclasses import replace

import pytest

from distilljob_core.lifecycle.hang import limit_seconds
from distilljob_core.lifecycle.seen import AttemptStanding
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import Progress, Sight, SightReason, scrape_failed
from distilljob_core.spec.policies import Hang

HANG = {"startupSeconds": 100, "steadySeconds": 60, "evaluationSeconds": 70, "exchangeSeconds": 80}


def hanging(bench, num_students=3, **policy):
    made = bench(num_students, failurePolicy={"hang": HANG | policy})
    made.decide(200.0)
    for name in "abcdefgh"[:num_students]:
        made.sample(name, StudentPhase.INDEPENDENT)
    return made


@pytest.mark.parametrize(
    ("phase", "expected_seconds"),
    [
        ("Starting", 1),
        ("Independent", 2),
        ("Distilling", 2),
        ("Evaluating", 3),
        ("Labeling", 3),
        ("Uploading", 4),
        ("Waiting", 4),
        ("Fetching", 4),
        ("Publishing", 4),
        ("Checkpointing", 5),
        ("Parked", 5),
        ("NeedsRows", 5),
        ("Finished", float("inf")),
        ("Dropped", float("inf")),
    ],
)
def test_every_phase_has_its_limit(phase, expected_seconds):
    limits = Hang(startup_seconds=1, steady_seconds=2, evaluation_seconds=3, exchange_seconds=4, checkpoint_seconds=5)
    assert limit_seconds(limits, StudentPhase(phase)) == expected_seconds


def test_a_limit_that_is_nearly_reached_is_not_looked_at_again_at_once(bench):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 59.999)
    assert made.decide().next_wake_seconds == made.now + 1


def test_a_student_without_a_step_beyond_its_limit_is_ended_with_its_evidence(bench, ends):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 59.0)
    assert made.decide().next_wake_seconds == made.now + 1
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    decision = made.decide()
    assert ends(decision) == [("a", 1, "Hang")]
    assert decision.actions[0].manner == "KeepEvidence"
    assert decision.events[0].message == "attempt 1 made no step in Independent for 60 s (limit 60 s)"
    told = "a: attempt 1 is being ended (Hang), the next one starts when it is gone"
    assert made.condition("StudentsReady") == ("False", "StudentsRestarting", told)


def test_a_hung_attempt_counts_as_hung_whatever_its_exit_code(bench, starts):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    made.decide()
    made.end("a", exit_code=143)
    assert starts(made.decide()) == [("a", 2)]
    assert made.state.students["a"].restarts.hang == 1
    assert made.state.students["a"].restarts.total == 1


def test_hangs_have_a_lower_budget_of_their_own(bench):
    made = hanging(bench, maxRestartsPerStudent=1)
    for _ in range(2):
        made.decide(200.0)
        made.sample("a", StudentPhase.INDEPENDENT, 60.0)
        made.decide()
        made.end("a", exit_code=143)
        made.go()
        made.go(300.0)
    assert made.state.outcome.reason == "BudgetExhausted"
    assert "hang.maxRestartsPerStudent (1)" in made.state.outcome.message


def test_an_attempt_that_never_joins_hangs_after_the_startup_limit(bench, ends):
    made = hanging(bench)
    silence_before_joining(made)
    made.progress = replace(made.progress, students={name: made.progress.students[name] for name in "bc"})
    assert ends(made.decide()) == []
    assert ends(made.decide(99.0)) == []
    assert ends(made.decide(1.0)) == [("a", 2, "Hang")]


def silence_before_joining(made):
    """Replace a by an attempt that does not join; the samples still speak of the dead one, silent for ever."""
    old_view, old = made.views["a"], replace(made.progress.students["a"], progress_age_seconds=9999.0)
    made.end("a")
    made.go()
    made.views["a"] = old_view
    made.progress = replace(made.progress, students={**made.progress.students, "a": old})


def test_the_silence_of_a_dead_attempt_is_never_held_against_the_next(bench, ends):
    made = hanging(bench)
    silence_before_joining(made)
    made.decide()
    assert ends(made.decide(99.0)) == []
    assert ends(made.decide(1.0)) == [("a", 2, "Hang")]


def test_samples_of_a_dead_attempt_prove_nothing_without_the_round_tables_word(bench):
    made = hanging(bench)
    silence_before_joining(made)
    made.is_readable = False
    for _ in range(10):
        assert made.decide(1000.0).actions == ()
    assert made.condition("ProgressObservable") == ("False", "MetricsUnavailable", "a: OlderAttempt")


@pytest.mark.parametrize(
    "progress",
    [
        pytest.param(Progress(), id="never-scraped"),
        pytest.param(scrape_failed("connection refused"), id="scrape-failed"),
        pytest.param(Progress(Sight.STALE, SightReason.SCRAPE_STALE), id="scrape-stale"),
        pytest.param(Progress(Sight.NO_DATA, SightReason.CLOCK_MISSING), id="clock-missing"),
    ],
)
def test_a_blind_watcher_restarts_nobody_and_says_so(bench, progress):
    made = hanging(bench)
    before = made.progress.students
    made.progress = replace(progress, students=before)
    for _ in range(30):
        assert made.decide(60.0).actions == ()
    assert made.condition("ProgressObservable")[0] in ("False", "Unknown")


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param({"phase": None}, id="no-phase"),
        pytest.param({"progress_age_seconds": None}, id="no-progress"),
        pytest.param({"heartbeat_age_seconds": None}, id="no-heartbeat"),
        pytest.param({"attempt": 9}, id="newer-attempt"),
    ],
)
def test_a_student_whose_samples_say_nothing_is_not_judged(bench, samples):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 9999.0)
    mine = replace(made.progress.students["a"], **samples)
    made.progress = replace(made.progress, students={**made.progress.students, "a": mine})
    assert made.decide(9999.0).actions == ()
    assert made.condition("ProgressObservable")[:2] == ("False", "MetricsUnavailable")


def test_silence_counts_only_from_the_end_of_a_blind_spell(bench, ends):
    made = hanging(bench)
    sighted = made.progress
    made.progress = scrape_failed("connection refused")
    made.decide(1000.0)
    made.progress = sighted
    made.sample("a", StudentPhase.INDEPENDENT, 1000.0)
    assert ends(made.decide()) == []
    assert ends(made.decide(59.0)) == []
    assert ends(made.decide(1.0)) == [("a", 1, "Hang")]


@pytest.mark.parametrize("moment", ["attempt", "aggregator", "watcher"])
def test_silence_counts_only_from_the_latest_start(bench, ends, moment):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 1000.0)
    if moment == "attempt":
        made.change("a", started_seconds=made.now)
    elif moment == "aggregator":
        made.aggregator = replace(made.aggregator, started_seconds=made.now)
    else:
        made.watching_since = made.now
    assert ends(made.decide(59.0)) == []
    assert ends(made.decide(1.0)) == [("a", 1, "Hang")]


def test_an_attempt_without_a_known_start_is_timed_from_its_order(bench, ends):
    made = hanging(bench)
    made.end("a")
    made.go()
    made.change("a", started_seconds=None)
    made.sample("a", StudentPhase.INDEPENDENT, 1000.0)
    made.decide()
    assert ends(made.decide(59.0)) == []
    assert ends(made.decide(1.0)) == [("a", 2, "Hang")]


@pytest.mark.parametrize("standing", [AttemptStanding.PENDING, AttemptStanding.UNREACHABLE])
def test_only_a_running_attempt_can_hang(bench, standing):
    made = hanging(bench)
    made.change("a", standing=standing)
    made.sample("a", StudentPhase.INDEPENDENT, 1000.0)
    assert made.decide().actions == ()


def test_a_student_that_was_told_to_park_and_does_not_leave_is_ended(bench, ends):
    made = hanging(bench, checkpointSeconds=90)
    made.view("a", phase=StudentPhase.PARKED, parked_attempt=1, owes_rows=False)
    made.sample("a", StudentPhase.PARKED, 89.0)
    assert ends(made.decide()) == []
    made.sample("a", StudentPhase.PARKED, 90.0)
    assert ends(made.decide()) == [("a", 1, "Hang")]


def test_waiting_at_the_barrier_is_no_hang_while_the_heartbeat_is_young(bench, ends):
    made = hanging(bench)
    made.view("a", phase=StudentPhase.WAITING, owes_rows=False)
    made.sample("a", StudentPhase.WAITING, age_seconds=86_400.0, heartbeat_seconds=79.0)
    assert ends(made.decide(86_400.0)) == []
    made.sample("a", StudentPhase.WAITING, age_seconds=86_400.0, heartbeat_seconds=80.0)
    assert ends(made.decide()) == [("a", 1, "Hang")]


def test_from_the_close_on_the_exchange_limit_runs(bench, ends):
    made = hanging(bench)
    made.view("a", phase=StudentPhase.WAITING, behind=True)
    made.close()
    made.sample("a", StudentPhase.WAITING, age_seconds=86_400.0)
    assert ends(made.decide()) == []
    assert ends(made.decide(79.0)) == []
    assert ends(made.decide(1.0)) == [("a", 1, "Hang")]


def test_a_barrier_that_nobody_can_see_counts_as_open(bench):
    made = hanging(bench)
    made.is_readable = False
    made.sample("a", StudentPhase.WAITING, age_seconds=86_400.0)
    assert made.decide(86_400.0).actions == ()


def test_closes_of_the_others_do_not_excuse_a_student_that_trains(bench, ends):
    made = hanging(bench)
    made.close("b", "c")
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    assert ends(made.decide()) == [("a", 1, "Hang")]


def test_two_of_five_hung_students_are_both_ended(bench, ends):
    made = hanging(bench, 5)
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    made.sample("b", StudentPhase.INDEPENDENT, 60.0)
    assert ends(made.decide()) == [("a", 1, "Hang"), ("b", 1, "Hang")]


def test_half_of_the_students_are_not_most_of_them(bench, ends):
    made = hanging(bench, 4)
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    made.sample("b", StudentPhase.INDEPENDENT, 60.0)
    assert len(ends(made.decide())) == 2


def test_two_students_have_no_majority_to_suspect(bench, ends):
    made = hanging(bench, 2)
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    made.sample("b", StudentPhase.INDEPENDENT, 60.0)
    assert len(ends(made.decide())) == 2


def test_when_most_look_hung_what_they_share_is_suspect_and_then_it_is_one_at_a_time(bench, ends, starts):
    made = hanging(bench)
    made.sample("b", StudentPhase.INDEPENDENT, 61.0)
    made.sample("c", StudentPhase.EVALUATING, 80.0)
    decision = made.decide()
    assert decision.actions == ()
    assert made.condition("Degraded")[:2] == ("True", "MassHang")
    assert made.decide(139.0).actions == ()
    made.sample("c", StudentPhase.EVALUATING, 220.0)
    assert ends(made.decide(1.0)) == [("c", 1, "Hang")]
    made.end("c", exit_code=143)
    assert starts(made.go()) == [("c", 2)]
    made.sample("c", StudentPhase.STARTING)
    assert made.decide(30.0).actions == ()
    made.sample("c", StudentPhase.INDEPENDENT)
    assert ends(made.decide()) == [("b", 1, "Hang")]
    assert made.condition("Degraded")[0] == "False"


@pytest.mark.parametrize(("others_seconds", "num_ended"), [(29.0, 1), (30.0, 0)])
def test_the_first_of_many_to_hang_is_not_ended_when_the_others_are_about_to(bench, ends, others_seconds, num_ended):
    made = hanging(bench)
    made.sample("a", StudentPhase.INDEPENDENT, 60.0)
    for name in "bc":
        made.sample(name, StudentPhase.INDEPENDENT, others_seconds)
    assert len(ends(made.decide())) == num_ended


def test_a_replacement_that_does_not_come_back_holds_the_next_one_up_for_one_hold_only(bench, ends):
    made = hanging(bench)
    for name in "abc":
        made.sample(name, StudentPhase.INDEPENDENT, 61.0)
    assert made.decide().next_wake_seconds == made.now + 2 * 60
    first = made.go(120.0)
    assert ends(first) == [("a", 1, "Hang")]
    made.go()
    made.change("a", standing=AttemptStanding.PENDING)
    assert made.decide(119.0).actions == ()
    assert ends(made.decide(1.0)) == [("b", 1, "Hang")]


def test_in_a_mass_hang_the_next_follows_once_the_replacement_is_back_at_work(bench, ends):
    made = hanging(bench, 5)
    for name in "abcde":
        made.sample(name, StudentPhase.INDEPENDENT, 61.0)
    made.decide()
    assert ends(made.go(120.0)) == [("a", 1, "Hang")]
    made.go()
    assert ends(made.decide()) == [("b", 1, "Hang")]


def test_a_mass_hang_that_passes_leaves_no_trace(bench):
    made = hanging(bench)
    for name in "abc":
        made.sample(name, StudentPhase.INDEPENDENT, 61.0)
    made.decide()
    for name in "abc":
        made.sample(name, StudentPhase.INDEPENDENT, 0.0)
    assert made.decide(600.0).actions == ()
    assert made.state.mass_hang is None
    assert made.condition("Degraded")[0] == "False"


def test_a_parked_student_is_not_on_its_way_back(bench, ends):
    made = hanging(bench, 5)
    made.view("e", parked_attempt=1, owes_rows=False)
    made.end("e", exit_code=75)
    made.decide()
    for name in "abcd":
        made.sample(name, StudentPhase.INDEPENDENT, 61.0)
    made.decide()
    assert ends(made.go(120.0)) == [("a", 1, "Hang")]
    made.go()
    assert ends(made.decide()) == [("b", 1, "Hang")]


def test_a_clock_that_goes_back_ends_nobody_and_forgets_no_mass_hang(bench):
    made = hanging(bench)
    for name in "abc":
        made.sample(name, StudentPhase.INDEPENDENT, 61.0)
    made.decide()
    assert made.decide(-3600.0).actions == ()
    assert made.state.mass_hang is None or made.state.mass_hang.since_seconds <= made.now
