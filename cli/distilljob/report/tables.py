"""The tables of the page: results, restarts, environment."""

from collections.abc import Iterable, Sequence
from typing import Final

from distilljob.console import in_bytes
from distilljob.report.picture import Table
from distilljob.report.run import Run, Student
from distilljob.report.words import listed, percent, points, seconds
from distilljob.run_directory.events import RunEvent, RunReason
from distilljob_core.measurements import EpochMeasured
from distilljob_core.results import EnsembleOutcome, StudentResult

_RESULTS: Final = (
    "student",
    "test, last",
    "test, selected",
    "test, optimistic",
    "test, after T_in",
    "hold-out",
    "NLL, nats",
    "ECE, points",
    "disagrees with ensemble",
    "restarts",
    "barrier share",
    "exact",
    "model",
    "parameters",
)


def results(runs: Sequence[Run]) -> Table:
    """List students and ensembles; with several runs each row names its own."""
    columns = _RESULTS if len(runs) == 1 else (_RESULTS[0], "run", *_RESULTS[1:])
    rows = []
    for run in runs:
        for row in _result_rows(run):
            rows.append(row if len(runs) == 1 else (row[0], run.label, *row[1:]))
    return Table.of(columns, rows)


def _result_rows(run: Run) -> Iterable[tuple[str, ...]]:
    for student in run.students:
        best = " ★" if run.result and run.result.best == student.name else ""
        cells = _finished(student.result) if student.result else _unfinished(student)
        yield (f"{student.name}{best}", *cells[1:], student.model, cells[0])
    if run.result and run.result.ensemble:
        yield _ensemble_row(run.result.ensemble)


def _finished(result: StudentResult) -> tuple[str, ...]:
    return (
        f"{result.num_parameters:,}",
        percent(result.accuracy.last),
        percent(result.accuracy.selected),
        percent(result.accuracy.optimistic),
        percent(result.accuracy.independent),
        percent(result.holdout.last),
        f"{result.nll:.3f}",
        f"{100 * result.ece:.2f}",
        percent(result.ensemble.disagreement if result.ensemble else None),
        str(result.restarts),
        f"{result.barrier_share:.1%}".replace("%", " %"),
        "yes" if result.exact else "no",
    )


def _unfinished(student: Student) -> tuple[str, ...]:
    """Give what is known before the end."""
    epochs = student.of(EpochMeasured)[-1:]
    test, holdout, nll = (
        (f"{percent(epochs[0].test_accuracy)} (epoch {epochs[0].epoch})", percent(epochs[0].holdout_accuracy),
         f"{epochs[0].test_cross_entropy:.3f}") if epochs else ("–", "–", "–")
    )  # fmt: skip
    restarts = str(student.state.restarts.total) if student.state else "–"
    return ("–", test, "–", "–", "–", holdout, nll, "–", "–", restarts, "–", "–")


def _ensemble_row(ensemble: EnsembleOutcome) -> tuple[str, ...]:
    dashes = ("–",) * 4
    quality = (f"{ensemble.nll:.3f}", f"{100 * ensemble.ece:.2f}")
    return ("ensemble", percent(ensemble.accuracy), *dashes, *quality, *dashes, f"of {len(ensemble.members)}", "–")


def headline(runs: Sequence[Run]) -> Table:
    """Put the runs side by side: one row each."""
    columns = (
        "run", "method", "seed", "students", "best student, test", "mean of students, test", "ensemble, test",
        "last teacher gain, points", "restarts", "time", "exact",
    )  # fmt: skip
    return Table.of(columns, [_headline_row(run) for run in runs])


def _headline_row(run: Run) -> tuple[str, ...]:
    spec, result = run.job.spec, run.result
    head = (run.label, spec.method.name, str(spec.training.seed), str(len(run.students)))
    if result is None:
        return (*head, *("–",) * 6, "not finished")
    best = next(student for student in result.students if student.name == result.best)
    mean = sum(student.accuracy.last for student in result.students) / len(result.students)
    return (
        *head,
        f"{percent(best.accuracy.last)} ({best.name})",
        percent(mean),
        percent(result.ensemble.accuracy if result.ensemble else None),
        points(result.teacher_gain[-1]) if result.teacher_gain else "–",
        str(sum(student.restarts for student in result.students)),
        seconds(result.seconds),
        "yes" if result.exact else "no",
    )


def restarts(run: Run) -> Table:
    """List attempts and what replaced ones ended of, as the runner remembers it."""
    columns = ("student", "attempts", "crash", "hang", "early exit", "node lost", "deleted", "last end on record")
    rows = []
    for student in run.students:
        if (state := student.state) is None:
            continue
        told = state.restarts
        counts = (told.crash, told.hang, told.early, told.node, told.deleted)
        rows.append((student.name, str(state.attempt), *map(str, counts), _last_end(student)))
    return Table.of(columns, rows)


def _last_end(student: Student) -> str:
    end = student.state.last_termination if student.state else None
    if end is None:
        return "–"
    code = "" if end.exit_code is None else f"exit {end.exit_code}"
    return f"attempt {end.attempt}: " + (", ".join(filter(None, (code, end.reason, end.message))) or "ended")


def environment(runs: Sequence[Run]) -> Table:
    """List what each run computed with; students that differ are told apart."""
    facts = [_facts(run) for run in runs]
    names = dict.fromkeys(name for one in facts for name in one)
    columns = ("", *(run.label for run in runs))
    return Table.of(columns, [(name, *(one.get(name, "–") for one in facts)) for name in names])


def _facts(run: Run) -> dict[str, str]:
    environments = {student.name: student.result.environment for student in run.students if student.result}
    facts = {}
    for key in dict.fromkeys(key for one in environments.values() for key in one):
        facts[key.replace("_", " ")] = _by_student({name: str(one.get(key, "–")) for name, one in environments.items()})
    if "threads" not in facts and "threads" in run.settings:
        facts["threads"] = str(run.settings["threads"])
    if "device" not in facts and "device" in run.settings:
        facts["device, asked for"] = str(run.settings["device"])
    if versions := dict.fromkeys(_version(event) for event in run.events if event.reason == RunReason.RUNNER_STARTED):
        facts["distilljob"] = ", ".join(versions)
    if run.result:
        amounts = [f"{in_bytes(amount)} {direction}" for direction, amount in run.result.exchanged_bytes.items()]
        facts["soft labels exchanged"] = ", ".join(amounts)
    facts["seed"] = str(run.job.spec.training.seed)
    facts["seeds of students"] = ", ".join(f"{student.name} {student.seed}" for student in run.students[:16])
    return {name: value or "none" for name, value in facts.items()}


def _version(event: RunEvent) -> str:
    return event.message.rpartition("distilljob ")[2]


def _by_student(values: dict[str, str]) -> str:
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return "; ".join(f"{value} ({listed(names)})" for value, names in groups.items())
