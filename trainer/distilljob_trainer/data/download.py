"""Fetches a dataset's published files once, however many students ask at the same time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from distilljob_core.errors import DataError

PUBLISHED: Final = {"fashion_mnist": ("FashionMNIST", "FashionMNIST"), "cifar10": ("CIFAR10", "cifar-10-batches-py")}
"""Dataset -> torchvision's class, which knows addresses and checksums, and the folder it makes."""


class MissingDataError(DataError):
    """The files of a dataset are not there at all; files that are there but wrong are a plain DataError."""


def fetch(name: str, root: Path) -> Path:
    """Download a published dataset and give the folder that holds it.

    Into `root` if it is writable, else into the user's cache. Whole or not at all: files come to a temporary folder,
    are checked there by checksum, and are renamed.

    Raises:
        DataError: it could not be downloaded.
    """
    class_name, folder_name = PUBLISHED[name]
    base = _writable(root)
    with _locked(base):
        if not (base / folder_name).is_dir():
            with TemporaryDirectory(prefix=".download-", dir=base) as temporary:
                _download(name, class_name, temporary)
                Path(temporary, folder_name).rename(base / folder_name)
    return base


def _writable(root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _cache()
    return root if os.access(root, os.W_OK) else _cache()


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "distilljob" / "data"
    base.mkdir(parents=True, exist_ok=True)
    return base


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into this folder."""
    with (folder / ".download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(name: str, class_name: str, folder: str) -> None:
    from torchvision import datasets

    try:
        getattr(datasets, class_name)(folder, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"dataset {name}: the download failed: {reason}; put the files there by hand") from error
