"""What a student brings to a round, and what the round's outcome is worth.

Shapes: B samples of a block or of the hold-out, N samples of the split, K classes.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distilljob_core.exchange import CloseRecord, Offer, RoundKey
from distilljob_core.measurements import LogitsMeasured, SoftLabelMeasured
from distilljob_core.results import CycleOutcome
from distilljob_core.rpc.client import LabelSource, Probabilities
from distilljob_core.softlabels.frames import Split as RoundSplit
from distilljob_trainer.data.split import Data
from distilljob_trainer.evaluate import BLOCK_ROWS, Block, predict, score
from distilljob_trainer.losses import LOG_SMALLEST, soft_labels

Watch = Callable[[Iterator[Block]], Iterator[Block]]
"""Passes blocks on; whoever runs the pass counts progress in it and may leave."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The rules that a group of students shares."""

    temperature: float
    codec: str
    uniform_weights: bool

    def temperature_of(self, split: RoundSplit) -> float:
        """Give t of a round: calibration is a property of the predictive distribution, so predictions keep t = 1."""
        return self.temperature if split is RoundSplit.TRAIN else 1.0


def source_digest(model: nn.Module, numerics: Mapping[str, object]) -> str:
    """Hash what decides the bits of a label pass: all weights and buffers, and the numeric identity."""
    digest = hashlib.sha256(json.dumps(numerics, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def make_offer(holdout: Sequence[Block], judged: Sequence[Block], rules: Exchange, key: RoundKey, digest: str) -> Offer:
    """Weigh this student on the hold-out, which no gradient step has seen.

    Args:
        holdout: this student's predictions of it.
        judged: predictions whose cross-entropy, at the round's temperature, goes with the labels: the hold-out's
            (training set) or the test set's (evaluation). All labels are not waited for: rows travel while the next
            are made.
        rules: the group's.
        key: the round.
        digest: of what makes the labels.
    """
    temperature = rules.temperature_of(key.split)
    held = score(holdout, temperature)
    return Offer(
        round=key,
        weight=1 if rules.uniform_weights else held.num_correct,
        num_correct=held.num_correct,
        holdout_size=held.num_samples,
        codec=rules.codec,
        source_digest=digest,
        cross_entropy=score(judged, temperature).cross_entropy,
    )


def label_source(model: nn.Module, data: Data, rules: Exchange, split: RoundSplit, watch: Watch) -> LabelSource:
    """Make soft labels of a whole split from any row on: evaluation mode, un-augmented, float32, fixed id blocks."""
    rows = data.train if split is RoundSplit.TRAIN else data.test
    temperature = rules.temperature_of(split)

    def labels(first_row: int) -> Iterator[Probabilities]:
        skip = first_row % BLOCK_ROWS
        for block in watch(predict(model, rows, torch.arange(rows.num_samples), first_row=first_row)):
            yield soft_labels(block.z_BK, temperature)[skip:].cpu().numpy()
            skip = 0

    return labels


def outcome(student: str, record: CloseRecord, p_NK: Tensor, data: Data) -> CycleOutcome:
    """Measure on the hold-out what a cycle's teacher is worth.

    Equation 7 of the paper says that the teacher's cross-entropy is at most the weighted mean of the students'. Against
    the best student it says nothing; the teacher's gain does.
    """
    ids_B = data.holdout_ids_N.to(p_NK.device)
    p_BK, y_B = p_NK[ids_B], data.train.labels_N[ids_B]
    accuracy = (p_BK.argmax(dim=1) == y_B).double().mean().item()
    log_likelihood_B = p_BK.gather(1, y_B[:, None]).double().log().clamp(min=LOG_SMALLEST)
    used = dict(zip((part.student for part in record.contributions), record.weights_used(), strict=True))
    best = max(part.num_correct / part.holdout_size for part in record.contributions)
    weighted = sum(used[part.student] * part.cross_entropy for part in record.contributions)
    return CycleOutcome(
        cycle=record.round.cycle,
        weight=used.get(student, 0),
        weight_sum=record.weight_sum,
        ensemble_accuracy=accuracy,
        best_accuracy=best,
        teacher_gain=accuracy - best,
        teacher_cross_entropy=-log_likelihood_B.mean().item(),
        mean_cross_entropy=weighted / record.weight_sum,
    )


def logits_measured(cycle: int, holdout: Sequence[Block]) -> LogitsMeasured:
    """Measure how far logits reach: what a temperature has to soften."""
    ranges = [block.z_BK.double().aminmax(dim=1) for block in holdout]
    smallest_N, largest_N = (torch.cat(parts) for parts in zip(*ranges, strict=True))
    return LogitsMeasured(
        timestamp_seconds=time.time(),
        cycle=cycle,
        smallest=smallest_N.min().item(),
        largest=largest_N.max().item(),
        mean_range=(largest_N - smallest_N).mean().item(),
    )


def soft_label_measured(
    cycle: int, holdout: Sequence[Block], p_NK: Tensor, data: Data, temperature: float
) -> SoftLabelMeasured:
    """Show what student and teacher say of the sample that the teacher is least sure of.

    Args:
        cycle: just closed.
        holdout: the student's predictions.
        p_NK: the teacher's soft labels of the training set.
        data: of both.
        temperature: t of the round.
    """
    position = least_sure(p_NK[data.holdout_ids_N.to(p_NK.device)])
    sample = int(data.holdout_ids_N[position])
    z_BK = holdout[position // BLOCK_ROWS].z_BK[position % BLOCK_ROWS].unsqueeze(0)
    return SoftLabelMeasured(
        timestamp_seconds=time.time(),
        cycle=cycle,
        sample=sample,
        label=int(data.train.labels_N[sample]),
        temperature=temperature,
        student_sharp=soft_labels(z_BK, 1.0)[0].tolist(),
        student_soft=soft_labels(z_BK, temperature)[0].tolist(),
        teacher_soft=p_NK[sample].tolist(),
    )


def least_sure(p_BK: Tensor) -> int:
    """Find the row with the highest entropy -sum p log p, the first of equals; on the CPU, so that all find one."""
    return int(torch.special.entr(p_BK.cpu().double()).sum(dim=1).argmax())
