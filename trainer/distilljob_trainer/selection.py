"""Which epoch is reported: the last, the best on the hold-out, and the best on the test set for comparison."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochAccuracy:
    """Accuracies after one epoch."""

    holdout: float
    test: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Accuracies to remember; the hold-out selects, the test set never does."""

    last: EpochAccuracy | None = None
    selected: EpochAccuracy | None = None
    selected_epoch: int = 0
    """Number of the selected epoch, from 1."""
    optimistic: float = 0.0
    """Best test accuracy of any epoch."""
    independent: float | None = None
    """Test accuracy at the end of the last T_in."""

    def after(self, epoch: int, accuracy: EpochAccuracy) -> "Selection":
        """Take one more epoch in; the first of equally good ones stays selected."""
        better = self.selected is None or accuracy.holdout > self.selected.holdout
        return Selection(
            last=accuracy,
            selected=accuracy if better else self.selected,
            selected_epoch=epoch if better else self.selected_epoch,
            optimistic=max(self.optimistic, accuracy.test),
            independent=self.independent,
        )
