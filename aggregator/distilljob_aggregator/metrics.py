"""The aggregator's metrics. Students are read from the round table at each scrape: no series outlives its attempt."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_core.rpc.status import STATUS_OF

UNKNOWN_METHOD = "UnknownMethod"
"""Reason of a rejected call that there is not."""
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


class AggregatorMetrics:
    """What is counted while it happens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.exchange_bytes = Counter(
            "distilljob_exchange_bytes",
            "Soft-label bytes, up from or down to students.",
            ["direction"],
            registry=registry,
        )
        self.rejected = Counter(
            "distilljob_rejected", "Calls answered with an error, by its name.", ["reason"], registry=registry
        )
        self.upload_seconds = Histogram(
            "distilljob_upload_seconds", "Length of one upload stream.", buckets=_SECONDS, registry=registry
        )
        self.round_wait_seconds = Histogram(
            "distilljob_round_wait_seconds",
            "First durable row of a round to its close.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Let every series be there before its first event: a rate needs a beginning."""
        for direction in ("up", "down"):
            self.exchange_bytes.labels(direction)
        for reason in (*(error.__name__ for error in STATUS_OF), UNKNOWN_METHOD):
            self.rejected.labels(reason)


class RoundTableCollector(Collector):
    """The round table as metrics."""

    def __init__(self, read_table: Callable[[], RoundTable], read_spool_bytes: Callable[[], int]) -> None:
        self._read_table = read_table
        self._read_spool_bytes = read_spool_bytes

    def describe(self) -> Iterator[Metric]:
        """Promise nothing, so that registering does not collect."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the table once and give all of it."""
        table = self._read_table()
        yield from self._job_metrics(table)
        yield from _state_metrics(table.students)
        heard = [student for student in table.students if student.last_heartbeat_timestamp_seconds]
        yield from _progress_metrics(heard)

    def _job_metrics(self, table: RoundTable) -> Iterator[Metric]:
        opened = table.open
        last_closed = table.closes[-1].cycle if table.closes else 0
        yield _gauge("distilljob_cycle", "Open cycle.", opened.cycle if opened else last_closed)
        open_seconds = opened.open_seconds if opened else 0
        yield _gauge("distilljob_cycle_open_seconds", "How long the open round has been open.", open_seconds)
        now = table.clock_timestamp_seconds
        yield _gauge("distilljob_clock_timestamp_seconds", "The clock that all ages are taken against.", now)
        yield _gauge("distilljob_spool_bytes", "Size of uploads on disk.", self._read_spool_bytes())
        gain = GaugeMetricFamily(
            "distilljob_teacher_gain_ratio", "Hold-out accuracy of the last teacher minus that of its best student."
        )
        if (newest := _newest_gain(table.students)) is not None:
            gain.add_metric([], newest)
        yield gain


def _newest_gain(students: list[StudentView]) -> float | None:
    """Read what the student that is furthest says of its teacher; one that was dropped hears of no other."""
    present = [student for student in students if student.phase is not StudentPhase.DROPPED]
    told = [(student.epoch, student.teacher_gain) for student in present if student.teacher_gain is not None]
    return max(told)[1] if told else None


def _state_metrics(students: list[StudentView]) -> Iterator[Metric]:
    states = GaugeMetricFamily("distilljob_students", "Students by phase.", labels=["state"])
    tally = Tally(student.phase for student in students)
    for phase in StudentPhase:
        states.add_metric([phase], tally[phase])
    yield states
    finished = GaugeMetricFamily("distilljob_student_finished", "Has left its terminal record.", labels=["student"])
    for student in students:
        finished.add_metric([student.name], student.summary is not None)
    yield finished


def _progress_metrics(students: list[StudentView]) -> Iterator[Metric]:
    steps = CounterMetricFamily(
        "distilljob_student_steps", "Optimizer steps since the first start.", labels=["student"]
    )
    barrier = CounterMetricFamily(
        "distilljob_student_barrier_seconds", "Time spent waiting for the other students.", labels=["student"]
    )
    info = GaugeMetricFamily(
        "distilljob_student_info", "Newest attempt that joined.", labels=["student", "attempt", "pod_uid"]
    )
    phases = GaugeMetricFamily("distilljob_student_phase", "1 for the present phase.", labels=["student", "phase"])
    accuracy = GaugeMetricFamily(
        "distilljob_student_accuracy_ratio", "At the last epoch that was measured.", labels=["student", "split"]
    )
    for student in students:
        steps.add_metric([student.name], student.step)
        barrier.add_metric([student.name], student.barrier_seconds)
        info.add_metric([student.name, str(student.attempt), student.pod_uid], 1)
        for phase in StudentPhase:
            phases.add_metric([student.name, phase], phase is student.phase)
        for split, value in student.accuracy.items():
            accuracy.add_metric([student.name, split], value)
    yield from (steps, barrier, info, phases, accuracy)
    for name, documentation, read in _STUDENT_GAUGES:
        family = GaugeMetricFamily(name, documentation, labels=["student"])
        for student in students:
            family.add_metric([student.name], read(student))
        yield family


_STUDENT_GAUGES: tuple[tuple[str, str, Callable[[StudentView], float]], ...] = (
    ("distilljob_student_attempt", "Newest attempt that joined.", lambda student: student.attempt),
    ("distilljob_student_cycle", "Cycle it is in.", lambda student: student.cycle),
    ("distilljob_student_epoch", "Finished epochs of all planned ones.", lambda student: student.epoch),
    ("distilljob_student_samples_per_second", "Training speed.", lambda student: student.samples_per_second),
    (
        "distilljob_student_last_heartbeat_timestamp_seconds",
        "Last heartbeat, on the aggregator's clock.",
        lambda student: student.last_heartbeat_timestamp_seconds,
    ),
    (
        "distilljob_student_last_progress_timestamp_seconds",
        "Last progress, on the aggregator's clock.",
        lambda student: student.last_progress_timestamp_seconds,
    ),
)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
