"""What titles claim is computed from what is shown."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from distilljob.report.attempts import Attempt, time_line
from distilljob.report.cast import cast
from distilljob.report.configuration import beyond_defaults
from distilljob.report.figures.accuracy import lead
from distilljob.report.figures.calibration import calibration
from distilljob.report.figures.gain import gain
from distilljob.report.figures.logits import logits
from distilljob.report.figures.losses import losses
from distilljob.report.figures.overlay import overlays
from distilljob.report.figures.phases import epoch_keys
from distilljob.report.figures.soft_labels import soft_labels
from distilljob.report.figures.time_split import time_split
from distilljob.report.load import load_run, load_runs
from distilljob.report.run import Run, Stretch, stretches
from distilljob.report.sections import sections
from distilljob.run_directory.events import RunEvent

Maker = Callable[..., Any]
EventMaker = Callable[..., RunEvent]


def loaded(maker: Any, **how: bool) -> Run:
    return load_run(maker.make(**how), "a run")


@pytest.mark.parametrize(
    ("tracks", "title"),
    [
        pytest.param([[0.1, 0.2], [0.2, 0.3]], "cnn is highest after epoch 2, at 30.00 %", id="too-short-to-lead"),
        pytest.param([[0.5, 0.2, 0.2, 0.2], [0.1, 0.3, 0.3, 0.4]], "cnn leads from epoch 2 on", id="since-epoch-2"),
        pytest.param([[0.5] * 4, [0.1] * 4], "mlp leads from epoch 1 on: 50.00 % after epoch 4", id="from-the-start"),
        pytest.param([[0.1, 0.5], [0.2, 0.5]], "mlp and cnn are level at epoch 2: 50.00 %", id="level"),
        pytest.param([[0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.1]], "mlp leads from epoch 1", id="at-the-last-common-epoch"),
    ],
)
def test_the_leader_is_who_leads(run_maker: Maker, tracks: Sequence[Sequence[float]], title: str) -> None:
    assert lead(list(loaded(run_maker(accuracies=tracks)).students)).startswith(title)


def test_one_student_leads_nobody(run_maker: Maker) -> None:
    run = loaded(run_maker(students=["solo"], accuracies=[[0.1, 0.2]]))
    assert lead(list(run.students)) == "solo reaches 20.00 % after epoch 2"


@pytest.mark.parametrize(
    ("gains", "title"),
    [
        ((0.01, 0.02), "The teacher beats its best student in 2 of 2 cycles"),
        ((0.0, 0.01), "The teacher beats its best student in 1 of 2 cycles and is level in 1"),
        ((-0.01,), "The teacher beats its best student in 0 of 1 cycle"),
    ],
)
def test_gains_are_counted(run_maker: Maker, gains: Sequence[float], title: str) -> None:
    picture = gain(loaded(run_maker(gains=gains)), "gain")
    assert picture is not None
    assert picture.title == title


def test_phases_are_stretches_of_epochs(run_maker: Maker) -> None:
    assert stretches(loaded(run_maker())) == [
        Stretch(1, "Independent", 1, 1),
        Stretch(1, "Distill", 2, 2),
        Stretch(2, "Independent", 3, 3),
        Stretch(2, "Distill", 4, 4),
    ]


def test_a_run_without_a_teacher_shades_nothing_and_has_no_divergence(run_maker: Maker) -> None:
    run = loaded(run_maker(spec={"method": {"name": "Independent"}}, gains=()))
    roles = cast([run])
    assert "Distill phase" not in [key.text for key in epoch_keys(run, roles)]
    assert [picture.name for picture in losses(run, roles, "losses")] == ["losses-cross-entropy"]
    assert gain(run, "gain") is None


def test_logits_that_span_alike_are_not_called_different(run_maker: Maker) -> None:
    run = loaded(run_maker(students=["solo"]))
    picture = logits(run, cast([run]), "logits")
    assert picture is not None
    assert picture.title == "solo's logits span 10 on average at cycle 1"


def test_of_many_classes_the_most_probable_are_shown_and_the_label_always(run_maker: Maker) -> None:
    run = loaded(run_maker(num_classes=1000))
    picture = next(iter(soft_labels(run, cast([run]), "labels")))
    assert len(picture.table.rows) == 10
    assert picture.table.rows[0][0] == "class 0"
    assert "The 10 most probable of 1000 classes" in picture.caption


def test_a_student_has_one_look_in_all_runs(run_maker: Maker) -> None:
    first = load_run(run_maker("first").make(), "first")
    second = load_run(run_maker("second", students=["cnn", "other"]).make(), "second")
    roles = cast([first, second])
    looks = [roles.looks[name] for name in ("mlp", "cnn", "other")]
    assert len({(look.color, look.dashes) for look in looks}) == 3
    assert roles.looks["cnn"] == cast([first]).looks["cnn"]


def test_configuration_lists_what_differs_from_defaults(run_maker: Maker) -> None:
    run = loaded(run_maker(spec={"training": {"batchSize": 32, "seed": 0}, "dataset": {"options": {"rows": 5}}}))
    fields = dict(beyond_defaults(run.job).rows)
    assert fields["training.batchSize"] == "32"
    assert fields["dataset.options.rows"] == "5"
    assert fields["students[mlp].model.name"] == "mlp_small"
    assert "training.seed" not in fields
    assert "method.temperature" not in fields


@pytest.mark.parametrize(
    ("reason", "message", "end"),
    [
        ("StudentDone", "", "done"),
        ("StudentParked", "", "parked"),
        ("StudentCrashed", "attempt 1 exited 1 (boom 137)", "crash"),
        ("StudentCrashed", "attempt 1 exited 137; next attempt in 0 s", "kill"),
        ("StudentHung", "attempt 1 hung", "hang"),
        ("StudentExitedEarly", "", "early exit"),
        ("StudentNodeLost", "", "lost"),
        ("StudentDropped", "", "dropped"),
    ],
)
def test_an_attempt_ends_as_its_event_says(event: EventMaker, reason: str, message: str, end: str) -> None:
    events = [event(0, "StudentStarted", "mlp", attempt=1), event(3, reason, "mlp", attempt=1, message=message)]
    assert time_line(events).attempts == (Attempt("mlp", 1, 0.0, 3.0, end),)


def test_who_works_when_the_runner_stops_is_stopped_with_it(event: EventMaker) -> None:
    events = [
        event(0, "RunnerStarted"),
        event(0, "StudentStarted", "mlp", attempt=1),
        event(5, "RunnerStopped"),
        event(9, "RunnerStarted"),
        event(9, "StudentStarted", "mlp", attempt=2),
        event(12, "StudentDone", "mlp", attempt=2),
    ]
    line = time_line(events)
    assert line.attempts == (Attempt("mlp", 1, 0.0, 5.0, "stopped"), Attempt("mlp", 2, 9.0, 12.0, "done"))
    assert line.gaps == ((5.0, 9.0),)


def test_nobody_saw_how_attempts_of_a_killed_runner_ended(event: EventMaker) -> None:
    events = [
        event(0, "RunnerStarted"),
        event(0, "StudentStarted", "mlp", attempt=1),
        event(4, "RoundClosed"),
        event(9, "RunnerStarted"),
    ]
    line = time_line(events)
    assert line.attempts == (Attempt("mlp", 1, 0.0, 4.0, "unseen"),)
    assert line.gaps == ((4.0, 9.0),)
    assert line.round_closes == (4.0,)


def test_an_attempt_at_work_lasts_until_the_last_event(event: EventMaker) -> None:
    events = [event(0, "StudentStarted", "mlp", attempt=1), event(7, "AggregatorEnded")]
    line = time_line(events)
    assert line.attempts == (Attempt("mlp", 1, 0.0, 7.0, "unseen"),)
    assert line.aggregator_ends == (7.0,)


def test_a_clock_that_jumps_back_stands_still(event: EventMaker) -> None:
    events = [event(0, "StudentStarted", "mlp"), event(5, "RoundClosed"), event(2, "StudentDone", "mlp")]
    assert time_line(events).attempts == (Attempt("mlp", 1, 0.0, 5.0, "done"),)


def test_no_events_make_an_empty_time_line() -> None:
    assert time_line([]).attempts == ()
    assert time_line([]).span_seconds == 0.0


def test_a_run_without_a_barrier_has_nobody_who_waits_longest(run_maker: Maker) -> None:
    root = run_maker().make()
    tree = json.loads((root / "result.json").read_text())
    for student in tree["students"]:
        del student["seconds"]["Waiting"]
    (root / "result.json").write_text(json.dumps(tree))
    (run,) = load_runs([root])
    picture = time_split(run, cast([run]), "split")
    assert picture is not None
    assert picture.title == "Nobody waits at a barrier"


def test_who_is_right_as_often_as_it_says_is_neither_too_sure_nor_too_unsure(run_maker: Maker) -> None:
    root = run_maker().make()
    text = (root / "metrics.jsonl").read_text()
    (root / "metrics.jsonl").write_text(text.replace('"confidence": 0.97', '"confidence": 0.95'))
    (run,) = load_runs([root])
    titles = [picture.title for picture in calibration(run, cast([run]), "calibration")]
    assert titles[-1] == "The ensemble is as sure as it is right on average (ECE 0.00 points)"


def test_students_may_be_called_like_figures(run_maker: Maker) -> None:
    runs = load_runs([run_maker(name, students=("gain", "logits")).make() for name in ("one", "two")])
    looks = cast(runs)
    drawn = [picture.name for section in sections(runs, looks) for row in section.rows for _, picture in row]
    drawn += [picture.name for picture in overlays(runs, looks)]
    assert len(set(drawn)) == len(drawn)
