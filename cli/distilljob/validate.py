"""`distilljob validate`: is the file right, and what will the job cost?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from distilljob import console
from distilljob.errors import BadInput, CommandError, MissingPart
from distilljob.estimate import DataShape, Estimate, estimate
from distilljob.job_file import read_job
from distilljob_core.errors import DataError, FactoryError
from distilljob_core.spec.base import Problem
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
        console.print_json({"valid": False, "error": str(error), "problems": problems})
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
    """Read the dataset, build the networks without their weights, and work out the costs.

    Raises:
        MissingPart: the trainer's libraries are not installed.
        BadInput: the dataset or a network cannot be made.
    """
    try:
        import torch

        from distilljob_trainer import data, models
    except ModuleNotFoundError as error:
        raise MissingPart(f"--estimate needs {error.name}: pip install 'distilljob\\[trainer]'") from None
    wanted, students = job.spec.dataset, resolve_students(job.spec)
    try:
        loaded = data.load(
            wanted.name,
            wanted.options,
            data_root,
            augmentation="Disabled",
            holdout_fraction=wanted.holdout.fraction,
            holdout_maximum=wanted.holdout.maximum_samples,
            seed=job.spec.training.seed,
        )
    except (DataError, FactoryError) as error:
        raise BadInput("no estimate", [Problem("spec.dataset", str(error), "give its folder with --data")]) from None
    fit = len(loaded.fit_ids_N)
    shape = DataShape(loaded.train.num_samples, fit, loaded.test.num_samples, len(loaded.class_names))
    parameters: dict[str, int] = {}
    problems = []
    with torch.device("meta"):
        for student in students:
            try:
                network = models.build(student.model.name, num_classes=shape.classes, **student.model.options)
            except FactoryError as error:
                problems.append(Problem(f"student {student.name}", str(error)))
                continue
            parameters[student.name] = sum(tensor.numel() for tensor in network.state_dict().values())
    if problems:
        raise BadInput("no estimate", problems)
    steps = {student.name: data.num_batches(fit, student.training.batch_size) for student in students}
    return estimate(job.spec, shape, parameters, steps)


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
