"""What a student shows to Prometheus of itself; what the group needs to know of it, the aggregator shows."""

import time

import torch
from prometheus_client import CollectorRegistry, Gauge, Histogram

from distilljob_trainer.algorithm import StepDone

_STEP_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_CHECKPOINT_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class StudentMetrics:
    """Losses, learning rate, gradient norm and where the time goes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loss = Gauge("distilljob_trainer_loss", "Of a recent step, by term.", ["term"], registry=registry)
        self.learning_rate = Gauge("distilljob_trainer_learning_rate", "Of a recent step.", registry=registry)
        self.gradient_norm = Gauge(
            "distilljob_trainer_gradient_norm", "Of a recent step, before clipping.", registry=registry
        )
        self.step = Histogram(
            "distilljob_trainer_step", "One training step.", unit="seconds", buckets=_STEP_BUCKETS, registry=registry
        )
        self.data_wait = Histogram(
            "distilljob_trainer_data_wait",
            "Making or waiting for one batch; part of the step.",
            unit="seconds",
            buckets=_STEP_BUCKETS,
            registry=registry,
        )
        self.checkpoint = Histogram(
            "distilljob_trainer_checkpoint",
            "Writing one checkpoint.",
            unit="seconds",
            buckets=_CHECKPOINT_BUCKETS,
            registry=registry,
        )
        self._saved_seconds = time.monotonic()
        age = Gauge(
            "distilljob_trainer_checkpoint_age", "Since the newest checkpoint.", unit="seconds", registry=registry
        )
        age.set_function(lambda: time.monotonic() - self._saved_seconds)
        memory = Gauge("distilljob_trainer_gpu_memory", "Allocated by torch.", unit="bytes", registry=registry)
        memory.set_function(lambda: torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0)

    def saved(self, seconds: float) -> None:
        """Take a written checkpoint in."""
        self.checkpoint.observe(seconds)
        self._saved_seconds = time.monotonic()

    def sample(self, done: StepDone, gradient_norm: float) -> None:
        """Show one step; reading its tensors waits for the GPU."""
        self.loss.labels("total").set(done.loss.item())
        self.loss.labels("label").set(done.label.item())
        self.loss.labels("distill").set(0.0 if done.distill is None else done.distill.item())
        self.learning_rate.set(done.learning_rate)
        self.gradient_norm.set(gradient_norm)
