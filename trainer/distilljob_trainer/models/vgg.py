"""VGG for 32x32 images (Simonyan & Zisserman 2015, tables A, D, E): one linear layer instead of three."""

from collections.abc import Iterator
from typing import Final

from torch import nn

# Widths of the 3x3 convolutions, group by group; a 2x2 max-pool ends each group.
VGG11: Final = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG16: Final = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
VGG19: Final = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


class VGG(nn.Module):
    """VGG with a single linear layer; five pools, so images of 32 to 63 pixels."""

    def __init__(
        self, groups: tuple[tuple[int, ...], ...], num_classes: int, *, batch_norm: bool, in_channels: int
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(*_features(groups, in_channels, batch_norm=batch_norm))
        self.classifier = nn.Linear(groups[-1][-1], num_classes)
        initialize(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, K]."""
        return self.classifier(self.features(x_BCHW).flatten(1))


def _features(groups: tuple[tuple[int, ...], ...], channels: int, *, batch_norm: bool) -> Iterator[nn.Module]:
    for widths in groups:
        for width in widths:
            yield nn.Conv2d(channels, width, kernel_size=3, padding=1)
            if batch_norm:
                yield nn.BatchNorm2d(width)
            yield nn.ReLU(inplace=True)
            channels = width
        yield nn.MaxPool2d(2)
