"""The terms of a student's loss, in fp32 log space, where every temperature is finite.

The paper's tables show NaN at t = 0.5 and t = 1. That is the numerics of softmax-then-log, not a property of the
method: probabilities that underflow to zero are divided by and logged. Here no probability of a student is ever logged.

Shapes: B batch, K classes.
"""

import math
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_SMALLEST: Final = -32 * math.log(2)
"""Log of half a step of the grid on which soft labels travel (2^-31): what a teacher's exact zero stands for."""


def cross_entropy(z_BK: Tensor, y_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the logits against the labels.

    L_C = -(1/B) sum_i sum_k y_i^k log softmax(z_i)^k        Gao et al. 2019, Entropy 21(4):357, equations 1 and 2

    Args:
        z_BK: logits of any floating-point type.
        y_B: int64 classes.
        label_smoothing: share e of each label that is spread over all classes: y = (1 - e) onehot + e / K.

    Returns:
        A scalar, float32.
    """
    return F.cross_entropy(z_BK.float(), y_B, label_smoothing=label_smoothing)


def soft_labels(z_BK: Tensor, temperature: float) -> Tensor:
    """Soften logits into a distribution, float32 [B, K].

    s^k = exp(z^k / t) / sum_j exp(z^j / t)        equation 4
    """
    return F.softmax(z_BK.float() / temperature, dim=1)


def kl_divergence(
    z_BK: Tensor,
    p_BK: Tensor,
    temperature: float,
    *,
    direction: Literal["Forward", "Reverse"] = "Forward",
    temperature_squared: bool = True,
) -> Tensor:
    """Mean distance between the teacher p and the student s = softmax(z / t).

    Forward:  L_KL = (1/B) sum_i sum_k p_i^k log(p_i^k / s_i^k)        equation 9, which prints it with a minus sign
    Reverse:  L_KL = (1/B) sum_i sum_k s_i^k log(s_i^k / p_i^k)

    The gradient of Forward is (s - p) / (t B): at most 1 / (t B) for any logit at any temperature, hence the factor
    t^2 of Hinton et al. 2015 (arXiv:1503.02531), which the paper does not print. Rounding may leave the value of
    equal distributions a hair below zero.

    Args:
        z_BK: the student's logits.
        p_BK: the teacher's soft labels at the same temperature, float32, rows summing to 1; zeros allowed.
        temperature: t.
        direction: which of the two is averaged over.
        temperature_squared: multiply by t^2, so that the gradient keeps its size at any temperature.

    Returns:
        A scalar, float32.
    """
    log_s_BK = F.log_softmax(z_BK.float() / temperature, dim=1)
    if direction == "Forward":
        divergence = F.kl_div(log_s_BK, p_BK, reduction="batchmean")  # 0 log 0 = 0
    else:
        log_p_BK = p_BK.log().clamp(min=LOG_SMALLEST)
        divergence = torch.sum(log_s_BK.exp() * (log_s_BK - log_p_BK)) / len(z_BK)
    return divergence * temperature**2 if temperature_squared else divergence
