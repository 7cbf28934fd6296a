import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from distilljob_trainer.losses import cross_entropy, kl_divergence, soft_labels

TEMPERATURES = (0.5, 1.0, 3.0, 9.0)
PEAKED = torch.tensor([[24.41, -24.2, 0.0], [-24.2, 24.41, 0.0]])
"""The paper's own range of logits; student and teacher disagree about both samples."""

logits = st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1, max_size=4)


def naive_kl(z_BK: torch.Tensor, p_BK: torch.Tensor, temperature: float) -> torch.Tensor:
    """Softmax first, log after: the paper's NaN cells."""
    s_BK = F.softmax(z_BK / temperature, dim=1)
    return (p_BK * torch.log(p_BK / s_BK)).sum() / len(z_BK)


def gradient(loss: torch.Tensor, z_BK: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, z_BK)[0]


@pytest.mark.parametrize("scale", [1.0, 2.15, 100.0])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("direction", ["Forward", "Reverse"])
def test_every_temperature_is_finite(direction, temperature, scale):
    z_BK = (scale * PEAKED).requires_grad_()
    p_BK = soft_labels(scale * PEAKED.flip(0), temperature)
    loss = kl_divergence(z_BK, p_BK, temperature, direction=direction)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient(loss, z_BK)).all()


@pytest.mark.parametrize(
    ("temperature", "scale", "loss_is_finite"),
    [
        pytest.param(0.5, 1.0, False, id="t=0.5"),
        pytest.param(1.0, 1.0, True, id="t=1-only-its-gradient"),
        pytest.param(1.0, 2.15, False, id="t=1-wider-logits"),
    ],
)
def test_softmax_then_log_gives_the_nan_cells_of_the_paper(temperature, scale, loss_is_finite):
    z_BK = (scale * PEAKED).requires_grad_()
    p_BK = soft_labels(scale * PEAKED.flip(0), temperature)
    loss = naive_kl(z_BK, p_BK, temperature)
    assert bool(torch.isfinite(loss)) == loss_is_finite
    assert torch.isnan(gradient(loss, z_BK)).any()


def test_both_forms_agree_where_the_naive_one_is_sound():
    generator = torch.Generator().manual_seed(0)
    z_BK, g_BK = torch.randn(2, 8, 5, generator=generator)
    p_BK = soft_labels(g_BK, 3.0)
    ours = kl_divergence(z_BK, p_BK, 3.0, temperature_squared=False)
    torch.testing.assert_close(ours, naive_kl(z_BK, p_BK, 3.0))
    reverse = kl_divergence(z_BK, p_BK, 3.0, direction="Reverse", temperature_squared=False)
    torch.testing.assert_close(reverse, naive_kl(g_BK, soft_labels(z_BK, 3.0), 3.0))


@settings(deadline=None)
@given(z=logits, g=logits, temperature=st.sampled_from(TEMPERATURES))
def test_the_gradient_of_a_sample_is_at_most_one_over_t(z, g, temperature):
    num_rows = min(len(z), len(g))
    z_BK = torch.tensor(z[:num_rows], requires_grad=True)
    p_BK = soft_labels(torch.tensor(g[:num_rows]), temperature)
    loss = kl_divergence(z_BK, p_BK, temperature, temperature_squared=False)
    assert loss >= -1e-6
    assert gradient(loss, z_BK).abs().max() * num_rows <= (1 + 1e-5) / temperature


@pytest.mark.parametrize("direction", ["Forward", "Reverse"])
def test_the_square_of_the_temperature_is_a_factor(direction):
    z_BK, p_BK = PEAKED, soft_labels(PEAKED.flip(0), 3.0)
    literal = kl_divergence(z_BK, p_BK, 3.0, direction=direction, temperature_squared=False)
    torch.testing.assert_close(kl_divergence(z_BK, p_BK, 3.0, direction=direction), 9 * literal)


def test_a_perfect_student_has_no_divergence():
    assert kl_divergence(PEAKED, soft_labels(PEAKED, 3.0), 3.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("direction", ["Forward", "Reverse"])
def test_a_teachers_exact_zero_is_finite(direction):
    z_BK = torch.zeros(1, 3, requires_grad=True)
    loss = kl_divergence(z_BK, torch.tensor([[1.0, 0.0, 0.0]]), 1.0, direction=direction)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient(loss, z_BK)).all()


def test_losses_of_half_precision_logits_are_float32():
    z_BK = PEAKED.bfloat16()
    assert cross_entropy(z_BK, torch.tensor([0, 1])).dtype == torch.float32
    assert kl_divergence(z_BK, soft_labels(z_BK, 1.0), 1.0).dtype == torch.float32


def test_label_smoothing_spreads_its_share_over_all_classes():
    z_BK, y_B = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])
    log_p = F.log_softmax(z_BK, dim=1)[0]
    expected = -(0.9 * log_p[0] + 0.1 * log_p.mean())
    torch.testing.assert_close(cross_entropy(z_BK, y_B, 0.1), expected)


def test_cross_entropy_of_uniform_logits_is_log_k():
    assert cross_entropy(torch.zeros(4, 10), torch.arange(4)).item() == pytest.approx(math.log(10))
