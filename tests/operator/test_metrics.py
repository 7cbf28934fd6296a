"""The operator's metrics: read from what there is, and bounded."""

import json
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from distilljob_operator.jobs import Jobs
from distilljob_operator.metrics import OperatorMetrics, Readings, StateCollector


def samples(metrics: OperatorMetrics) -> dict[tuple[str, ...], float]:
    """Give all samples by name and values of labels, in the order of the labels' names."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def collected(jobs: Jobs, readings: Readings | None = None) -> OperatorMetrics:
    metrics = OperatorMetrics()
    metrics.registry.register(StateCollector(jobs, readings or Readings()))
    return metrics


def update(jobs: Jobs, name: str, phase: str | None = None, version: int = 1) -> None:
    metadata = {"namespace": "team", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    jobs.update({"metadata": metadata, "status": {"phase": phase} if phase else {}})


def test_each_job_has_one_info_which_goes_with_it() -> None:
    jobs = Jobs()
    metrics = collected(jobs)
    update(jobs, "a")
    assert samples(metrics)["distilljob_job_info", "a", "team", "uid-a"] == 1
    jobs.remove(("team", "a"), "uid-a")
    assert not [name for name, *_ in samples(metrics) if name == "distilljob_job_info"]


def test_jobs_are_counted_by_phase_and_no_phase_is_left_out() -> None:
    jobs = Jobs()
    update(jobs, "a")
    update(jobs, "b", "Training")
    update(jobs, "c", "Training")
    found = samples(collected(jobs))
    assert found["distilljob_operator_jobs", "Training"] == 2
    assert found["distilljob_operator_jobs", "Pending"] == 1
    assert found["distilljob_operator_jobs", "Failed"] == 0


def test_queue_watches_and_staleness_are_read_at_each_scrape() -> None:
    ages = {"pods": 3.0}
    metrics = collected(Jobs(), Readings(queue_depth=lambda: 5, watch_ages_seconds=lambda: ages))
    assert samples(metrics)["distilljob_operator_queue_depth",] == 5
    ages["pods"] = 4.0
    found = samples(metrics)
    assert found["distilljob_operator_watch_age_seconds", "pods"] == 4
    assert ("distilljob_operator_progress_age_seconds",) not in found


def test_requests_are_counted_by_verb_resource_and_code() -> None:
    metrics = OperatorMetrics()
    metrics.on_request("create", "jobs", 201, 0.01)
    metrics.on_request("create", "jobs", 201, 0.02)
    metrics.on_request("get", "pods", 0, 30.0)
    found = samples(metrics)
    assert found["distilljob_operator_api_requests_total", "201", "jobs", "create"] == 2
    assert found["distilljob_operator_api_requests_total", "0", "pods", "get"] == 1
    assert found["distilljob_operator_api_request_seconds_count", "create"] == 2


def test_restarts_and_failed_readings_are_there_before_the_first_one() -> None:
    found = samples(OperatorMetrics())
    causes = {labels[0] for name, *labels in found if name == "distilljob_operator_restarts_total"}
    assert causes == {"crash", "hang", "early", "node", "deleted"}
    assert found["distilljob_operator_progress_errors_total", "Scrape"] == 0


def at_work(
    jobs: Jobs,
    *,
    version: int = 1,
    accounts: dict[str, dict[str, int]] | None = None,
    policy: dict[str, Any] | None = None,
    **status: Any,
) -> None:
    metadata = {"namespace": "team", "name": "a", "uid": "uid-a", "resourceVersion": str(version)}
    accounts = accounts or {}
    rows = [{"name": name, "attempt": 2, "phase": "Distilling"} for name in ("cnn", "mlp")]
    for row in rows:
        if row["name"] in accounts:
            row["restarts"] = {"crash": accounts[row["name"]]["charged"]}
    memory = {"students": {name: {"account": account} for name, account in accounts.items()}}
    jobs.update(
        {
            "metadata": metadata,
            "spec": {"failurePolicy": policy or {}},
            "status": {"phase": "Training", "students": rows, "memory": json.dumps(memory), **status},
        }
    )


def budgets(jobs: Jobs) -> dict[str, float]:
    name = "distilljob_student_restart_budget_used_ratio"
    return {key[-1]: value for key, value in samples(collected(jobs)).items() if key[0] == name}


def test_restarts_are_shown_by_student_and_cause_and_stay_when_the_job_has_ended() -> None:
    jobs = Jobs()
    for version, phase in enumerate(("Training", "Complete"), start=1):
        at_work(jobs, version=version, accounts={"cnn": {"spent": 3, "charged": 3}}, phase=phase)
        found = samples(collected(jobs))
        assert found["distilljob_student_restarts", "a", "team", "crash", "cnn"] == 3
        assert found["distilljob_student_restarts", "a", "team", "hang", "cnn"] == 0
        assert found["distilljob_student_restarts", "a", "team", "crash", "mlp"] == 0


@pytest.mark.parametrize(
    ("account", "policy", "cnn", "mlp"),
    [
        pytest.param({"spent": 3, "charged": 3}, {"maxRestartsPerStudent": 4}, 0.75, 0.1, id="its own"),
        pytest.param({"spent": 1, "spent_hangs": 1, "charged": 1}, {}, 0.5, 1 / 30, id="that of its hangs"),
        pytest.param({"spent": 0, "charged": 9}, {"maxRestarts": 10}, 0.9, 0.9, id="that of the job"),
        pytest.param({"spent": 4, "charged": 4}, {"maxRestartsPerStudent": 2}, 1.0, 4 / 30, id="one that was lowered"),
        pytest.param({"spent": 0, "charged": 0}, {"maxRestartsPerStudent": 0}, 0.0, 0.0, id="none at all"),
    ],
)
def test_of_the_three_budgets_the_one_that_is_nearest_to_its_end_is_shown(account, policy, cnn, mlp) -> None:
    jobs = Jobs()
    at_work(jobs, accounts={"cnn": account}, policy=policy)
    assert budgets(jobs) == pytest.approx({"cnn": cnn, "mlp": mlp})


def test_who_has_nothing_left_to_do_has_no_budget() -> None:
    jobs = Jobs()
    at_work(jobs, students=[{"name": "cnn", "phase": "Finished"}, {"name": "mlp"}, {"name": "bn", "phase": "Dropped"}])
    assert set(budgets(jobs)) == {"mlp"}
    at_work(jobs, version=2, phase="Failed")
    assert budgets(jobs) == {}


def test_a_student_runs_only_while_the_pod_of_its_newest_attempt_does() -> None:
    jobs = Jobs()
    at_work(jobs)
    readings = Readings(running_attempts=lambda job: {("cnn", 2), ("mlp", 1)} if job.uid == "uid-a" else set())
    found = samples(collected(jobs, readings))
    assert found["distilljob_student_running_attempt", "a", "team", "cnn"] == 2
    assert found["distilljob_student_running_attempt", "a", "team", "mlp"] == 0
    at_work(jobs, version=2, phase="Complete")
    assert "distilljob_student_running_attempt" not in {name for name, *_ in samples(collected(jobs, readings))}


@pytest.mark.parametrize(
    ("status", "reason", "sight"),
    [
        ("True", "ProgressRead", 1),
        ("False", "MetricsUnavailable", 0),
        ("Unknown", "MetricsStale", 0),
        ("Unknown", "MetricsUnavailable", 0),
        ("Unknown", "SuspendedByUser", None),
        ("Unknown", "Suspending", None),
    ],
)
def test_the_operator_is_blind_where_it_should_see_and_does_not(status: str, reason: str, sight: float | None) -> None:
    jobs = Jobs()
    at_work(jobs, conditions=[{"type": "ProgressObservable", "status": status, "reason": reason}])
    assert samples(collected(jobs)).get(("distilljob_job_progress_observable", "a", "team")) == sight


def test_hang_limits_and_sight_are_those_of_jobs_that_have_not_ended() -> None:
    jobs = Jobs()
    conditions = [{"type": "ProgressObservable", "status": "True", "reason": "ProgressRead"}]
    at_work(jobs, policy={"hang": {"steadySeconds": 77}}, conditions=conditions)
    found = samples(collected(jobs))
    assert found["distilljob_job_hang_limit_seconds", "a", "team", "Distilling"] == 77
    assert found["distilljob_job_hang_limit_seconds", "a", "team", "Uploading"] == 900
    assert ("distilljob_job_hang_limit_seconds", "a", "team", "Finished") not in found
    assert found["distilljob_job_progress_observable", "a", "team"] == 1
    at_work(jobs, version=2, phase="Complete", conditions=conditions)
    names = {name for name, *_ in samples(collected(jobs))}
    assert "distilljob_job_phase" in names
    assert not names & {"distilljob_job_hang_limit_seconds", "distilljob_job_progress_observable"}


def test_a_policy_that_is_wrong_breaks_no_scrape() -> None:
    jobs = Jobs()
    metadata = {"namespace": "team", "name": "a", "uid": "uid-a", "resourceVersion": "1"}
    jobs.update({"metadata": metadata, "spec": {"failurePolicy": {"hang": {"steadySeconds": "soon"}}}, "status": {}})
    assert samples(collected(jobs))["distilljob_job_hang_limit_seconds", "a", "team", "Distilling"] == 600
