"""The operator's metrics: read from what there is, and bounded."""

import json

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


def test_restarts_are_there_before_the_first_one() -> None:
    causes = {labels[0] for name, *labels in samples(OperatorMetrics()) if name == "distilljob_operator_restarts_total"}
    assert causes == {"crash", "hang", "early", "node", "deleted"}


def at_work(jobs: Jobs, restarts: int = 0, version: int = 1, observable: str = "True", phase: str = "Training") -> None:
    metadata = {"namespace": "team", "name": "a", "uid": "uid-a", "resourceVersion": str(version)}
    memory = {"students": {"cnn": {"account": {"spent": restarts}}}}
    status = {
        "phase": phase,
        "students": [{"name": "cnn", "restarts": {"crash": restarts} if restarts else {}}, {"name": "mlp"}],
        "conditions": [{"type": "ProgressObservable", "status": observable}],
        "memory": json.dumps(memory),
    }
    spec = {"failurePolicy": {"maxRestartsPerStudent": 4, "hang": {"steadySeconds": 77}}}
    jobs.update({"metadata": metadata, "spec": spec, "status": status})


def test_restarts_are_shown_by_student_and_cause_and_as_a_share_of_the_budget() -> None:
    jobs = Jobs()
    at_work(jobs, restarts=3)
    found = samples(collected(jobs))
    assert found["distilljob_student_restarts", "a", "team", "crash", "cnn"] == 3
    assert found["distilljob_student_restarts", "a", "team", "hang", "cnn"] == 0
    assert found["distilljob_student_restart_budget_used_ratio", "a", "team", "cnn"] == 0.75
    assert found["distilljob_student_restart_budget_used_ratio", "a", "team", "mlp"] == 0


def test_hang_limits_and_sight_are_those_of_jobs_that_have_not_ended() -> None:
    jobs = Jobs()
    at_work(jobs)
    found = samples(collected(jobs))
    assert found["distilljob_job_hang_limit_seconds", "a", "team", "Distilling"] == 77
    assert found["distilljob_job_hang_limit_seconds", "a", "team", "Uploading"] == 900
    assert ("distilljob_job_hang_limit_seconds", "a", "team", "Finished") not in found
    assert found["distilljob_job_progress_observable", "a", "team"] == 1
    at_work(jobs, version=2, observable="False")
    assert samples(collected(jobs))["distilljob_job_progress_observable", "a", "team"] == 0
    at_work(jobs, version=3, observable="Unknown")
    assert ("distilljob_job_progress_observable", "a", "team") not in samples(collected(jobs))
    at_work(jobs, version=4, phase="Complete")
    names = {name for name, *_ in samples(collected(jobs))}
    assert "distilljob_job_phase" in names
    assert not names & {"distilljob_job_hang_limit_seconds", "distilljob_job_progress_observable"}


def test_a_policy_that_is_wrong_breaks_no_scrape() -> None:
    jobs = Jobs()
    metadata = {"namespace": "team", "name": "a", "uid": "uid-a", "resourceVersion": "1"}
    jobs.update({"metadata": metadata, "spec": {"failurePolicy": {"hang": {"steadySeconds": "soon"}}}, "status": {}})
    assert samples(collected(jobs))["distilljob_job_hang_limit_seconds", "a", "team", "Distilling"] == 600
