"""VGG for 32x32 images (Simonyan & Zisserman 2015, tables A, D, E): one linear layer instead of three."""

from collections.abc import Iterator, Sequence
from typing import Final

from torch import nn

from distilljob_trainer.models.initialize import he_normal

Groups = Sequence[Sequence[int]]  # widths of the 3x3 convolutions; a 2x2 max-pool ends each group

VGG11: Final[Groups] = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG16: Final[Groups] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
VGG19: Final[Groups] = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


def vgg11_bn_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Table A with BatchNorm, 9,231,114 parameters for 10 classes."""
    return _vgg(VGG11, num_classes, in_channels, batch_norm=True)


def vgg16_bn_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Table D with BatchNorm, 14,728,266 parameters for 10 classes."""
    return _vgg(VGG16, num_classes, in_channels, batch_norm=True)


def vgg19_bn_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Table E with BatchNorm, 20,040,522 parameters for 10 classes."""
    return _vgg(VGG19, num_classes, in_channels, batch_norm=True)


def vgg19_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """Table E as first published, without BatchNorm, 20,029,514 parameters for 10 classes."""
    return _vgg(VGG19, num_classes, in_channels, batch_norm=False)


def _vgg(groups: Groups, num_classes: int, in_channels: int, *, batch_norm: bool) -> nn.Module:
    classifier = nn.Linear(groups[-1][-1], num_classes)
    network = nn.Sequential(*_features(groups, in_channels, batch_norm=batch_norm), nn.Flatten(), classifier)
    he_normal(network)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return network


def _features(groups: Groups, channels: int, *, batch_norm: bool) -> Iterator[nn.Module]:
    for widths in groups:
        for width in widths:
            yield nn.Conv2d(channels, width, kernel_size=3, padding=1)
            if batch_norm:
                yield nn.BatchNorm2d(width)
            yield nn.ReLU(inplace=True)
            channels = width
        yield nn.MaxPool2d(2)
