"""AlexNet for 32x32 images: five convolutions (Krizhevsky et al. 2012), one linear layer, no BatchNorm, no dropout."""

from torch import nn


def alexnet_cifar(num_classes: int, *, in_channels: int = 3) -> nn.Module:
    """AlexNet's CIFAR form, 2,472,266 parameters for 10 classes; PyTorch's default initialization."""
    return nn.Sequential(  # the feature maps of a 32x32 image are 8, 4, 2, 1 pixels wide
        nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, num_classes),
    )
