"""From a run directory to a `Run`: what is damaged names itself, lines of another version are left out and counted."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from distilljob.report.run import Run, Student
from distilljob.report.words import printable
from distilljob.run_directory.events import read_events
from distilljob.run_directory.find import find_run, read_snapshot
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.memory import read_memory
from distilljob.run_directory.result import LocalResult, read_result
from distilljob_core.artifacts import METRICS_FILE, metrics_file, network_file
from distilljob_core.lifecycle.model import JobState
from distilljob_core.measurements import Measured, read_measurements, read_merged_measurements
from distilljob_core.spec.resolve import ResolvedStudent, resolve_students


def load_runs(roots: Sequence[Path]) -> list[Run]:
    """Read every run once, in the order given.

    Raises:
        NotFound: a folder is not there, or holds no run.
        BadInput: a file of a run is damaged.
    """
    unique = list({root.resolve(): root for root in roots}.values())
    return [load_run(root, label) for root, label in zip(unique, labels(unique), strict=True)]


def labels(roots: Sequence[Path]) -> list[str]:
    """Name runs by the shortest ends of their paths that tell them apart."""
    parts = [root.resolve().parts for root in roots]
    length = 1
    while len({path[-length:] for path in parts}) < len(parts):
        length += 1
    return [printable("/".join(path[-length:])) for path in parts]


def load_run(root: Path, label: str) -> Run:
    """Read one run; see `load_runs`."""
    folder = find_run(root)
    job = read_snapshot(folder)
    result = _read_result(folder)
    memory = read_memory(folder)
    state = memory.state if memory else None
    events = read_events(folder)
    students = resolve_students(job.spec)
    measured, unread_lines = _read_metrics(folder, [student.name for student in students])
    return Run(
        label=label,
        job=job,
        job_text=_text(folder.job_yaml),
        students=tuple(_student(folder, student, result, state, measured) for student in students),
        result=result,
        state=state,
        settings=memory.settings if memory else {},
        events=tuple(events.known),
        notes=tuple(_notes({folder.metrics.name: unread_lines, folder.events.name: events.num_unreadable})),
    )


def _notes(unread: Mapping[str, int]) -> Iterator[str]:
    for name, count in unread.items():
        if count:
            lines = "1 line is" if count == 1 else f"{count:,} lines are"
            yield f"{name}: {lines} damaged or of another version of distilljob, and left out here"


def _read_metrics(folder: RunFolder, students: Sequence[str]) -> tuple[Mapping[str, Sequence[Measured]], int]:
    """Read what was measured: the run's own file, or before the end whatever each student has by now."""
    if folder.metrics.exists():
        merged = read_merged_measurements(folder.metrics.read_bytes())
        return merged.known, len(merged.unreadable)
    measured, unread = {}, 0
    for student in students:
        own = (folder.results / metrics_file(student), folder.root / "checkpoints" / student / METRICS_FILE)
        path = next((path for path in own if path.exists()), None)
        if path is not None:
            read = read_measurements(path.read_bytes())
            measured[student] = read.known
            unread += len(read.unreadable)
    return measured, unread


def _student(
    folder: RunFolder,
    resolved: ResolvedStudent,
    result: LocalResult | None,
    state: JobState | None,
    measured: Mapping[str, Sequence[Measured]],
) -> Student:
    results = {student.name: student for student in result.students} if result else {}
    return Student(
        name=resolved.name,
        model=resolved.model.name or " ".join(resolved.command),
        seed=resolved.seed,
        measured=tuple(measured.get(resolved.name, ())),
        result=results.get(resolved.name),
        state=state.students.get(resolved.name) if state else None,
        classes=_classes(folder.results / network_file(resolved.name)),
    )


def _classes(path: Path) -> tuple[str, ...]:
    """Read the classes' names from what a student published; numbers do where it has not."""
    try:
        classes = json.loads(_text(path) or "{}").get("classes", [])
    except (ValueError, AttributeError):
        return ()
    return tuple(printable(str(name)) for name in classes) if isinstance(classes, list) else ()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _read_result(folder: RunFolder) -> LocalResult | None:
    try:
        return read_result(folder)
    except FileNotFoundError:
        return None
