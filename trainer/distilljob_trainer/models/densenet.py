"""DenseNet-BC for 32x32 images (Huang et al. 2017, arXiv:1608.06993): bottlenecks, and channels halved between blocks.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from distilljob_trainer.models.initialize import he_normal

NUM_BLOCKS = 3


class DenseLayer(nn.Module):
    """Append `growth` channels: x, conv3x3(relu(BN(conv1x1(relu(BN(x))))))."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(*_bn_relu(in_channels), nn.Conv2d(in_channels, 4 * growth, 1, bias=False))
        self.grow = nn.Sequential(*_bn_relu(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The input with the new channels behind it."""
        return torch.cat([x_BCHW, self.grow(self.bottleneck(x_BCHW))], dim=1)


def densenet_bc_40_12(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Depth 40, growth 12, 176,122 parameters for 10 classes."""
    return _densenet_bc(40, 12, num_classes, in_channels)


def densenet_bc_100_12(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Depth 100, growth 12, 769,162 parameters for 10 classes."""
    return _densenet_bc(100, 12, num_classes, in_channels)


def _densenet_bc(depth: int, growth: int, num_classes: int, in_channels: int) -> nn.Module:
    layers_per_block = (depth - 4) // (2 * NUM_BLOCKS)  # two convolutions a layer; a stem, two transitions, a head
    channels = 2 * growth
    modules: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)]
    for block in range(NUM_BLOCKS):
        if block > 0:
            modules += _transition(channels)
            channels //= 2
        modules += [DenseLayer(channels + layer * growth, growth) for layer in range(layers_per_block)]
        channels += layers_per_block * growth
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    network = nn.Sequential(*modules, *_bn_relu(channels), *head)
    he_normal(network)
    return network


def _transition(channels: int) -> Iterator[nn.Module]:
    yield from _bn_relu(channels)
    yield nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False)
    yield nn.AvgPool2d(2)


def _bn_relu(channels: int) -> Iterator[nn.Module]:
    yield nn.BatchNorm2d(channels)
    yield nn.ReLU(inplace=True)
