"""Small networks for one CPU core: digits (8x8, gray) by default, and a mini VGG for 32x32 RGB."""

from collections.abc import Iterator

from torch import nn


def mlp_small(num_classes: int, *, in_channels: int = 1, image_size: int = 8) -> nn.Module:
    """Pixels-128-64-K perceptron, 17,226 parameters for 10 classes."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(in_channels * image_size * image_size, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


def cnn_small(num_classes: int, *, in_channels: int = 1, image_size: int = 8) -> nn.Module:
    """Two convolutions with pools, 16 and 32 wide, no BatchNorm, 6,090 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (image_size // 4) ** 2, num_classes),
    )


def cnn_bn_small(num_classes: int, *, in_channels: int = 1) -> nn.Module:
    """Two convolutions with BatchNorm, 16 and 32 wide, any image size, 6,138 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1, stride=2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4, num_classes),
    )


def vgg_mini(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Three conv-BN-ReLU-pool groups, 16, 32 and 64 wide, any image size, 24,346 parameters for 10 classes."""
    return nn.Sequential(
        *_conv_bn_pool(in_channels, 16),
        *_conv_bn_pool(16, 32),
        *_conv_bn_pool(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )


def _conv_bn_pool(in_channels: int, channels: int) -> Iterator[nn.Module]:
    yield nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
    yield nn.BatchNorm2d(channels)
    yield nn.ReLU(inplace=True)
    yield nn.MaxPool2d(2)
