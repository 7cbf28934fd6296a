"""The reference page of what a job's pods show to Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from distilljob_aggregator.metrics import AggregatorMetrics, RoundTableCollector
from distilljob_core.round_table import RoundTable
from distilljob_operator.reference import metrics_table
from distilljob_trainer.metrics import StudentMetrics

_HEAD: Final = """# Metrics of a job's pods

What aggregators and students serve at `/metrics`, port 8471. Prometheus adds `namespace` and `distilljob`, and
`student` to what a student itself serves: see [monitor](../how-to/monitor.md). The operator's metrics are
[on its own page](operator.md#metrics).

## The aggregator

"""
_STUDENT: Final = """
## A student

Trainers of your own, with `command:`, serve what they like.

"""


class _Recorder(CollectorRegistry):
    """Keeps what was registered: a registry tells nobody the names of labels."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self.collectors.append(collector)


def pod_metrics_reference() -> str:
    """Write the page as Markdown."""
    aggregator, student = _Recorder(), _Recorder()
    AggregatorMetrics(aggregator)
    aggregator.register(RoundTableCollector(_empty_table, lambda: 0))
    StudentMetrics(student)
    return _HEAD + metrics_table(aggregator.collectors) + "\n" + _STUDENT + metrics_table(student.collectors) + "\n"


def _empty_table() -> RoundTable:
    return RoundTable(
        job="",
        uid="",
        clock_timestamp_seconds=0.0,
        started_timestamp_seconds=0.0,
        cycles=0,
        open=None,
        closes=[],
        students=[],
        complete=False,
        storage_full=None,
    )
