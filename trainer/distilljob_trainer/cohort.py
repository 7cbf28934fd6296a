"""Several students in one process and one thread, in step with each other: the reference for the exchange."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from distilljob_core.exchange import RoundKey
from distilljob_core.softlabels.frames import Split
from distilljob_trainer import algorithm, labels
from distilljob_trainer.algorithm import Event, ExchangeDue, Hyperparameters, Lesson, Student
from distilljob_trainer.cursor import Stage
from distilljob_trainer.data.split import Data
from distilljob_trainer.evaluate import predict
from distilljob_trainer.teacher import Classroom, InProcessTeacher


def train_together(
    members: Sequence[tuple[Student, Hyperparameters]], data: Data, rules: labels.Exchange, classroom: Classroom
) -> Iterator[tuple[Student, Event]]:
    """Train a group to its end, giving each event with its student; all have the same number of cycles.

    Each student in turn goes to its next exchange; when all are there, all get the lesson.
    """
    runs = [(student, algorithm.train(student, data.fit_ids_N, data.training_batches, hp)) for student, hp in members]
    lesson: Lesson | None = None
    while True:
        for student, events in runs:
            for event in _until_exchange(events, lesson):
                yield student, event
        waiting = [student for student, _ in runs if student.cursor.stage is Stage.EXCHANGE]
        if not waiting:
            return
        for student in waiting:
            _offer(student, data, rules, classroom)
        taught = classroom.teach(RoundKey(waiting[0].cursor.cycle))
        lesson = replace(taught, p_NK=taught.p_NK.to(data.train.device))


def _until_exchange(events: Generator[Event, Lesson | None, None], answer: Lesson | None) -> Iterator[Event]:
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            return
        if isinstance(event, ExchangeDue):
            return
        yield event
        answer = None


def _offer(student: Student, data: Data, rules: labels.Exchange, classroom: Classroom) -> None:
    key, model = RoundKey(student.cursor.cycle), student.answering
    holdout = list(predict(model, data.train, data.holdout_ids_N))
    offer = labels.make_offer(holdout, holdout, rules, key, labels.source_digest(model, {}))
    source = labels.label_source(model, data, rules, Split.TRAIN, iter)
    InProcessTeacher(classroom, student.name).offer(offer, source)
