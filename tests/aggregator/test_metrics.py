"""The aggregator's metrics: whose word is shown, and what is there before it first happens."""

from prometheus_client import CollectorRegistry

from distilljob_aggregator.metrics import AggregatorMetrics, RoundTableCollector
from distilljob_core.errors import NotOpen
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable, StudentView


def student(name: str, epoch: float, gain: float | None, phase: StudentPhase = StudentPhase.DISTILLING) -> StudentView:
    return StudentView(
        name=name,
        phase=phase,
        attempt=1,
        pod_uid="",
        ever_joined=True,
        cycle=1,
        epoch=epoch,
        planned_epochs=9,
        step=1,
        loss=None,
        accuracy={},
        teacher_gain=gain,
        samples_per_second=1.0,
        rows_durable=0,
        rows_total=1,
        barrier_seconds=0.0,
        last_heartbeat_timestamp_seconds=1.0,
        last_progress_timestamp_seconds=1.0,
        parked_attempt=None,
        owes_rows=False,
        behind=False,
        summary=None,
    )


def shown_gain(*students: StudentView) -> float | None:
    table = RoundTable(
        job="digits",
        uid="digits",
        clock_timestamp_seconds=1.0,
        started_timestamp_seconds=1.0,
        cycles=1,
        open=None,
        closes=[],
        students=list(students),
        complete=False,
        storage_full=None,
    )
    registry = CollectorRegistry()
    registry.register(RoundTableCollector(lambda: table, lambda: 0))
    return registry.get_sample_value("distilljob_teacher_gain_ratio")


def test_the_teacher_s_gain_is_what_the_student_that_is_furthest_says():
    assert shown_gain(student("a", 2.0, 0.1), student("b", 3.0, 0.2), student("c", 4.0, None)) == 0.2
    assert shown_gain(student("a", 2.0, None)) is None


def test_a_student_that_was_dropped_no_longer_says_what_the_teacher_is_worth():
    assert shown_gain(student("a", 9.0, 0.1, StudentPhase.DROPPED), student("b", 3.0, 0.2)) == 0.2


def test_every_reason_of_a_rejected_call_is_there_before_the_first_one():
    registry = CollectorRegistry()
    metrics = AggregatorMetrics(registry)
    (rejected,) = [family for family in registry.collect() if family.name == "distilljob_rejected"]
    reasons = {sample.labels["reason"] for sample in rejected.samples}
    assert {"NotOpen", "Busy", "Fenced", "UnknownMethod"} <= reasons
    metrics.rejected.labels(NotOpen.__name__).inc()
    assert registry.get_sample_value("distilljob_rejected_total", {"reason": "NotOpen"}) == 1
    assert registry.get_sample_value("distilljob_exchange_bytes_total", {"direction": "up"}) == 0
