"""Models by name: built in, torchvision's, or a user's own factory."""

import inspect
from typing import Any, Final

from torch import nn

from distilljob_core.errors import FactoryError
from distilljob_trainer.factories import Factory, call_factory, did_you_mean, import_factory
from distilljob_trainer.models import alexnet, densenet, resnet, small, vgg

TORCHVISION: Final = "torchvision/"

BUILT_IN: Final[dict[str, Factory]] = {
    factory.__name__: factory
    for factory in (
        small.mlp_small,
        small.cnn_small,
        small.cnn_bn_small,
        small.vgg_mini,
        alexnet.alexnet_cifar,
        vgg.vgg11_bn_cifar,
        vgg.vgg16_bn_cifar,
        vgg.vgg19_bn_cifar,
        vgg.vgg19_cifar,
        resnet.resnet8_cifar,
        resnet.resnet20_cifar,
        resnet.resnet32_cifar,
        resnet.resnet56_cifar,
        resnet.resnet110_cifar,
        resnet.resnet18_cifar,
        densenet.densenet_bc_40_12,
        densenet.densenet_bc_100_12,
    )
}


def available() -> dict[str, str]:
    """Every built-in name with one line about it."""
    return {name: inspect.getdoc(factory) or "" for name, factory in BUILT_IN.items()}


def build(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """Build a network with freshly drawn weights; seed torch before the call.

    Args:
        name: a name of `available()`, `torchvision/<name>`, or `package.module:factory` for a callable
            `factory(num_classes, **options) -> nn.Module`.
        num_classes: K; the network must return logits [B, K] (`check_output`).
        options: passed on, for example `in_channels=1`.

    Raises:
        FactoryError: no such name, an import that fails, an option the factory does not take, a factory that
            raises or returns something else than a module.
    """
    if name.startswith(TORCHVISION):
        module = _torchvision(name, num_classes, options)
    else:
        module = call_factory("model", name, _find(name), num_classes=num_classes, **options)
    if not isinstance(module, nn.Module):
        raise FactoryError(f"model {name!r} returned {type(module).__name__}; it must return a torch.nn.Module")
    return module


def _find(name: str) -> Factory:
    if ":" in name:
        return import_factory("model", name)
    if name not in BUILT_IN:
        raise FactoryError(
            f"no built-in model {name!r}{did_you_mean(name, BUILT_IN)} Built in: {', '.join(BUILT_IN)}; "
            "others are named torchvision/<name> or package.module:factory"
        )
    return BUILT_IN[name]


def _torchvision(name: str, num_classes: int, options: dict[str, Any]) -> object:
    try:
        from torchvision import models
    except Exception as error:  # a build for another torch fails with RuntimeError, not ImportError
        raise FactoryError(
            f"model {name!r}: importing torchvision failed: {error}. "
            "Install the torchvision release that belongs to the installed torch"
        ) from error
    known = models.list_models(module=models)
    short = name.removeprefix(TORCHVISION)
    if short not in known:
        raise FactoryError(f"torchvision.models has no classifier {short!r}{did_you_mean(short, known)}")
    if "weights" in options or "pretrained" in options:
        raise FactoryError(f"model {name!r}: options cannot load weights; set the student's initialWeights instead")
    factory = models.get_model_builder(short)
    return call_factory("model", name, factory, weights=None, num_classes=num_classes, **options)
