"""What the student is doing, as heartbeats and results tell it: written by the main thread, read by another."""

import time
from collections.abc import Mapping

from distilljob_core.exchange import Report
from distilljob_core.phases import TRAINING_PHASES, StudentPhase


class Progress:
    """Phase, place, newest numbers, and the seconds spent in every phase.

    Args:
        planned_epochs: of a full run.
        seconds: of earlier attempts, by phase.
        begun_seconds: when this attempt began, on the monotonic clock.
    """

    def __init__(self, planned_epochs: int, seconds: Mapping[str, float], begun_seconds: float) -> None:
        self._phase = StudentPhase.STARTING
        self._entered_seconds = begun_seconds
        self._counter = 0
        self._num_samples = 0
        self._rated = (self._entered_seconds, 0)
        self._planned_epochs = planned_epochs
        self._seconds = dict(seconds)
        self._cycle = 0
        self._epoch = 0.0
        self._step = 0
        self.loss: float | None = None
        self.accuracy: dict[str, float] = {}
        """By split: holdout, test."""
        self.teacher_gain: float | None = None

    @property
    def phase(self) -> StudentPhase:
        """What the student is doing."""
        return self._phase

    def enter(self, phase: StudentPhase) -> None:
        """Begin another phase; a phase change is progress."""
        self.fold()
        self._phase = phase
        self.tick()

    def tick(self) -> None:
        """Count a batch, a durable or fetched row, a published chunk, written bytes or a retry."""
        self._counter += 1

    def place(self, *, cycle: int, epoch: float, step: int) -> None:
        """Say how far the student is; the epoch counts finished shares of all planned ones."""
        self._cycle, self._epoch, self._step = cycle, epoch, step

    def trained(self, num_samples: int) -> None:
        """Count the samples of a training step."""
        self._num_samples += num_samples
        self.tick()

    def fold(self) -> dict[str, float]:
        """Give the seconds by phase up to now."""
        now_seconds = time.monotonic()
        phase = self._phase.value
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now_seconds - self._entered_seconds
        self._entered_seconds = now_seconds
        return dict(self._seconds)

    def report(self) -> Report:
        """Give the next heartbeat; the rate is that since the last one."""
        now_seconds, num_samples = time.monotonic(), self._num_samples
        then_seconds, num_before = self._rated
        self._rated = now_seconds, num_samples
        rate = (num_samples - num_before) / max(now_seconds - then_seconds, 1e-9)
        return Report(
            phase=self._phase,
            cycle=self._cycle,
            epoch=self._epoch,
            planned_epochs=self._planned_epochs,
            step=self._step,
            progress=self._counter,
            samples_per_second=rate if self._phase in TRAINING_PHASES else 0.0,
            loss=self.loss,
            accuracy=self.accuracy,
            teacher_gain=self.teacher_gain,
        )
