"""One attempt at a student's run: answers the algorithm's events with tests, checkpoints and the exchange."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import structlog
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from distilljob_core.exchange import SPLIT_NAMES, RoundKey
from distilljob_core.measurements import CycleMeasured, EpochMeasured, ExchangeMeasured, Measurement
from distilljob_core.phases import StudentPhase
from distilljob_core.results import CycleOutcome
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
            self.student, self.task.data.fit_ids_N, self._make_batches, self.task.hp, self._present_lesson()
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
        with self.interruptible():
            for block in blocks:
                self.around.leaving.check()
                self.around.progress.tick()
                yield block

    def predict_holdout(self) -> list[Block]:
        """Predict the hold-out for a round."""
        self.around.progress.enter(StudentPhase.LABELING)
        data = self.task.data
        return list(self.watch(predict(self.student.answering, data.train, data.holdout_ids_N)))

    def exchange(self, key: RoundKey, holdout: Sequence[Block], judged: Sequence[Block]) -> Lesson:
        """Bring soft labels to a round and wait for what it teaches.

        Args:
            key: the round.
            holdout: this student's predictions of the hold-out.
            judged: predictions that the cross-entropy told with the labels is of.
        """
        progress, data, model, rules = self.around.progress, self.task.data, self.student.answering, self.task.rules
        numerics = {**self.notes.numerics.environment(), "differing": self.notes.inexact_reasons}
        digest = labels.source_digest(model, numerics)
        offer = labels.make_offer(holdout, judged, rules, key, digest)
        self._check_finite(torch.tensor(offer.cross_entropy), "at or before")
        source = labels.label_source(model, data, rules, key.split, self._watch_labels)
        with self.interruptible():
            progress.enter(StudentPhase.UPLOADING)
            self.around.teacher.offer(offer, source)
            lesson = self.around.teacher.lesson(key)
        self._note_exchange(key)
        return lesson

    def note(self, measurement: Measurement) -> None:
        """Write one line into metrics.jsonl and into the log."""
        self.around.journal.write(measurement)
        log.info(measurement.kind, **measurement.model_dump(exclude={"kind", "timestamp_seconds"}))

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
        self._check_finite(torch.tensor((holdout.cross_entropy, test.cross_entropy)), "at or before")
        accuracy = EpochAccuracy(holdout.accuracy, test.accuracy)
        epoch = cursor.epochs + 1
        self.notes.selection = self.notes.selection.after(epoch, accuracy)
        if self.notes.selection.selected_epoch == epoch:
            self.notes.selected_weights = copied(self.student.answering.state_dict())
        measured = self._epoch_measured(epoch, accuracy, test.cross_entropy)
        progress.loss = measured.loss
        progress.accuracy = {"holdout": holdout.accuracy, "test": test.accuracy}
        self.note(measured)
        self._enter_training()

    def _epoch_measured(self, epoch: int, accuracy: EpochAccuracy, test_cross_entropy: float) -> EpochMeasured:
        cursor = self.student.cursor
        assert cursor.stage in (Stage.INDEPENDENT, Stage.DISTILL), "no other stage has epochs"
        loss, label, distill, num_samples = self.student.sums.tolist()
        rate = self.task.hp.learning_rate
        return EpochMeasured(
            timestamp_seconds=time.time(),
            cycle=cursor.cycle,
            stage=cursor.stage.value,
            epoch=epoch,
            step=cursor.steps,
            learning_rate=rate.at(epoch=cursor.epochs, step=cursor.step - 1, steps_per_epoch=self._steps_per_epoch),
            loss=loss / num_samples,
            cross_entropy=label / num_samples,
            divergence=distill / num_samples,
            holdout_accuracy=accuracy.holdout,
            test_accuracy=accuracy.test,
            test_cross_entropy=test_cross_entropy,
        )

    def _learn_from_round(self) -> Lesson:
        cursor = self.student.cursor
        holdout = self.predict_holdout()
        lesson = self.exchange(RoundKey(cursor.cycle), holdout, judged=holdout)
        outcome = labels.outcome(self.student.name, lesson.record, lesson.p_NK, self.task.data)
        self.notes.cycles += (outcome,)
        self.notes.closed_seen = cursor.cycle
        self.around.progress.teacher_gain = outcome.teacher_gain
        self._note_cycle(outcome, lesson, holdout)
        if outcome.teacher_cross_entropy > outcome.mean_cross_entropy + ROUNDING:
            log.warning("equation 7 does not hold: the teacher is worse than the mean of its students")
        return lesson

    def _note_exchange(self, key: RoundKey) -> None:
        """Tell the seconds of this round, those of attempts that left while they waited included."""
        now, began = self.around.progress.fold(), self.notes.stage_began
        seconds = {step.value: round(now.get(step, 0.0) - began.get(step, 0.0), 3) for step in EXCHANGE_STEPS}
        split = SPLIT_NAMES[key.split]
        self.note(ExchangeMeasured(timestamp_seconds=time.time(), cycle=key.cycle, split=split, seconds=seconds))

    def _note_cycle(self, outcome: CycleOutcome, lesson: Lesson, holdout: Sequence[Block]) -> None:
        record, task = lesson.record, self.task
        closed = {"missing": list(record.missing), "last": record.last}
        self.note(CycleMeasured(timestamp_seconds=time.time(), **outcome.model_dump(), **closed))
        self.note(labels.logits_measured(outcome.cycle, holdout))
        temperature = task.rules.temperature_of(record.round.split)
        example = labels.soft_label_measured(outcome.cycle, holdout, lesson.p_NK, task.data, temperature)
        self.around.journal.write(example)

    def _begin_stage(self) -> None:
        cursor, selection = self.student.cursor, self.notes.selection
        if cursor.stage is Stage.EXCHANGE and selection.last and cursor.stage_epochs(self.task.hp.plan):
            self.notes.selection = replace(selection, independent=selection.last.test)
        self._place()
        self._enter_training()
        self.notes.stage_began = self.around.progress.fold()
        self.save()

    def _present_lesson(self) -> Lesson | None:
        """Give the lesson of a distillation phase that was left in its middle."""
        cursor = self.student.cursor
        if cursor.stage is not Stage.DISTILL or not self.task.hp.plan.exchanges:
            return None
        with self.interruptible():
            return self.around.teacher.lesson(RoundKey(cursor.cycle))

    def _make_batches(self, ids: Sequence[Tensor], **counters: int) -> Iterator[tuple[Inputs, Tensor]]:
        batches = self.task.data.training_batches(ids, **counters)
        for _ in ids:
            with self.around.metrics.data_wait.time(), self.interruptible():
                batch = next(batches)
            yield batch

    def _watch_labels(self, blocks: Iterator[Block]) -> Iterator[Block]:
        self.around.progress.enter(StudentPhase.LABELING)
        yield from self.watch(blocks)
        self.around.progress.enter(StudentPhase.UPLOADING)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Leave as wished when the wish has ended a call to the aggregator, or the workers that read samples."""
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


def _next(events: Generator[Event, Lesson | None, None], answer: Lesson | None) -> Event | None:
    try:
        return events.send(answer)
    except StopIteration:
        return None
