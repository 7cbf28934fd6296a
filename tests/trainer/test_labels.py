import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilljob_core.exchange import CloseRecord, Contribution, RoundKey
from distilljob_core.softlabels.frames import Split
from distilljob_trainer import labels
from distilljob_trainer.evaluate import BLOCK_ROWS, Block, predict

TRAIN, EVALUATION = RoundKey(1), RoundKey(1, Split.EVALUATION)


def predicted(job):
    return list(predict(job.student.model, job.data.train, job.data.holdout_ids_N))


def offer(job, key, rules=None):
    holdout = predicted(job)
    return labels.make_offer(holdout, holdout, rules or job.rules, key, "digest")


def rows(job, split, first_row=0):
    return np.concatenate(list(labels.label_source(job.student.model, job.data, job.rules, split, iter)(first_row)))


def test_every_training_sample_is_labeled_the_hold_out_too(group):
    job = group()
    s_NK = rows(job, Split.TRAIN)
    assert s_NK.shape == (120, 10)
    assert s_NK.dtype == np.float32
    assert abs(s_NK.sum(axis=1) - 1).max() < 1e-6


def test_a_pass_from_the_middle_gives_the_same_bits(group):
    job = group(dataset={"options": {"train_samples": 1100}})
    whole = rows(job, Split.TRAIN)
    for first_row in (1, 511, 512, 700, 1099):
        assert np.array_equal(rows(job, Split.TRAIN, first_row), whole[first_row:])


def test_predictions_for_evaluation_keep_temperature_one(group):
    job = group(method={"temperature": 5.0})
    x, _ = job.data.test.batch(torch.arange(4))
    with torch.no_grad():
        z_BK = job.student.model.eval()(x)
    np.testing.assert_allclose(rows(job, Split.EVALUATION)[:4], z_BK.softmax(dim=1).numpy(), rtol=1e-4)
    x, _ = job.data.train.batch(torch.arange(4))
    with torch.no_grad():
        z_BK = job.student.model(x)
    np.testing.assert_allclose(rows(job, Split.TRAIN)[:4], (z_BK / 5).softmax(dim=1).numpy(), rtol=1e-4)


def test_the_weight_is_the_number_correct_on_the_hold_out(group):
    job = group()
    made = offer(job, TRAIN)
    x, y_N = job.data.train.batch(job.data.holdout_ids_N)
    with torch.no_grad():
        expected = int((job.student.model.eval()(x).argmax(dim=1) == y_N).sum())
    assert (made.weight, made.num_correct, made.holdout_size) == (expected, expected, len(y_N))


def test_uniform_weights_are_one_and_right_answers_are_told_all_the_same(group):
    job = group(method={"teacher": {"weights": "Uniform"}})
    assert offer(job, TRAIN).weight == offer(job, EVALUATION).weight == 1
    assert offer(job, TRAIN).num_correct == offer(group(), TRAIN).weight > 1


def test_offers_of_equal_weights_are_equal_and_of_others_are_not(group):
    job = group()
    digest = labels.source_digest(job.student.model, {"threads": 1})
    assert labels.source_digest(group().student.model, {"threads": 1}) == digest
    assert labels.source_digest(job.student.model, {"threads": 2}) != digest
    with torch.no_grad():
        next(job.student.model.buffers()).add_(1e-3)
    assert labels.source_digest(job.student.model, {"threads": 1}) != digest
    assert offer(job, TRAIN) == offer(job, TRAIN)


def record(*parts: tuple[str, int, float], fallback=False, uniform=False):
    contributions = tuple(
        Contribution(name, 1 if uniform else num_correct, num_correct, 24, "", entropy)
        for name, num_correct, entropy in parts
    )
    weight_sum = sum(part.weight for part in contributions) or len(parts)
    return CloseRecord(TRAIN, contributions, weight_sum, fallback, "Float16", False, ())


def outcome_of(job, close, p_NK):
    return labels.outcome("bn", close, p_NK, job.data)


def test_the_teachers_gain_is_over_the_best_student(group):
    job = group()
    p_NK = torch.nn.functional.one_hot(job.data.train.labels_N, 10).float()
    result = outcome_of(job, record(("bn", 12, 1.0), ("cnn", 18, 0.5)), p_NK)
    assert (result.ensemble_accuracy, result.best_accuracy, result.teacher_gain) == (1.0, 0.75, 0.25)
    assert (result.weight, result.weight_sum) == (12, 30)
    assert result.teacher_cross_entropy == 0
    assert result.mean_cross_entropy == pytest.approx((12 * 1.0 + 18 * 0.5) / 30)


def test_a_student_left_out_of_a_round_has_no_weight_in_it(group):
    job = group()
    result = outcome_of(job, record(("cnn", 6, 0.5)), torch.full((120, 10), 0.1))
    assert (result.weight, result.best_accuracy) == (0, 0.25)


def test_the_best_student_is_known_with_uniform_weights_too(group):
    close = record(("bn", 12, 1.0), ("cnn", 18, 0.5), uniform=True)
    result = outcome_of(group(), close, torch.full((120, 10), 0.1))
    assert (result.weight, result.weight_sum, result.best_accuracy) == (1, 2, 0.75)


def test_students_without_a_single_hit_count_alike(group):
    job = group()
    close = record(("bn", 0, 1.0), ("cnn", 0, 0.5), fallback=True)
    result = outcome_of(job, close, torch.full((120, 10), 0.1))
    assert (result.weight, result.weight_sum, result.mean_cross_entropy) == (1, 2, 0.75)


def test_a_teachers_zero_has_a_finite_cross_entropy(group):
    job = group()
    wrong = torch.nn.functional.one_hot((job.data.train.labels_N + 1) % 10, 10).float()
    assert outcome_of(job, replace(record(("bn", 1, 1.0))), wrong).teacher_cross_entropy == pytest.approx(
        22.18, abs=0.01
    )


def blocks_of(z_NK):
    return [Block(torch.arange(0), part_BK, torch.arange(0)) for part_BK in z_NK.split(BLOCK_ROWS)]


def test_logits_are_told_by_their_ends_and_the_mean_range_of_a_sample():
    z_NK = torch.tensor([[1.0, -2.0, 0.0], [4.0, 4.0, 4.0], [0.5, 1.5, -3.5]])
    measured = labels.logits_measured(2, blocks_of(z_NK))
    assert (measured.cycle, measured.smallest, measured.largest) == (2, -3.5, 4.0)
    assert measured.mean_range == pytest.approx((3 + 0 + 5) / 3)


def test_logits_of_all_blocks_count():
    z_NK = torch.zeros(BLOCK_ROWS + 1, 2)
    z_NK[-1] = torch.tensor([-7.0, 9.0])
    measured = labels.logits_measured(1, blocks_of(z_NK))
    assert (measured.smallest, measured.largest) == (-7.0, 9.0)
    assert measured.mean_range == pytest.approx(16 / (BLOCK_ROWS + 1))


def test_a_soft_label_shows_the_hold_outs_sample_that_the_teacher_is_least_sure_of(group):
    job = group()
    held_N = job.data.holdout_ids_N
    p_NK = torch.nn.functional.one_hot(job.data.train.labels_N, 10).float()
    p_NK[job.data.fit_ids_N[0]] = 0.1  # less sure still, but no hold-out sample
    unsure = torch.tensor([0.5, 0.25, 0.25] + [0.0] * 7)
    p_NK[held_N[7]] = p_NK[held_N[3]] = unsure
    z_NK = torch.zeros(len(held_N), 10)
    z_NK[3, :2] = torch.tensor([math.log(8), math.log(27)])
    shown = labels.soft_label_measured(2, blocks_of(z_NK), p_NK, job.data, 3.0)
    assert (shown.cycle, shown.sample, shown.temperature) == (2, int(held_N[3]), 3.0)
    assert shown.label == int(job.data.train.labels_N[held_N[3]])
    assert shown.student_sharp == pytest.approx([8 / 43, 27 / 43] + [1 / 43] * 8)
    assert shown.student_soft == pytest.approx([2 / 13, 3 / 13] + [1 / 13] * 8)
    assert shown.teacher_soft == unsure.tolist()


def test_a_soft_label_is_found_in_the_block_that_has_it(group):
    job = group(dataset={"options": {"train_samples": 1200}, "holdout": {"fraction": 0.5}})
    last = len(job.data.holdout_ids_N) - 1
    assert last > BLOCK_ROWS
    p_NK = torch.nn.functional.one_hot(job.data.train.labels_N, 10).float()
    p_NK[job.data.holdout_ids_N[last]] = 0.1
    holdout = predicted(job)
    shown = labels.soft_label_measured(1, holdout, p_NK, job.data, 3.0)
    assert shown.sample == int(job.data.holdout_ids_N[last])
    assert shown.student_sharp == holdout[-1].z_BK[-1].softmax(dim=0).tolist()


@settings(deadline=None)
@given(rows=st.integers(1, 70), classes=st.integers(1, 12), seed=st.integers(0, 99), copies=st.data())
def test_of_equally_unsure_samples_the_first_is_shown_wherever_it_stands(rows, classes, seed, copies):
    rng = np.random.default_rng(seed)
    p_BK = rng.dirichlet([1.0] * classes, rows).astype(np.float32)
    entropy_B = -(p_BK * np.log(np.maximum(p_BK, 1e-45), dtype=np.float64)).sum(axis=1)
    winner = int(entropy_B.argmax())
    others = copies.draw(st.sets(st.integers(0, rows - 1)))
    p_BK[list(others)] = p_BK[winner]
    assert labels.least_sure(torch.from_numpy(p_BK)) == min({winner, *others})
