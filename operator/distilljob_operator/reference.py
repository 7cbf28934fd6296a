"""The reference page of the operator, made of what it reads and what it counts."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

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

| metric | type | labels | meaning |
| --- | --- | --- | --- |"""


def operator_reference() -> str:
    """Write the page as Markdown."""
    settings = [
        f"| `{flag(name)}` | `{variable(name)}` | {shown} | {meaning} |"
        for name, meaning, shown in described_settings()
    ]
    metrics = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |"
        for name, kind, labels, text in sorted(_metrics())
    ]
    return "\n".join([_HEAD, *settings, _PAGES, *metrics, ""])


def _metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    counted = [each for each in vars(OperatorMetrics()).values() if isinstance(each, MetricWrapperBase)]
    for each in counted:
        for family in each.describe():
            yield _row(family, each)
    for family in StateCollector(Jobs()).collect():
        yield _row(family, family)


def _row(family: Metric, labeled: object) -> tuple[str, str, tuple[str, ...], str]:
    """Take a metric's description; its names of labels are in no public attribute."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return name, family.type, tuple(getattr(labeled, "_labelnames", ())), family.documentation
