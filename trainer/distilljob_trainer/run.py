"""One attempt at a student's run: answers the algorithm's events with tests, checkpoints and the exchange."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import structlog
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from distilljob_core.exchange import SPLIT_NAMES, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_trainer import algorithm, labels
from distilljob_trainer.algorithm import EpochDone, Event, ExchangeDue, Lesson, StageDone, StepDone
from distilljob_trainer.checkpoint import Groups, State
from distilljob_trainer.cursor import Stage
from distilljob_trainer.data.split import Inputs, num_batches
from distilljob_trainer.evaluate import Block, predict, score
from distilljob_trainer.notes import Notes, Task, check_finite, copied, tensors_of
from distilljob_trainer.selection import EpochAccuracy
from distilljob_trainer.surroundings import Surroundings

SAMPLED_STEPS: Final = 50
"""Every so many steps the losses are read, which makes a GPU wait."""
ROUNDING: Final = 1e-3
"""By how much equation 7 may fail, in nats: soft labels are rounded when they travel."""

EXCHANGE_STEPS: Final = (
    StudentPhase.LABELING,
    StudentPhase.UPLOADING,
    StudentPhase.WAITING,
    StudentPhase.FETCHING,
)

log = structlog.get_logger()


class Run:
    """Trains one student to the end of its last cycle."""

    def __init__(self, task: Task, student: algorithm.Student, notes: Notes, around: Surroundings) -> None:
        self.task = task
        self.student = student
        self.notes = notes
        self.around = around
        self._steps_per_epoch = num_batches(len(task.data.fit_ids_N), task.hp.batch_size)
        self._reads_every_step = student.sums.device.type == "cpu"
        self._event_seconds = self._saved_seconds = time.monotonic()

    def train(self) -> None:
        """Iterate the algorithm from wherever the student stands.

        Raises:
            Left: somebody wishes to leave; the student can be saved as it is.
            Diverged: the loss is not finite.
        """
        events = algorithm.train(
            self.student, self.task.data.fit_ids_N, self._make_batch, self.task.hp, self._present_lesson()
        )
        self._enter_training()
        answer: Lesson | None = None
        while (event := _next(events, answer)) is not None:
            answer = self._answer(event)

    def save(self) -> None:
        """Write a checkpoint, unless the loss is not finite."""
        self._check_finite(self.student.sums, "at or before")
        phase, begun_seconds = self.around.progress.phase, time.monotonic()
        self.around.progress.enter(StudentPhase.CHECKPOINTING)
        self.notes.saves += 1
        num_bytes = self.around.checkpoints.save(*self._contents())
        self.around.progress.enter(phase)
        self._saved_seconds = time.monotonic()
        self.around.metrics.saved(self._saved_seconds - begun_seconds)
        cursor = self.student.cursor
        log.info("checkpoint", stage=cursor.stage.value, step=cursor.steps, bytes=num_bytes)

    def watch(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Count progress in a pass over samples, and leave it when somebody wishes so."""
        for block in blocks:
            self.around.leaving.check()
            self.around.progress.tick()
            yield block

    def exchange(self, key: RoundKey) -> Lesson:
        """Bring soft labels to a round and wait for what it teaches."""
        progress, data, model, rules = self.around.progress, self.task.data, self.student.answering, self.task.rules
        before = progress.fold()
        progress.enter(StudentPhase.LABELING)
        numerics = {**self.notes.numerics.environment(), "differing": self.notes.inexact_reasons}
        digest = labels.source_digest(model, numerics)
        offer = labels.make_offer(model, data, rules, key, digest, self.watch)
        self._check_finite(torch.tensor(offer.cross_entropy), "at or before")
        source = labels.label_source(model, data, rules, key.split, self._watch_labels)
        with self.interruptible():
            progress.enter(StudentPhase.UPLOADING)
            self.around.teacher.offer(offer, source)
            lesson = self.around.teacher.lesson(key)
        seconds = {phase: spent - before.get(phase, 0.0) for phase, spent in progress.fold().items()}
        spent = {phase.value: round(seconds.get(phase, 0.0), 3) for phase in EXCHANGE_STEPS}
        self.note("exchange", cycle=key.cycle, split=SPLIT_NAMES[key.split], seconds=spent)
        return lesson

    def _contents(self) -> tuple[State, Groups]:
        self.notes.journal_bytes = self.around.journal.sync()
        self.notes.seconds = self.around.progress.fold()
        return self.notes.state(self.task, self.student), tensors_of(self.student, self.notes)

    def _answer(self, event: Event) -> Lesson | None:
        match event:
            case StepDone():
                self._after_step(event)
            case EpochDone():
                self._test()
            case ExchangeDue():
                return self._learn_from_round()
            case StageDone():
                self._begin_stage()
        self._event_seconds = time.monotonic()
        return None

    def _after_step(self, done: StepDone) -> None:
        progress, cursor = self.around.progress, self.student.cursor
        self.around.metrics.step.observe(time.monotonic() - self._event_seconds)
        progress.trained(done.num_samples)
        self._place()
        if self._reads_every_step:
            self._check_finite(done.loss, "at")
        if cursor.steps % SAMPLED_STEPS == 0:
            self._check_finite(self.student.sums, "at or before")
            progress.loss = done.loss.item()
            self.around.metrics.sample(done, self._gradient_norm(done))
        self.around.leaving.check()
        if time.monotonic() - self._saved_seconds >= self.task.checkpoint_interval_seconds:
            self.save()

    def _test(self) -> None:
        """Test, and remember; the test set is looked at, but selects nothing."""
        progress, data, cursor = self.around.progress, self.task.data, self.student.cursor
        self._check_finite(self.student.sums, "at or before")
        progress.enter(StudentPhase.EVALUATING)
        holdout = score(self.watch(predict(self.student.answering, data.train, data.holdout_ids_N)))
        test = score(self.watch(predict(self.student.answering, data.test, torch.arange(data.test.num_samples))))
        accuracy = EpochAccuracy(holdout.accuracy, test.accuracy)
        epoch = cursor.epochs + 1
        self.notes.selection = self.notes.selection.after(epoch, accuracy)
        if self.notes.selection.selected_epoch == epoch:
            self.notes.selected_weights = copied(self.student.answering.state_dict())
        loss, label, distill, num_samples = self.student.sums.tolist()
        progress.loss = loss / num_samples
        progress.accuracy = {"holdout": holdout.accuracy, "test": test.accuracy}
        self.note(
            "epoch",
            cycle=cursor.cycle,
            stage=cursor.stage.value,
            epoch=epoch,
            step=cursor.steps,
            loss=progress.loss,
            cross_entropy=label / num_samples,
            divergence=distill / num_samples,
            holdout_accuracy=holdout.accuracy,
            test_accuracy=test.accuracy,
            test_cross_entropy=test.cross_entropy,
        )
        self._enter_training()

    def _learn_from_round(self) -> Lesson:
        cursor = self.student.cursor
        lesson = self.exchange(RoundKey(cursor.cycle))
        outcome = labels.outcome(self.student.name, lesson.record, lesson.p_NK, self.task.data)
        self.notes.cycles += (outcome,)
        self.notes.closed_seen = cursor.cycle
        self.around.progress.teacher_gain = outcome.teacher_gain
        self.note("cycle", **outcome.model_dump(), missing=list(lesson.record.missing), last=lesson.record.last)
        if outcome.teacher_cross_entropy > outcome.mean_cross_entropy + ROUNDING:
            log.warning("equation 7 does not hold: the teacher is worse than the mean of its students")
        return lesson

    def _begin_stage(self) -> None:
        cursor, selection = self.student.cursor, self.notes.selection
        if cursor.stage is Stage.EXCHANGE and selection.last and cursor.stage_epochs(self.task.hp.plan):
            self.notes.selection = replace(selection, independent=selection.last.test)
        self._place()
        self._enter_training()
        self.save()

    def _present_lesson(self) -> Lesson | None:
        """Give the lesson of a distillation phase that was left in its middle."""
        cursor = self.student.cursor
        if cursor.stage is not Stage.DISTILL or not self.task.hp.plan.exchanges:
            return None
        with self.interruptible():
            return self.around.teacher.lesson(RoundKey(cursor.cycle))

    def _make_batch(self, ids_B: Tensor, **counters: int) -> tuple[Inputs, Tensor]:
        with self.around.metrics.data_wait.time():
            return self.task.data.training_batch(ids_B, **counters)

    def _watch_labels(self, blocks: Iterator[Block]) -> Iterator[Block]:
        self.around.progress.enter(StudentPhase.LABELING)
        yield from self.watch(blocks)
        self.around.progress.enter(StudentPhase.UPLOADING)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Leave as wished when the wish has ended a call to the aggregator."""
        try:
            yield
        except Exception:
            self.around.leaving.check()
            raise

    def _enter_training(self) -> None:
        distills = self.student.cursor.stage is Stage.DISTILL and self.task.hp.plan.exchanges
        self.around.progress.enter(StudentPhase.DISTILLING if distills else StudentPhase.INDEPENDENT)

    def _place(self) -> None:
        cursor = self.student.cursor
        epoch = cursor.epochs + cursor.step / self._steps_per_epoch
        self.around.progress.place(cycle=cursor.cycle, epoch=epoch, step=cursor.steps)

    def _gradient_norm(self, done: StepDone) -> float:
        gradients = [p.grad for p in self.student.model.parameters() if p.grad is not None]
        norm = get_total_norm(gradients) if done.gradient_norm is None else done.gradient_norm
        return norm.item()

    def _check_finite(self, losses: Tensor, when: str) -> None:
        check_finite(losses, self.student, self.task.hp.learning_rate.base, when)

    def note(self, kind: str, **values: Any) -> None:
        """Write one line into metrics.jsonl and into the log."""
        self.around.journal.write(kind, **values)
        log.info(kind, **values)


def _next(events: Generator[Event, Lesson | None, None], answer: Lesson | None) -> Event | None:
    try:
        return events.send(answer)
    except StopIteration:
        return None
