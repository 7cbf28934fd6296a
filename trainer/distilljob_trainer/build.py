"""From the resource to one student's task, network and optimizer."""

from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distilljob_core.errors import FactoryError
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.resolve import ResolvedStudent, planned_epochs
from distilljob_core.spec.training import Optimizer
from distilljob_trainer import data, models, numerics, threads
from distilljob_trainer.algorithm import Hyperparameters, Student
from distilljob_trainer.cursor import Plan
from distilljob_trainer.data.counters import Stream, seed_generators, stream_key
from distilljob_trainer.data.split import Data
from distilljob_trainer.labels import Exchange
from distilljob_trainer.schedule import LearningRate


def load_data(spec: DistillJobSpec, student: ResolvedStudent, root: Path) -> Data:
    """Read the dataset; the hold-out is the same for every student, so the group's seed chooses it."""
    workers = student.training.data_loader_workers
    return data.load(
        spec.dataset.name,
        spec.dataset.options,
        root,
        download=spec.dataset.download,
        augmentation=student.training.augmentation,
        holdout_fraction=spec.dataset.holdout.fraction,
        holdout_maximum=spec.dataset.holdout.maximum_samples,
        seed=spec.training.seed,
        num_workers=threads.num_threads() if workers is None else workers,
    )


def exchange_rules(spec: DistillJobSpec) -> Exchange:
    """Give the rules of the group."""
    method = spec.method
    return Exchange(method.temperature, method.soft_labels.codec, method.teacher.weights == "Uniform")


def hyperparameters(spec: DistillJobSpec, student: ResolvedStudent) -> Hyperparameters:
    """Give one student's hyper-parameters, milestones worked out in absolute epochs."""
    training, method = student.training, spec.method
    rate = LearningRate.plan(
        training.schedule, base=training.optimizer.learning_rate, planned_epochs=planned_epochs(method)
    )
    return Hyperparameters(
        plan=Plan.of(method),
        batch_size=training.batch_size,
        learning_rate=rate,
        temperature=method.temperature,
        ramp=method.ramp,
        kl=method.kl,
        label_smoothing=training.label_smoothing,
        clip_norm=training.clip_norm,
    )


def build_student(
    student: ResolvedStudent, samples: Data, device: torch.device, precision: numerics.Precision
) -> Student:
    """Draw a network's first weights from its seed, and check that it answers as a student must.

    Raises:
        FactoryError: the model cannot be made, or does not fit the data.
    """
    seed_generators(stream_key(Stream.WEIGHTS, student.seed))
    model = models.build(student.model.name, num_classes=samples.num_classes, **student.model.options).to(device)
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    batch, _ = samples.train.batch(torch.arange(min(2, samples.train.num_samples)))
    models.check_output(model, batch, samples.num_classes, name=student.model.name)
    return Student(
        name=student.name,
        seed=student.seed,
        model=model,
        optimizer=make_optimizer(model, student.training.optimizer, fused=device.type == "cuda"),
        autocast=numerics.autocast(device, precision),
        sums=torch.zeros(4, dtype=torch.float64, device=device),
        average=make_average(model, student.training.ema_decay, name=student.model.name),
    )


def make_average(model: nn.Module, decay: float | None, *, name: str) -> AveragedModel | None:
    """Make the moving average of a network's weights; None without a decay.

    Raises:
        FactoryError: the network cannot be copied.
    """
    if decay is None:
        return None
    try:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    except Exception as error:  # a user's network may raise anything here
        raise FactoryError(
            f"model {name!r}: training.emaDecay needs a copy of the network, but copy.deepcopy raised "
            f"{type(error).__name__}: {error}"
        ) from error


def make_optimizer(model: nn.Module, settings: Optimizer, *, fused: bool) -> torch.optim.Optimizer:
    """Make the step rule; the schedule sets its learning rate before every step."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.kind == "AdamW":
        return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(
        model.parameters(),
        lr=rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=decay,
        fused=fused,
    )
