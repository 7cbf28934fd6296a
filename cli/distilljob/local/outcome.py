"""What a finished run leaves for its user: result.json with restarts and verdict, metrics.jsonl, a table."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from distilljob.console import err, in_percent, in_time
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob.run_directory.result import LocalResult
from distilljob.verdict import verdict
from distilljob_core.artifacts import RESULT_FILE, metrics_file
from distilljob_core.files import write_atomically
from distilljob_core.results import RunResult, StudentResult


def write_outcome(folder: RunFolder, restarts: Mapping[str, int]) -> LocalResult:
    """Write result.json and metrics.jsonl from what aggregator and students published.

    Args:
        folder: a run whose aggregator has written results/result.json.
        restarts: failed attempts of each student, as only the runner knows them.
    """
    published = RunResult.model_validate_json((folder.results / RESULT_FILE).read_bytes(), extra="ignore")
    students = [student.model_copy(update={"restarts": restarts[student.name]}) for student in published.students]
    counted = published.model_copy(update={"students": students})
    result = LocalResult(**dict(counted), verdict=verdict(counted))
    write_atomically(folder.metrics, _merged_metrics(folder, [student.name for student in students]).encode())
    write_json(folder.result, result.model_dump(mode="json", by_alias=True))
    return result


def _merged_metrics(folder: RunFolder, students: list[str]) -> str:
    """Join the students' metrics, student by student in spec order; each line says whose it is."""
    records: list[dict[str, Any]] = []
    for student in students:
        path = folder.results / metrics_file(student)
        records += [{"student": student} | record for record in _records(path)]
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Read the lines that are whole: a damaged one must not cost the result of a finished run."""
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield record
        else:
            err.print(f"[yellow]warning:[/] {escape(str(path))}:{number} is no metrics record and is left out")


def result_table(result: LocalResult, folder: RunFolder) -> RenderableType:
    """Show accuracies in percent on the test set, the teacher's gain, the verdict and where the weights are."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("student", no_wrap=True)
    table.add_column("model", overflow="fold")
    for title in ("test %", "selected", "hold-out", "NLL", "ECE", "restarts", "barrier"):
        table.add_column(title, justify="right", no_wrap=True)
    for student in result.students:
        table.add_row(*_row(student), style="bold" if student.name == result.best else "")
    if (ensemble := result.ensemble) is not None:
        quality = (in_percent(ensemble.accuracy), "", "", f"{ensemble.nll:.3f}", f"{ensemble.ece:.3f}", "", "")
        table.add_row("ensemble", f"of {len(ensemble.members)}", *quality, style="cyan")
    parts: list[RenderableType] = [table, ""]
    if result.teacher_gain:
        gains = ", ".join(f"{100 * gain:+.2f}" for gain in result.teacher_gain)
        parts += [Text(f"teacher gain by cycle, hold-out points over the best student: {gains}"), ""]
    if not result.exact:
        parts += [Text(f"not exact: {'; '.join(result.inexact_reasons)}", style="yellow"), ""]
    parts += [Text(result.verdict), "", Text(f"done in {in_time(result.seconds)}; weights and results: {folder.root}")]
    return Group(*parts)


def _row(student: StudentResult) -> tuple[str, ...]:
    return (
        student.name,
        escape(student.model),
        in_percent(student.accuracy.last),
        in_percent(student.accuracy.selected),
        in_percent(student.holdout.last),
        f"{student.nll:.3f}",
        f"{student.ece:.3f}",
        str(student.restarts),
        f"{student.barrier_share:.0%}",
    )
