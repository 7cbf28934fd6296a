import hashlib
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from distilljob_core.exchange import RoundKey
from distilljob_core.spec.resolve import planned_epochs
from distilljob_trainer import algorithm
from distilljob_trainer.algorithm import EpochDone, StageDone, StepDone
from distilljob_trainer.cursor import Cursor, Stage
from distilljob_trainer.data.counters import Stream, permutation, stream_key
from distilljob_trainer.evaluate import predict, score

TRIO = [
    {"name": "mlp", "gpus": 0, "model": {"name": "mlp_small"}},
    {"name": "cnn", "gpus": 0, "model": {"name": "cnn_small"}},
    {"name": "drop", "gpus": 0, "model": {"name": "drop_bn"}},
]


def accuracy(student, data) -> float:
    return score(predict(student.model, data.test, torch.arange(data.test.num_samples))).accuracy


def test_a_student_learns_exactly_as_a_loop_written_by_hand(group):
    """Two cycles of MD with one student, in plain torch, from the paper's text."""
    ours = group(method={"ramp": {"kind": "Linear"}, "temperature": 2.0})
    ours.events()

    by_hand = group()
    student, data = by_hand.student, by_hand.data
    model, optimizer, seed = student.model, student.optimizer, student.seed
    t, planned, steps = 2.0, 6, 0
    for epoch in range(planned):
        stage_epoch = epoch % 3
        if stage_epoch == 1:
            model.eval()
            with torch.no_grad():
                s_NK = torch.softmax(model(data.train.inputs) / t, dim=1)
            teacher_NK = _through_the_codec(s_NK)
        model.train()
        for group_ in optimizer.param_groups:
            group_["lr"] = 0.05 * 0.1 ** ((epoch >= 3) + (epoch >= 4))
        order = data.fit_ids_N[permutation(len(data.fit_ids_N), seed=seed, epoch=epoch)]
        for ids in order.split(32):
            torch.manual_seed(stream_key(Stream.STEP, seed, steps))
            steps += 1
            z, y = model(data.train.inputs[ids]), data.train.labels_N[ids]
            loss = F.cross_entropy(z, y)
            if stage_epoch > 0:
                r = stage_epoch - 1
                kl = F.kl_div(F.log_softmax(z / t, dim=1), teacher_NK[ids], reduction="batchmean") * t**2
                loss = (1 - r / 2) * loss + (1 + r / 2) * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert ours.weights() == by_hand.weights()


def _through_the_codec(s_NK):
    from distilljob_core.softlabels.float16 import Float16
    from distilljob_core.softlabels.grid import renormalize

    codec = Float16()
    return torch.from_numpy(renormalize(codec.decode(codec.encode(s_NK.numpy()).tobytes(), s_NK.shape[1])))


def test_one_student_without_distillation_is_independent_bit_for_bit(group):
    alone = group(method={"distillEpochs": 0, "independentEpochs": 3})
    independent = group(method={"name": "Independent", "distillEpochs": 0, "independentEpochs": 3})
    assert len(alone.events()) > len(independent.events())
    assert hashlib.sha256(alone.weights()).hexdigest() == hashlib.sha256(independent.weights()).hexdigest()


def test_a_ramp_of_cross_entropy_alone_is_independent_bit_for_bit(group):
    distilled = group(method={"ramp": {"kind": "Fixed", "alpha": 1.0, "beta": 0.0}})
    independent = group(method={"name": "Independent"})
    distilled.events()
    independent.events()
    assert distilled.weights() == independent.weights()


def test_a_student_goes_through_all_planned_epochs(group):
    md = group(method={"burnInEpochs": 2}, students=TRIO)
    counted = Counter((name, type(event)) for name, event in md.events())
    steps_per_epoch = -(-len(md.data.fit_ids_N) // 32)
    for student, _ in md.members:
        assert student.cursor.epochs == planned_epochs(md.spec.method) == 8
        assert student.cursor.steps == 8 * steps_per_epoch == counted[student.name, StepDone]
        assert counted[student.name, EpochDone] == 8
        assert counted[student.name, StageDone] == 6
        assert student.cursor == Cursor(cycle=2, stage=Stage.DONE, epochs=8, steps=8 * steps_per_epoch, last=True)


def test_every_sample_but_the_hold_out_is_seen_once_an_epoch(group):
    md = group(method={"name": "Independent"})
    seen = []

    def spy(ids, **counters):
        seen.extend((counters["epoch"], ids_B) for ids_B in ids)
        return md.data.training_batches(ids, **counters)

    student, hp = md.members[0]
    list(algorithm.train(student, md.data.fit_ids_N, spy, hp))
    for epoch in range(6):
        ids = torch.cat([ids_B for at, ids_B in seen if at == epoch])
        assert torch.equal(ids.sort().values, md.data.fit_ids_N)
    assert not torch.equal(seen[0][1], seen[3][1])


def test_the_teacher_differs_from_every_student_and_its_rows_are_distributions(group):
    md = group(students=TRIO, method={"cycles": 1})
    md.events()
    lesson = md.classroom.teach(RoundKey(1))
    assert (lesson.p_NK.sum(dim=1) - 1).abs().max() < 1e-6
    assert len(lesson.record.contributions) == 3
    for student, _ in md.members:
        z_NK = torch.cat([b.z_BK for b in predict(student.model, md.data.train, torch.arange(120))])
        assert not torch.allclose((z_NK / 3).softmax(dim=1), lesson.p_NK, atol=1e-3)


@pytest.mark.parametrize("spoil", [lambda p_NK: p_NK.roll(1, dims=0), lambda p_NK: torch.full_like(p_NK, 0.1)])
def test_a_useless_teacher_makes_worse_students(group, monkeypatch, spoil):
    """Rows of other samples, or the same constant row for all: who learns from these does not get better."""
    lessons = {"method": {"cycles": 1, "independentEpochs": 6, "distillEpochs": 12}, "students": TRIO}
    good = group(**lessons, dataset={"options": {"train_samples": 300}})
    good.events()
    bad = group(**lessons, dataset={"options": {"train_samples": 300}})
    teach = bad.classroom.teach

    def spoiled(key):
        lesson = teach(key)
        return replace(lesson, p_NK=spoil(lesson.p_NK))

    monkeypatch.setattr(bad.classroom, "teach", spoiled)
    bad.events()
    with_teacher, without = (sum(accuracy(student, job.data) for student, _ in job.members) / 3 for job in (good, bad))
    assert with_teacher > without + 0.03, (with_teacher, without)


def test_the_order_of_students_does_not_change_anybodys_weights(group):
    forward = group(students=TRIO)
    backward = group(students=TRIO[::-1])
    forward.events()
    backward.events()
    backward.members.reverse()
    assert forward.weights() == backward.weights()


def test_clipping_bounds_the_step(group):
    clipped = group(training={"clipNorm": 0.01, "optimizer": {"momentum": 0.0, "weightDecay": 0.0}})
    before = [p.detach().clone() for p in clipped.student.model.parameters()]
    _, event = next(clipped.run())
    moved = sum((p - q).square().sum() for p, q in zip(clipped.student.model.parameters(), before, strict=True)) ** 0.5
    assert event.gradient_norm > 0.01
    assert moved.item() == pytest.approx(0.05 * 0.01, rel=1e-3)
