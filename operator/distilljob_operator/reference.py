"""The reference page of the operator, made of what it reads and what it counts."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from distilljob_operator.jobs import Jobs
from distilljob_operator.metrics import OperatorMetrics, StateCollector
from distilljob_operator.settings import described_settings, flag, variable

_HEAD: Final = """# The operator

`distilljob-operator run` serves a cluster until it is told to stop; `distilljob-operator version` prints the version.
Exit codes: 0 stopped as asked, 1 failed (the last line of the log says why), 2 wrong settings.

## Settings

A flag wins over its variable. What may be repeated is separated by commas in a variable.

| flag | variable | default | meaning |
| --- | --- | --- | --- |"""
_PAGES: Final = """
## Pages

| page | answer |
| --- | --- |
| `/livez` | 200, or 503 with the reasons: a watch is dead, or the process was held up |
| `/readyz` | 200 once all children were listed and the Lease is held |
| `/metrics` | the metrics below |

## Metrics

"""
_TABLE_HEAD: Final = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |"


def operator_reference() -> str:
    """Write the page as Markdown."""
    settings = [
        f"| `{flag(name)}` | `{variable(name)}` | {shown} | {meaning} |"
        for name, meaning, shown in described_settings()
    ]
    counted = [each for each in vars(OperatorMetrics()).values() if isinstance(each, MetricWrapperBase)]
    return "\n".join([_HEAD, *settings, _PAGES + metrics_table([*counted, StateCollector(Jobs())]), ""])


def metrics_table(collectors: Iterable[Collector]) -> str:
    """Lay out what collectors show, by name."""
    rows = sorted(row for each in collectors for row in _rows(each))
    lines = [f"| `{name}` | {kind} | {labels} | {meaning} |" for name, kind, labels, meaning in rows]
    return "\n".join([_TABLE_HEAD, *lines])


def _rows(collector: Collector) -> Iterator[tuple[str, str, str, str]]:
    """Describe its metrics; names of labels are in no public attribute."""
    for family in collector.describe() if isinstance(collector, MetricWrapperBase) else collector.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = getattr(family, "_labelnames", getattr(collector, "_labelnames", ()))
        yield name, family.type, ", ".join(f"`{label}`" for label in labels), family.documentation
