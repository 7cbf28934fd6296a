"""Initial weights shared by the CIFAR networks."""

from torch import nn


def he_normal(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 2 / (k * k * out_channels)); its bias, if any, is 0.

    He et al. 2015, arXiv:1502.01852, the form that keeps the variance of the gradients.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
