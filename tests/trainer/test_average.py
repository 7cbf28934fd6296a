"""The moving average of the weights answers for a student; the raw weights train."""

import pytest
import torch
from torch import nn

from distilljob_core.errors import FactoryError
from distilljob_trainer import build, labels
from distilljob_trainer.algorithm import EpochDone, StepDone
from distilljob_trainer.evaluate import predict, score

DECAY = 0.8
BN = [{"name": "bn", "gpus": 0, "model": {"name": "drop_bn"}}]


class Uncopied(nn.Linear):
    def __deepcopy__(self, _memo):
        raise TypeError("holds an open file")


def steps(job, count):
    events = job.run()
    for _ in range(count):
        student, event = next(events)
        assert isinstance(event, StepDone)
        yield student


def test_the_average_follows_the_equation_step_by_step(group):
    job = group(training={"emaDecay": DECAY}, students=BN)
    expected = None
    for student in steps(job, 3):
        theta = {name: parameter.detach().clone() for name, parameter in student.model.named_parameters()}
        if expected is None:
            expected = theta
        else:
            expected = {name: DECAY * expected[name] + (1 - DECAY) * theta[name] for name in theta}
        for name, parameter in student.answering.named_parameters():
            torch.testing.assert_close(parameter, expected[name], rtol=1e-6, atol=1e-7)
    assert not torch.equal(student.answering[1].weight, student.model[1].weight)


def test_buffers_are_copied_as_they_are(group):
    job = group(training={"emaDecay": DECAY}, students=BN)
    *_, student = steps(job, 3)
    for ours, theirs in zip(student.answering.buffers(), student.model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert student.answering[2].num_batches_tracked == 3


def test_the_raw_weights_train_as_if_there_were_no_average(group):
    """Until the first exchange, where the labels are the average's."""
    plain, averaged = group(students=BN), group(students=BN, training={"emaDecay": DECAY})
    for _ in zip(steps(plain, 3), steps(averaged, 3), strict=True):
        pass
    for ours, theirs in zip(plain.student.model.parameters(), averaged.student.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_labels_and_their_weight_are_the_averages(group):
    job = group(training={"emaDecay": DECAY, "optimizer": {"learningRate": 0.5}}, method={"cycles": 1}, students=BN)
    events = job.run()
    for _, event in events:
        if isinstance(event, EpochDone):
            break
    student = job.student
    z_BK = next(predict(student.average.module, job.data.train, torch.arange(96))).z_BK
    held = score(predict(student.average.module, job.data.train, job.data.holdout_ids_N))
    next(event for _, event in events if isinstance(event, StepDone))
    lesson = job.classroom.teach(labels.RoundKey(1))
    expected = torch.softmax(z_BK / job.rules.temperature, dim=1)
    torch.testing.assert_close(lesson.p_NK[:96], expected, rtol=0, atol=2e-3)
    assert lesson.record.contributions[0].num_correct == held.num_correct


def test_a_network_that_cannot_be_copied_says_so():
    with pytest.raises(FactoryError, match=r"model 'mine': training\.emaDecay needs a copy.*TypeError: holds an open"):
        build.make_average(Uncopied(2, 2), 0.9, name="mine")
    assert build.make_average(Uncopied(2, 2), None, name="mine") is None
