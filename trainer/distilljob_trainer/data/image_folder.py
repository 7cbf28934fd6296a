"""Images in folders, one folder a class: root/{train,test}/CLASS/*.

Shapes: N samples of a split, C = 3 channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from distilljob_core.errors import DataError, FactoryError
from distilljob_trainer.data.augment import Augmentation
from distilljob_trainer.data.split import InMemory, Normalization
from distilljob_trainer.data.stratify import subset
from distilljob_trainer.data.streaming import Streamed

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MINIMUM_THREADS: Final = 4  # decoding releases the interpreter's lock, and reading waits for disks

IMAGENET_MEAN: Final = "0.485, 0.456, 0.406"
IMAGENET_STD: Final = "0.229, 0.224, 0.225"


def image_folder(
    split: Literal["train", "test"],
    root: Path,
    *,
    size: int | None = None,
    stream: bool = False,
    train_samples: int | None = None,
    test_samples: int | None = None,
    mean: float | str = IMAGENET_MEAN,
    std: float | str = IMAGENET_STD,
) -> InMemory | Streamed:
    """RGB images of one size, decoded once into memory, or whenever they are needed.

    Ids follow the sorted paths, class by class. Augmentation in memory: pad 1/8 of the shorter side, random crop, flip;
    streamed: crop 8 % to 100 % of the image at random, scale it to the size, flip (Szegedy et al. 2015,
    arXiv:1409.4842).

    Args:
        split: training or test set.
        root: holds the folders train and test, with the same classes in both.
        size: cut every image to a centered square and scale it to this many pixels; null: all have one size already.
        stream: read images whenever they are needed, for folders that do not fit in memory; needs `size`.
        train_samples: a balanced subset of the training set; null = all.
        test_samples: a balanced subset of the test set; null = all.
        mean: of the channels, for values in 0..1; one number, or three in a text "0.5, 0.5, 0.5".
        std: standard deviation of the channels, likewise.

    Returns:
        uint8 [N, 3, H, W] or [3, H, W] a sample.

    Raises:
        DataError: folders missing or empty, or an image that does not decode; the text names the file.
        FactoryError: an option out of range.
    """
    if size is not None and (not isinstance(size, int) or size < 1):
        raise FactoryError(f"dataset option size: {size!r} is not a number of pixels")
    if stream and size is None:
        raise FactoryError("dataset option stream: needs the option size, the pixels of every image's side")
    normalization = Normalization(_channels("mean", mean), _channels("std", std))
    classes = _classes(root)
    num_samples = {"train": train_samples, "test": test_samples}[split]
    if stream and size is not None:
        return _streamed(*_list(root, split, classes, num_samples), size, classes, normalization)
    images_NCHW, labels_N = read_folder(root, split, classes, size=size, num_samples=num_samples)
    padding = min(images_NCHW.shape[-2:]) // 8
    return InMemory(images_NCHW, labels_N, classes, normalization, Augmentation(padding, flip=True))


def read_folder(
    root: Path, split: str, classes: Sequence[str], *, size: int | None, num_samples: int | None
) -> tuple[Tensor, Tensor]:
    """Decode root/split/CLASS/*, or a balanced subset of it: uint8 images [N, 3, H, W] and labels [N].

    Raises:
        DataError: a class without images, an image that does not decode or has another size than the first.
    """
    paths, labels_N = _list(root, split, classes, num_samples)
    return _decode_all(paths, size), labels_N


def _list(root: Path, split: str, classes: Sequence[str], num_samples: int | None) -> tuple[list[Path], Tensor]:
    by_class = [_images_in(root / split / name) for name in classes]
    labels_N = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(paths) for paths in by_class]))
    ids = subset(labels_N, num_samples, split=split)
    paths = list(chain.from_iterable(by_class))
    return [paths[i] for i in ids.tolist()], labels_N[ids]


@dataclass(frozen=True, slots=True)
class _Files:
    """Images as a map-style dataset."""

    paths: list[str]
    labels: list[int]
    size: int
    augment: Callable[[Image.Image], Image.Image] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = _decode(Path(self.paths[index]), self.size, self.augment)
        return torch.from_numpy(pixels).permute(2, 0, 1), self.labels[index]

    def content(self, index: int) -> bytes:
        """Give the file's bytes."""
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise DataError(f"{self.paths[index]}: cannot be read: {error.strerror}") from error


def _streamed(
    paths: Sequence[Path], labels_N: Tensor, size: int, classes: tuple[str, ...], normalization: Normalization
) -> Streamed:
    from torchvision.transforms import v2  # nothing else here needs torchvision

    augment = v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()])
    plain = _Files([str(path) for path in paths], labels_N.tolist(), size)
    return Streamed(plain, labels_N, classes, replace(plain, augment=augment), normalization, plain.content)


def _classes(root: Path) -> tuple[str, ...]:
    train, test = (_folders_in(root / split) for split in ("train", "test"))
    if train != test:
        only_one = sorted(set(train) ^ set(test))
        raise DataError(f"image_folder: {root}/train and {root}/test hold different classes: {', '.join(only_one[:8])}")
    if len(train) < 2:
        raise DataError(f"image_folder: {root / 'train'} holds {len(train)} class folders; at least two are needed")
    return train


def _folders_in(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"image_folder: no folder {folder}; expected {folder}/CLASS/*.jpg (or .png, ...)")
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _images_in(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise DataError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))})")
    return paths


def _decode_all(paths: Sequence[Path], size: int | None) -> Tensor:
    first = _decode(paths[0], size)
    pixels = np.empty((len(paths), *first.shape), np.uint8)  # [N, H, W, C]

    def decode_into(row: int) -> None:
        image = _decode(paths[row], size)
        if image.shape != first.shape:
            raise DataError(
                f"{paths[row]}: {image.shape[1]}x{image.shape[0]} pixels, but {paths[0]} has "
                f"{first.shape[1]}x{first.shape[0]}; set dataset.options.size"
            )
        pixels[row] = image

    with ThreadPoolExecutor(max(MINIMUM_THREADS, torch.get_num_threads())) as pool:
        for _ in pool.map(decode_into, range(len(paths))):  # the first damaged file in the order of ids is reported
            pass
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _decode(
    path: Path, size: int | None, augment: Callable[[Image.Image], Image.Image] | None = None
) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image: {error}; replace or remove the file") from error
    if augment is not None:
        rgb = augment(rgb)
    elif size is not None:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return np.array(rgb)


def _channels(option: str, value: float | str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in str(value).split(","))
    except ValueError:
        numbers = ()
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or (option == "std" and min(numbers) <= 0):
        raise FactoryError(f'dataset option {option}: {value!r} is neither a number nor a text such as "0.5, 0.5, 0.5"')
    return numbers
