import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.spec.method import Ramp
from distilljob_core.spec.training import Schedule
from distilljob_trainer.schedule import LearningRate, loss_weights

lengths = st.integers(1, 40)
units = st.sampled_from(["Epoch", "Step"])


def phase(ramp: Ramp, distill_epochs: int, steps_per_epoch: int = 5):
    return [
        loss_weights(ramp, epoch=r, step=step, steps_per_epoch=steps_per_epoch, distill_epochs=distill_epochs)
        for r in range(distill_epochs)
        for step in range(steps_per_epoch)
    ]


@given(kind=st.sampled_from(["Linear", "FixedMatched", "Cosine"]), unit=units, distill_epochs=lengths)
def test_alpha_and_beta_always_sum_to_two(kind, unit, distill_epochs):
    for weights in phase(Ramp(kind=kind, unit=unit), distill_epochs):
        assert weights.alpha + weights.beta == pytest.approx(2)
        assert weights.alpha >= 0


@given(distill_epochs=lengths)
def test_the_papers_ramp_goes_from_one_to_one_over_t_d(distill_epochs):
    weights = phase(Ramp(), distill_epochs)
    assert weights[0].alpha == 1
    assert weights[-1].alpha == pytest.approx(1 / distill_epochs)
    assert len({w.alpha for w in weights}) == distill_epochs


@given(kind=st.sampled_from(["Linear", "Cosine"]), unit=units, distill_epochs=lengths)
def test_the_teachers_weight_never_falls_within_a_phase(kind, unit, distill_epochs):
    betas = [weights.beta for weights in phase(Ramp(kind=kind, unit=unit), distill_epochs)]
    assert betas == sorted(betas)


@given(unit=units, distill_epochs=lengths)
def test_the_matched_constant_is_the_mean_of_the_line(unit, distill_epochs):
    line = phase(Ramp(unit=unit), distill_epochs)
    matched = phase(Ramp(kind="FixedMatched", unit=unit), distill_epochs)
    assert len({w.alpha for w in matched}) == 1
    assert matched[0].alpha == pytest.approx(sum(w.alpha for w in line) / len(line))


def test_a_step_ramp_passes_through_the_middle_of_each_step():
    alphas = [weights.alpha for weights in phase(Ramp(unit="Step"), 2, steps_per_epoch=2)]
    assert alphas == pytest.approx([7 / 8, 5 / 8, 3 / 8, 1 / 8])


def test_a_fixed_ramp_is_what_the_resource_says():
    (weights,) = set(phase(Ramp(kind="Fixed", alpha=0.25, beta=3.0), 3))
    assert (weights.alpha, weights.beta) == (0.25, 3.0)


def test_a_cosine_ramp_is_half_way_in_the_middle():
    weights = phase(Ramp(kind="Cosine"), 4, steps_per_epoch=1)
    assert [w.alpha for w in weights] == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def rates(schedule: Schedule, planned_epochs: int, steps_per_epoch: int = 2) -> list[float]:
    rate = LearningRate.plan(schedule, base=0.1, planned_epochs=planned_epochs)
    return [
        rate.at(epoch=epoch, step=step, steps_per_epoch=steps_per_epoch)
        for epoch in range(planned_epochs)
        for step in range(steps_per_epoch)
    ]


def test_milestones_are_fractions_of_all_planned_epochs():
    assert rates(Schedule(), 8) == pytest.approx([0.1] * 8 + [0.01] * 4 + [0.001] * 4)


def test_a_milestone_falls_on_a_whole_epoch():
    assert LearningRate.plan(Schedule(milestones=[0.75, 0.5]), base=1, planned_epochs=9).milestone_epochs == (4, 7)


def test_warm_up_rises_in_a_line_and_meets_the_schedule():
    schedule = Schedule(kind="Constant", warmup_epochs=2)
    assert rates(schedule, 4) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_a_cosine_falls_from_its_base_towards_zero():
    values = rates(Schedule(kind="Cosine", warmup_epochs=1), 5)
    assert values[1] == values[2] == pytest.approx(0.1)
    assert values[6] == pytest.approx(0.05)
    assert values[2:] == sorted(values[2:], reverse=True)
    assert 0 < values[-1] < 0.01


@given(kind=st.sampled_from(["MultiStep", "Cosine", "Constant"]), planned=lengths, warmup=st.integers(0, 50))
def test_every_rate_is_positive_and_at_most_the_base(kind, planned, warmup):
    values = rates(Schedule(kind=kind, warmup_epochs=warmup), planned)
    assert all(0 < value <= 0.1 * (1 + 1e-12) for value in values)
