"""Reads a job's dataset and builds its networks without their weights. Imports torch: import it where it is used."""

from pathlib import Path

import torch

from distilljob.errors import BadInput
from distilljob.estimate import DataShape, StudentSize
from distilljob_core.errors import DataError, FactoryError
from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import resolve_students
from distilljob_trainer import data, models


def measure(job: DistillJob, data_root: Path) -> tuple[DataShape, dict[str, StudentSize]]:
    """Size up the dataset and every student.

    Raises:
        BadInput: the dataset or a network cannot be made; all of them at once.
    """
    shape = _shape(job, data_root)
    sizes, problems = {}, []
    with torch.device("meta"):
        for student in resolve_students(job.spec):
            try:
                network = models.build(student.model.name, num_classes=shape.classes, **student.model.options)
            except FactoryError as error:
                problems.append(Problem(f"model of student {student.name}", str(error)))
                continue
            parameters = sum(tensor.numel() for tensor in network.parameters())
            kept = network.state_dict()
            sizes[student.name] = StudentSize(
                parameters=parameters,
                buffers=sum(tensor.numel() for tensor in kept.values()) - parameters,
                tensors=len(kept),
                epoch_steps=data.num_batches(shape.fit_samples, student.training.batch_size),
            )
    if problems:
        raise BadInput("no estimate", problems)
    return shape, sizes


def _shape(job: DistillJob, data_root: Path) -> DataShape:
    wanted = job.spec.dataset
    try:
        loaded = data.load(
            wanted.name,
            wanted.options,
            data_root,
            download="Never",
            augmentation="Disabled",
            holdout_fraction=wanted.holdout.fraction,
            holdout_maximum=wanted.holdout.maximum_samples,
            seed=job.spec.training.seed,
            num_workers=0,
        )
    except DataError as error:
        raise BadInput("no estimate", [Problem("spec.dataset", str(error), "name its folder with --data")]) from None
    except FactoryError as error:
        raise BadInput("no estimate", [Problem("spec.dataset", str(error))]) from None
    samples = (loaded.train.num_samples, len(loaded.fit_ids_N), loaded.test.num_samples)
    return DataShape(*samples, classes=len(loaded.class_names))
