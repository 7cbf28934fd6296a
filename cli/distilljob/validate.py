"""`distilljob validate`: is the file right, and what will the job cost?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from distilljob import console
from distilljob.errors import CommandError, MissingPart
from distilljob.estimate import Estimate, estimate
from distilljob.job_file import read_job
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import planned_epochs, resolve_students


def run_validate(file: Path, settings: Sequence[str], *, with_estimate: bool, data: Path, as_json: bool) -> int:
    """Check one file and print the outcome; the exit code."""
    try:
        job = read_job(file, settings).job
        costs = estimate_job(job, data) if with_estimate else None
    except CommandError as error:
        if not as_json:
            raise
        problems = [asdict(problem) for problem in error.problems]
        console.print_json({"valid": False, "error": error.title, "problems": problems})
        return error.exit_code
    if as_json:
        console.print_json({"valid": True, "name": job.metadata.name, "estimate": costs and asdict(costs)})
        return 0
    method, students = job.spec.method, resolve_students(job.spec)
    console.out.print(
        f"[green]valid:[/] {job.metadata.name}, {len(students)} {'student' if len(students) == 1 else 'students'}, "
        f"{method.name}, {method.cycles} {'cycle' if method.cycles == 1 else 'cycles'}, {planned_epochs(method)} epochs"
    )
    if costs is not None:
        print_estimate(costs)
    return 0


def estimate_job(job: DistillJob, data_root: Path) -> Estimate:
    """Work out the costs of a job from its real dataset and networks.

    Raises:
        MissingPart: the trainer's libraries are not installed.
        BadInput: the dataset or a network cannot be made.
    """
    try:
        from distilljob.measure import measure
    except ModuleNotFoundError as error:
        raise MissingPart(f"--estimate needs {error.name}: pip install 'distilljob[trainer]'") from None
    shape, sizes = measure(job, data_root)
    return estimate(job.spec, shape, sizes)


def print_estimate(costs: Estimate) -> None:
    """Print the costs as two tables."""
    students = Table("student", "model", box=None, pad_edge=False, header_style="bold")
    for title in ("parameters", "steps/cycle", "steps", "checkpoints"):
        students.add_column(title, justify="right")
    for student in costs.students:
        students.add_row(
            student.name,
            student.model,
            f"{student.parameters:,}",
            f"{student.steps_per_cycle:,}",
            f"{student.steps:,}",
            console.in_bytes(student.checkpoint_bytes),
        )
    totals = Table(box=None, pad_edge=False, show_header=False)
    for title, amount in (
        ("one student's soft labels", costs.upload_bytes),
        ("exchanged in a cycle", costs.cycle_bytes),
        ("exchanged in all", costs.total_bytes),
        ("aggregator memory for labels", costs.aggregator_memory_bytes),
        ("aggregator.storage, at most", costs.state_storage_bytes),
        ("checkpoints.storage, all students", costs.checkpoint_storage_bytes),
        ("results.storage", costs.results_storage_bytes),
    ):
        totals.add_row(title, f"[bold]{console.in_bytes(amount)}[/]")
    console.out.print()
    console.out.print(students)
    console.out.print()
    console.out.print(totals)
