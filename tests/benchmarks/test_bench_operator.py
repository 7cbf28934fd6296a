"""The benchmark of the operator: what it counts, shows and writes; what it measures is seen by running it."""

import json

import pytest

from bench_operator import groups, page
from bench_operator.crashes import one_of_each_group
from bench_operator.distilljob import CHILDREN_PER_JOB
from bench_operator.options import Options
from bench_operator.pages import Lie, Pages, Play, Recording, Stage, with_places
from bench_operator.report import summarize
from bench_operator.world import Attempt, Member
from distilljob_core.progress import Sight, SightReason, read_progress, read_samples

PROMISED = {
    "children_vs_floor",
    "operator_cpu_ms_per_job",
    "single_job_running_seconds",
    "crash_to_replacement_p50_seconds",
    "crash_to_replacement_p99_seconds",
    "hang_to_replacement_seconds",
    "wrong_restarts",
    "duplicates",
    "operator_rss_mib",
    "jobs",
}
METRICS = """# HELP distilljob_clock_timestamp_seconds The clock.
distilljob_clock_timestamp_seconds 5.0
distilljob_student_info{attempt="1",pod_uid="recorded-a",student="a"} 1.0
distilljob_student_phase{phase="Independent",student="a"} 1.0
distilljob_student_last_heartbeat_timestamp_seconds{student="a"} 5.0
distilljob_student_last_progress_timestamp_seconds{student="a"} 5.0
"""
OPTIONS = Options(jobs=100, runs=2)


def contest(contestant, run, children_seconds):
    at_once = {"children_seconds": children_seconds, "running_seconds": children_seconds, "complete": True}
    faults = {"wrong_restarts": 0, "duplicates": 0, "lost_restarts": 0}
    shared = {"contestant": contestant, "run": run, "at_once": at_once, "load_before": [1.0], "yardstick_ms": 20.0}
    return shared | {"single_running_seconds": [0.3, None], "faults": faults}


@pytest.fixture
def lines():
    return [contest(name, run, run * (2 if name == "distilljob" else 1)) for name in ("floor", "distilljob")
            for run in (1, 2)]  # fmt: skip


def test_the_summary_has_every_promised_figure_and_every_target(lines):
    summary = summarize(lines, OPTIONS)
    assert summary.keys() >= PROMISED | {target.figure for target in page.TARGETS}
    assert summary.keys() >= {target.peer for target in page.TARGETS if target.peer}


def test_ratios_are_taken_within_a_run(lines):
    summary = summarize(lines, OPTIONS)
    assert summary["children_vs_floor"] == 2.0
    assert summary["ranges"]["children_vs_floor"] == [2.0, 2.0]


def test_the_page_keeps_what_was_written_by_hand(lines, tmp_path):
    setting = {"machine": {"cores": 2, "cpu": "c", "memory_gib": 8, "kernel": "6"}, "versions": {"kopf": "1"}}
    told = [setting | {"when": "today"}, *lines, {"summary": summarize(lines, OPTIONS)}]
    (tmp_path / "operator-100.jsonl").write_text("\n".join(map(json.dumps, told)))
    page.write(tmp_path)
    written = tmp_path / "operator.md"
    written.write_text(written.read_text() + "\nBecause.\n")
    page.write(tmp_path)
    assert "| all children created, by the floor | 1.3 at 100 jobs, 1.5 at 1,000 | 2 (2 to 2) | **no** |" in (
        written.read_text()
    )
    assert written.read_text().endswith(f"{page.NOTES}\nBecause.\n")


def test_the_floor_makes_all_that_the_operator_makes():
    job = groups.distilljob("job", "space")
    job["metadata"]["uid"] = "0a0a0a0a-0000-0000-0000-000000000000"
    made = list(groups.children(job))
    assert len(made) == CHILDREN_PER_JOB
    assert {child["kind"] for child in made} == groups.COLLECTIONS.keys()


@pytest.mark.parametrize(
    ("lie", "reason"),
    [(None, SightReason.FRESH), (Lie.DEAD, SightReason.OLDER_ATTEMPT), (Lie.NAN, SightReason.CLOCK_MISSING)],
)
def test_pages_speak_of_the_pod_that_runs_unless_they_lie(lie, reason):
    recording = Recording(with_places(METRICS), {})
    play = Play(2, "pod-2", joined_seconds=0.0, before=(1, "pod-1"))
    text = Pages(recording, recording).text(Stage("uid", "job", {"a": play}, lie=lie), "metrics")
    progress = read_progress(read_samples(text))
    assert progress.of("a", 2, "pod-2").reason is reason
    assert (progress.sight is Sight.VALUE) is (lie is not Lie.NAN)


def test_crashes_are_spread_over_as_many_groups_as_there_are():
    attempts = [Attempt(Member("n", group, name), 1) for group in ("x", "y") for name in ("a", "b")]
    chosen = one_of_each_group(attempts, 3, turn=1)
    assert [(one.member.group, one.member.name) for one in chosen] == [("x", "b"), ("y", "b"), ("x", "a")]
