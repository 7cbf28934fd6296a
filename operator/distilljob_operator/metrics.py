"""The operator's metrics. Jobs are read from the store at each scrape, so no series outlives its job."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from distilljob_core.lifecycle.model import Cause
from distilljob_operator.job_metrics import Attempts, job_metrics
from distilljob_operator.jobs import JobRecord, Jobs

_NAMESPACE: Final = "distilljob_operator"
_WORK_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_REPLACEMENT_SECONDS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800)
_PHASES: Final = ("Invalid", "Pending", "Starting", "Training", "Suspending", "Suspended", "Complete", "Failed")


class OperatorMetrics:
    """What is counted while it happens."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=registry)
        self.reconcile_seconds = histogram(
            "reconcile_seconds", "One look at one job, with everything that was done about it.", buckets=_WORK_SECONDS
        )
        self.reconciles = counter(
            "reconciles",
            "Looks at jobs: done, put off by an answer of the API server, or failed by a mistake of ours.",
            ["result"],
        )
        self.api_requests = counter(
            "api_requests", "Requests to the API server; code 0 = no answer.", ["verb", "resource", "code"]
        )
        self.api_seconds = histogram(
            "api_request_seconds", "Time until the API server answered.", ["verb"], buckets=_WORK_SECONDS
        )
        self.restarts = counter("restarts", "Attempts of students that were replaced, by cause.", ["reason"])
        self.replacement_seconds = histogram(
            "replacement_seconds",
            "From seeing that an attempt failed to having created the next one, back-off included.",
            buckets=_REPLACEMENT_SECONDS,
        )
        self.progress_errors = counter("progress_errors", "Readings of progress that failed.", ["source"])
        self.events_dropped = counter(
            "events_dropped", "Events that were not posted: too many waited, or the API server's word.", ["reason"]
        )
        self.loop_lag_seconds = Gauge(
            f"{_NAMESPACE}_loop_lag_seconds",
            "Longest time within the last minute that a task of the process was kept waiting.",
            registry=registry,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Let every series whose labels are known be there before its first event: a rate needs a beginning."""
        for cause in Cause:
            self.restarts.labels(cause)
        for result in ("done", "put_off", "failed"):
            self.reconciles.labels(result)
        for source in ("Scrape", "Prometheus"):
            self.progress_errors.labels(source)

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(verb, resource, str(code)).inc()
        self.api_seconds.labels(verb).observe(seconds)


@dataclass(frozen=True, slots=True)
class Readings:
    """Where the rest is read at each scrape."""

    queue_depth: Callable[[], int] = lambda: 0
    watch_ages_seconds: Callable[[], Mapping[str, float]] = dict
    progress_age_seconds: Callable[[], float | None] = lambda: None
    is_leading: Callable[[], bool] = lambda: False
    running_attempts: Callable[[JobRecord], Attempts] = lambda _: ()


@dataclass(frozen=True, slots=True)
class StateCollector(Collector):
    """Jobs, queue and watches as they are now."""

    jobs: Jobs
    readings: Readings = field(default_factory=Readings)

    def describe(self) -> Iterator[Metric]:
        """Promise nothing, so that registering does not collect."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        yield from self._jobs()
        depth = self.readings.queue_depth()
        yield GaugeMetricFamily("distilljob_operator_queue_depth", "Jobs that wait for a worker.", value=depth)
        leading = self.readings.is_leading()
        yield GaugeMetricFamily("distilljob_operator_leading", "1 while this process holds the Lease.", value=leading)
        ages = GaugeMetricFamily(
            "distilljob_operator_watch_age_seconds",
            "Time since the watch of that kind last gave a sign of life.",
            labels=["kind"],
        )
        for kind, seconds in self.readings.watch_ages_seconds().items():
            ages.add_metric([kind], seconds)
        yield ages
        staleness = GaugeMetricFamily(
            "distilljob_operator_progress_age_seconds",
            "Age of the samples of progress, of the job whose samples are oldest.",
        )
        if (age := self.readings.progress_age_seconds()) is not None:
            staleness.add_metric([], age)
        yield staleness

    def _jobs(self) -> Iterator[Metric]:
        phases = GaugeMetricFamily("distilljob_operator_jobs", "DistillJobs by phase.", labels=["phase"])
        tally: Tally[str] = Tally()
        for record in self.jobs:
            tally[record.body.get("status", {}).get("phase", "Pending")] += 1
        for phase in _PHASES:
            phases.add_metric([phase], tally[phase])
        yield phases
        yield from job_metrics(self.jobs, self.readings.running_attempts)
