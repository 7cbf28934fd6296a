"""Datasets by name: built in, or a user's own factory."""

from pathlib import Path
from typing import Any, Final

from distilljob_core.errors import FactoryError
from distilljob_trainer.data.memory import into_memory
from distilljob_trainer.data.split import InMemory
from distilljob_trainer.data.streaming import Streamed
from distilljob_trainer.factories import call_factory, did_you_mean, import_factory

PACKAGE: Final = "distilljob_trainer.data"

# Named as a user's are, and so imported on use: one needs scikit-learn, another Pillow.
BUILT_IN: Final = {
    "digits": f"{PACKAGE}.digits:digits",
    "fashion_mnist": f"{PACKAGE}.fashion_mnist:fashion_mnist",
    "cifar10": f"{PACKAGE}.cifar10:cifar10",
    "image_folder": f"{PACKAGE}.image_folder:image_folder",
}


def read_split(name: str, split: str, root: Path, options: dict[str, Any]) -> InMemory | Streamed:
    """Read the training or the test set into memory, unless the factory says that it is to be streamed.

    Args:
        name: built in, or `package.module:factory` for a callable `factory(split, root, **options)`.
        split: "train" or "test".
        root: folder of the data.
        options: passed on.

    Raises:
        FactoryError: no such name, a factory that fails, or samples that are not what they must be.
        DataError: files missing or damaged.
    """
    if ":" not in name and name not in BUILT_IN:
        raise FactoryError(
            f"no built-in dataset {name!r}{did_you_mean(name, BUILT_IN)} Built in: {', '.join(BUILT_IN)}; "
            "others are named package.module:factory"
        )
    factory = import_factory("dataset", BUILT_IN.get(name, name))
    made = call_factory("dataset", name, factory, split, root, **options)
    return made if isinstance(made, Streamed) else into_memory(made, name)
