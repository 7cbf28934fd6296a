"""ResNets for 32x32 images (He et al. 2016, arXiv:1512.03385), basic blocks, 1x1 convolutions as shortcuts.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.functional import relu

from distilljob_trainer.models.initialize import he_normal


class BasicBlock(nn.Module):
    """relu(shortcut(x) + BN(conv(relu(BN(conv(x))))))."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if stride == 1 else _projection(in_channels, channels, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Feature maps of the same size, or of half the size at a stride of 2."""
        y_BCHW = relu(self.bn1(self.conv1(x_BCHW)), inplace=True)
        return relu(self.bn2(self.conv2(y_BCHW)) + self.shortcut(x_BCHW), inplace=True)


def resnet8_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """6n + 2 layers with n = 1, 78,042 parameters for 10 classes."""
    return _thin(1, num_classes, in_channels)


def resnet20_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """6n + 2 layers with n = 3, 272,474 parameters for 10 classes."""
    return _thin(3, num_classes, in_channels)


def resnet32_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """6n + 2 layers with n = 5, 466,906 parameters for 10 classes."""
    return _thin(5, num_classes, in_channels)


def resnet56_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """6n + 2 layers with n = 9, 855,770 parameters for 10 classes."""
    return _thin(9, num_classes, in_channels)


def resnet110_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """6n + 2 layers with n = 18, 1,730,714 parameters for 10 classes."""
    return _thin(18, num_classes, in_channels)


def resnet18_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """ImageNet's ResNet-18 with a 3x3 stem and no max-pool, 11,173,962 parameters for 10 classes."""
    return _resnet((64, 128, 256, 512), 2, num_classes, in_channels)


def _thin(blocks_per_stage: int, num_classes: int, in_channels: int) -> nn.Module:
    return _resnet((16, 32, 64), blocks_per_stage, num_classes, in_channels)


def _resnet(widths: Sequence[int], blocks_per_stage: int, num_classes: int, in_channels: int) -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
        *_blocks(widths, blocks_per_stage),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], num_classes),
    )
    he_normal(network)
    return network


def _blocks(widths: Sequence[int], blocks_per_stage: int) -> Iterator[nn.Module]:
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks_per_stage):
            yield BasicBlock(channels, width, stride=2 if stage > 0 and block == 0 else 1)
            channels = width


def _projection(in_channels: int, channels: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(channels)
    )
