"""What a report says about folders: missing, damaged, unfinished, of another version."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distilljob.errors import BadInput, NotFound
from distilljob.report.command import run_report, write_report
from distilljob.report.load import labels, load_run, load_runs
from distilljob.report.verdicts import standing
from distilljob.run_directory.events import RunEvent
from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Outcome

Maker = Callable[..., Any]
Page = Callable[..., str]
EventMaker = Callable[..., RunEvent]


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "page.html")


def test_a_folder_without_a_run_is_not_found_and_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"holds no run.*name the DIR of `distilljob run -o DIR`"):
        write_report([tmp_path], tmp_path / "page.html")


@pytest.mark.parametrize("name", ["job.json", "result.json", "state.json"])
def test_a_damaged_file_names_itself_and_the_fix(run_maker: Maker, tmp_path: Path, name: str) -> None:
    root = run_maker().make()
    (root / name).write_text('{"torn": ')
    with pytest.raises(BadInput) as caught:
        write_report([root], tmp_path / "page.html")
    (problem,) = caught.value.problems
    assert problem.path == str(root / name)
    assert problem.hint
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_says_where_and_what_to_do(run_maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"choose another place with --output"):
        write_report([run_maker().make()], tmp_path / "nowhere" / "page.html")


def test_the_page_lies_in_the_run_or_in_the_current_folder(
    run_maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_yet = {"accuracies": [(), ()], "gains": ()}
    first, second = (run_maker(name, **nothing_yet).make(finished=False) for name in ("first", "second"))
    monkeypatch.chdir(tmp_path)
    assert run_report([first], None) == 0
    assert run_report([first, second], None) == 0
    assert capsys.readouterr().out == f"{first / 'report.html'}\nreport.html\n"
    assert (first / "report.html").exists()
    assert (tmp_path / "report.html").exists()


def test_lines_that_are_damaged_or_of_another_version_are_left_out_and_counted(run_maker: Maker, page: Page) -> None:
    root = run_maker().make()
    with (root / "metrics.jsonl").open("a") as file:
        file.write('{"student": "mlp", "kind": "epoch", "cycle": 1}\n')  # of a version without time stamps
        file.write('{"student": "mlp", "kind": "of tomorrow", "timestampSeconds": 1.0}\n')
        file.write("[1, 2]\n\x00\xff torn\n")
        file.write('{"student": "nobody we know", "kind": "epo')  # still being written
    (root / "events.jsonl").write_text('{"reason": "without a time"}\n')
    after = page(root)
    assert "metrics.jsonl: 4 lines are damaged or of another version" in after
    assert "events.jsonl: 1 line is damaged or of another version" in after
    assert "leads from epoch" in after


def test_an_unfinished_run_is_reported_as_far_as_it_went(run_maker: Maker, page: Page, event: EventMaker) -> None:
    events = [event(0, "RunnerStarted"), event(1, "StudentStarted", "mlp", attempt=1)]
    maker = run_maker(accuracies=[(0.5, 0.6, 0.7), (0.4, 0.5)], gains=(0.01,), events=events)
    written = page(maker.make(finished=False))
    top = written[: written.index("<main>")]
    assert "This run has not finished. Its students have finished 2 to 3 of 4 epochs and closed 1 of 2 cycles" in top
    assert "70.00 % (epoch 3)" in written
    assert "mlp leads from epoch" in written or "mlp is highest after epoch 2" in written
    assert "Weights are published at the end" in written


def test_a_stopped_run_says_that_the_same_command_goes_on(run_maker: Maker, event: EventMaker) -> None:
    maker = run_maker(events=[event(0, "RunnerStarted"), event(9, "RunnerStopped")])
    run = load_run(maker.make(finished=False), "a run")
    assert standing(run).startswith("This run was stopped and goes on with the same command.")


def test_a_failed_run_says_why_before_anything_else(run_maker: Maker, page: Page) -> None:
    outcome = Outcome("Failed", Reason.BUDGET_EXHAUSTED, "student cnn: no restarts are left", 0.0)
    written = page(run_maker(accuracies=[(), ()], gains=()).make(finished=False, outcome=outcome))
    top = written[: written.index("<main>")]
    assert "This run failed: BudgetExhausted, student cnn: no restarts are left" in top
    assert "No student has finished an epoch." in top


def test_a_run_that_has_only_begun_is_a_page_too(run_maker: Maker, page: Page) -> None:
    root = run_maker(accuracies=[(), ()], gains=()).make(finished=False)
    for name in ("state.json", "events.jsonl", "job.yaml"):
        (root / name).unlink()
    for student in ("mlp", "cnn"):
        (root / "checkpoints" / student / "metrics.jsonl").unlink()
        (root / "results" / f"{student}.json").write_text("[not an object")
    assert "No student has finished an epoch." in page(root)


def test_class_names_of_a_strange_file_are_left_out(run_maker: Maker) -> None:
    root = run_maker().make()
    (root / "results" / "mlp.json").write_text(json.dumps({"classes": "abc"}))
    (root / "results" / "cnn.json").write_text(json.dumps(["a"]))
    (run,) = load_runs([root])
    assert [student.classes for student in run.students] == [(), ()]


def test_runs_are_named_by_the_shortest_ends_that_tell_them_apart(tmp_path: Path) -> None:
    assert labels([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert labels([tmp_path / "md" / "seed-0", tmp_path / "ind" / "seed-0"]) == ["md/seed-0", "ind/seed-0"]


def test_a_run_given_twice_is_one_run(run_maker: Maker) -> None:
    root = run_maker().make()
    assert len(load_runs([root, root / ".." / root.name])) == 1


@pytest.mark.parametrize("name", ["bell \a", "half \ud83d", "\x00"])
def test_class_names_that_no_page_can_hold_are_shown_as_far_as_they_go(run_maker: Maker, page: Page, name: str) -> None:
    root = run_maker().make()
    for student in ("mlp", "cnn"):
        (root / "results" / f"{student}.json").write_text(json.dumps({"classes": [name, "b", "c"]}))
    assert f"<td>{name[:-1]}\ufffd" in page(root) or f">{name[:-1]}\ufffd<" in page(root)


def test_a_folder_whose_name_is_no_text_has_a_page(run_maker: Maker, page: Page) -> None:
    nothing_yet = {"accuracies": [(), ()], "gains": ()}
    root = run_maker(os.fsdecode(b"caf\xe9"), **nothing_yet).make(finished=False)
    assert "<h1>caf\ufffd</h1>" in page(root)
