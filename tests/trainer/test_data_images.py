import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilljob_core.errors import DataError, FactoryError
from distilljob_trainer import data
from distilljob_trainer.data import cifar10, fashion_mnist
from distilljob_trainer.data.registry import read_split


def write_images(root, *, classes=("ant", "bee"), per_class=(6, 3), size=(32, 32), suffix=".png"):
    """root/{train,test}/CLASS/00.png ...: noise from a fixed seed, losslessly stored."""
    random = np.random.default_rng(0)
    for split, count in zip(("train", "test"), per_class, strict=True):
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:02}{suffix}")
    return root


def pixels_of(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def test_an_image_folder_is_read_in_the_order_of_its_sorted_paths(tmp_path):
    root = write_images(tmp_path)
    train = read_split("image_folder", "train", root, {})
    paths = sorted((root / "train").rglob("*.png"))
    assert train.classes == ("ant", "bee")
    assert train.labels_N.tolist() == [0] * 6 + [1] * 6
    for sample_id, path in enumerate(paths):
        assert torch.equal(train.inputs[sample_id], pixels_of(path))


def test_files_that_are_no_images_by_name_are_passed_over(tmp_path):
    root = write_images(tmp_path)
    for name in (".hidden.png", "Thumbs.db", "readme.txt"):
        (root / "train" / "ant" / name).write_text("nothing")
    assert len(read_split("image_folder", "train", root, {})) == 12


def test_an_image_folder_subset_is_balanced_and_keeps_the_order(tmp_path):
    root = write_images(tmp_path)
    whole = read_split("image_folder", "train", root, {})
    part = read_split("image_folder", "train", root, {"train_samples": 4, "test_samples": 2})
    assert part.labels_N.tolist() == [0, 0, 1, 1]
    kept = [i for i, image in enumerate(whole.inputs) if any(torch.equal(image, other) for other in part.inputs)]
    assert torch.equal(whole.inputs[kept], part.inputs)


def test_size_cuts_a_centered_square(tmp_path):
    root = write_images(tmp_path, size=(12, 8))
    train = read_split("image_folder", "train", root, {"size": 8})
    assert torch.equal(train.inputs[0], pixels_of(root / "train/ant/00.png")[:, :, 2:10])
    assert train.augmentation == data.Augmentation(1, flip=True)


def test_mean_and_std_are_numbers_or_texts(tmp_path):
    root = write_images(tmp_path)
    assert read_split("image_folder", "train", root, {}).normalization.mean == (0.485, 0.456, 0.406)
    train = read_split("image_folder", "train", root, {"mean": 0.5, "std": "0.1, 0.2,0.3"})
    assert train.normalization == data.Normalization((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    "options", [{"mean": "0.1, 0.2"}, {"mean": "red"}, {"std": 0}, {"size": 0}, {"size": "32"}, {"train_samples": 1}]
)
def test_options_of_an_image_folder_out_of_range_are_named(tmp_path, options):
    with pytest.raises(FactoryError, match=f"option {next(iter(options))}"):
        read_split("image_folder", "train", write_images(tmp_path), options)


def damaged(root):
    (root / "train/bee/03.png").write_bytes(b"\x89PNG, but not really")
    return r"train/bee/03.png: not a readable image"


def truncated(root):
    path = root / "train/bee/04.png"
    path.write_bytes(path.read_bytes()[:600])
    return r"train/bee/04.png: not a readable image"


def of_another_size(root):
    Image.new("RGB", (31, 32)).save(root / "train/ant/05.png")
    return r"05.png: 31x32 pixels, but .*00.png has 32x32; set dataset.options.size"


def without_test(root):
    (root / "test").rename(root / "elsewhere")
    return r"no folder .*/test; expected"


def with_another_class(root):
    (root / "test/bee").rename(root / "test/wasp")
    return "different classes: bee, wasp"


def with_an_empty_class(root):
    (root / "train/cat").mkdir()
    (root / "test/cat").mkdir()
    return "train/cat: no images"


def with_one_class(root):
    for split in ("train", "test"):
        (root / split / "bee").rename(root / f"{split}-bee")
    return "holds 1 class folders"


@pytest.mark.parametrize(
    "break_it",
    [damaged, truncated, of_another_size, without_test, with_another_class, with_an_empty_class, with_one_class],
    ids=lambda f: f.__name__,
)
def test_a_damaged_image_folder_names_the_file(tmp_path, break_it):
    message = break_it(write_images(tmp_path))
    with pytest.raises(DataError, match=message):
        read_split("image_folder", "train", tmp_path, {})


def test_cifar10_as_an_image_folder_below_its_own_name(tmp_path):
    write_images(tmp_path / "cifar10", classes=cifar10.CLASSES, per_class=(2, 1))
    train = read_split("cifar10", "train", tmp_path, {})
    assert train.inputs.shape == (20, 3, 32, 32)
    assert train.normalization == cifar10.NORMALIZATION
    assert train.augmentation == data.Augmentation(4, flip=True)


def test_cifar10_images_of_another_size_are_refused(tmp_path):
    write_images(tmp_path, classes=cifar10.CLASSES, per_class=(1, 1), size=(28, 28))
    with pytest.raises(DataError, match=r"\[3, 28, 28\] instead of \[3, 32, 32\]"):
        read_split("cifar10", "train", tmp_path, {})


ROWS = np.random.default_rng(1).integers(0, 256, (10_000, 3_072), dtype=np.uint8)
LABELS = np.arange(10_000) % 10


def binary_batch(labels=LABELS):
    return np.column_stack([labels.astype(np.uint8), ROWS]).tobytes()


def python_batch(rows=ROWS, labels=LABELS):
    """A batch in the very opcodes of the published files, which Python 2 wrote with protocol 2."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
         b"M" + struct.pack("<H", rows.shape[0]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    )  # fmt: skip
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x0bbatch_labelU\x02ofU\x06labels" + listed + b"U\x04data" + array + b"u."


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The content of a batch in both forms, once on the disk: 30 MB each."""
    folder = tmp_path_factory.mktemp("batches")
    (folder / ".bin").write_bytes(binary_batch())
    (folder / "python").write_bytes(python_batch())
    return {".bin": folder / ".bin", "": folder / "python"}


@pytest.fixture
def write_batches(contents):
    """Makes all six batches of one form, the given ones with another content."""

    def write(folder, suffix, **others):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]):
            if name in others:
                (folder / f"{name}{suffix}").write_bytes(others[name])
            else:
                (folder / f"{name}{suffix}").symlink_to(contents[suffix])

    return write


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        pytest.param("cifar-10-batches-bin", ".bin", id="binary"),
        pytest.param("cifar-10-batches-py", "", id="python"),
        pytest.param("cifar10/cifar-10-batches-py", "", id="python-below"),
        pytest.param("cifar10", ".bin", id="binary-unpacked-flat"),
    ],
)
def test_published_cifar10_files_keep_their_order(tmp_path, write_batches, folder, suffix):
    write_batches(tmp_path / folder, suffix)
    train, test = (read_split("cifar10", split, tmp_path, {}) for split in ("train", "test"))
    assert (len(train), len(test)) == (50_000, 10_000)
    images = torch.from_numpy(ROWS).reshape(-1, 3, 32, 32)
    assert torch.equal(test.inputs, images)
    assert torch.equal(train.inputs[40_000:], images)
    assert torch.equal(test.labels_N, torch.from_numpy(LABELS))
    assert test.classes[0] == "airplane"


def test_a_subset_of_published_files_is_balanced(tmp_path, write_batches):
    write_batches(tmp_path / "cifar-10-batches-bin", ".bin")
    train = read_split("cifar10", "train", tmp_path, {"train_samples": 500})
    assert torch.bincount(train.labels_N).tolist() == [50] * 10


def test_a_truncated_binary_batch_is_named(tmp_path, write_batches):
    write_batches(tmp_path, ".bin", data_batch_3=binary_batch()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3.bin: 30729999 bytes instead of 30730000"):
        read_split("cifar10", "train", tmp_path, {})


def test_labels_out_of_range_name_the_batch(tmp_path, write_batches):
    write_batches(tmp_path, ".bin", data_batch_2=binary_batch(LABELS + 1))
    with pytest.raises(DataError, match=r"data_batch_2.bin: labels from 1 to 10"):
        read_split("cifar10", "train", tmp_path, {})


def test_a_missing_batch_is_named(tmp_path, write_batches):
    write_batches(tmp_path, ".bin")
    (tmp_path / "data_batch_5.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_5.bin: cannot be read: No such file"):
        read_split("cifar10", "train", tmp_path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(lambda: python_batch()[:-100_000], "UnpicklingError|EOFError", id="truncated"),
        pytest.param(lambda: python_batch(rows=ROWS[:9_999]), r"pixels \[9999, 3072\]", id="rows"),
        pytest.param(lambda: python_batch(labels=LABELS[:9_999]), r"labels \[9999\]", id="labels"),
        pytest.param(lambda: pickle.dumps({b"data": ROWS}), "KeyError: b'labels'", id="keys"),
        pytest.param(lambda: b"", "EOFError", id="empty"),
    ],
)
def test_a_damaged_python_batch_is_named(tmp_path, content, message):
    (tmp_path / "data_batch_1").write_bytes(content())
    with pytest.raises(DataError, match=f"data_batch_1: .*({message})"):
        cifar10.read_python(tmp_path / "data_batch_1")


class Payload:
    """What a hostile file would hold: unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_python_batch_runs_nothing_that_it_names(tmp_path):
    marker = tmp_path / "was-run"
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Payload(marker), b"labels": []}))
    with pytest.raises(DataError, match=r"data_batch_1: .*it refers to _?io.open"):
        cifar10.read_python(tmp_path / "data_batch_1")
    assert not marker.exists()


def test_missing_cifar10_says_where_it_looked_and_what_it_expects(tmp_path):
    with pytest.raises(DataError) as caught:
        read_split("cifar10", "train", tmp_path, {})
    for part in (str(tmp_path / "cifar10"), "data_batch_1.bin", "{train,test}/CLASS", "cifar-10-binary.tar.gz"):
        assert part in str(caught.value)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_fashion(folder: Path, pack=lambda content: content, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(count) % 251
        (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))


@pytest.mark.parametrize(
    ("folder", "pack", "suffix"),
    [
        pytest.param(".", bytes, "", id="plain"),
        pytest.param("FashionMNIST/raw", lambda content: gzip.compress(content, 1), ".gz", id="gzipped-below"),
    ],
)
def test_published_fashion_mnist_files_keep_their_order(tmp_path, folder, pack, suffix):
    write_fashion(tmp_path / folder, pack, suffix)
    train, test = (read_split("fashion_mnist", split, tmp_path, {}) for split in ("train", "test"))
    assert train.inputs.shape == (60_000, 1, 28, 28)
    assert test.inputs.shape == (10_000, 1, 28, 28)
    assert torch.equal(test.inputs[:, 0, 0, 0], torch.arange(10_000).remainder(251).byte())
    assert torch.equal(train.labels_N, torch.arange(60_000) % 10)
    assert train.classes[9] == "Ankle boot"


def test_damaged_fashion_mnist_files_are_named(tmp_path):
    path = tmp_path / "labels"
    whole = idx(np.zeros(10, np.uint8))
    path.write_bytes(whole)
    assert fashion_mnist.read_idx(path, (10,)).tolist() == [0] * 10
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="labels: holds 9 of 10 bytes; it is truncated"):
        fashion_mnist.read_idx(path, (10,))
    with pytest.raises(DataError, match=r"labels: not an IDX file of \[11\] bytes"):
        fashion_mnist.read_idx(path, (11,))


@pytest.mark.parametrize("keep", [slice(None, -4), slice(None, 12), slice(2, None)], ids=["tail", "start", "head"])
def test_a_damaged_gzip_file_is_named(tmp_path, keep):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx(np.arange(10, dtype=np.uint8)))[keep])
    with pytest.raises(DataError, match=r"labels.gz: cannot be read, probably truncated"):
        fashion_mnist.read_idx(path, (10,))


def test_fashion_mnist_labels_out_of_range_name_the_file(tmp_path):
    write_fashion(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(10_000, 10, np.uint8)))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: label 10 is not in 0..9"):
        read_split("fashion_mnist", "test", tmp_path, {})


def test_missing_fashion_mnist_says_where_it_looked_and_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as caught:
        read_split("fashion_mnist", "train", tmp_path, {})
    for part in ("train-images-idx3-ubyte.gz", str(tmp_path / "fashion_mnist"), "dataset-fashion-mnist"):
        assert part in str(caught.value)


def test_a_subset_with_a_holdout_loads_end_to_end(tmp_path):
    write_images(tmp_path, classes=("ant", "bee", "cat"), per_class=(20, 4), size=(16, 16))
    loaded = data.load(
        "image_folder",
        {"train_samples": 30},
        tmp_path,
        download="Never",
        augmentation="Default",
        holdout_fraction=0.2,
        holdout_maximum=100,
        seed=0,
        num_workers=0,
    )
    assert torch.bincount(loaded.train.labels_N[loaded.holdout_ids_N]).tolist() == [2, 2, 2]
    x_BCHW, y_B = next(loaded.training_batches([loaded.fit_ids_N[:8]], cycle=1, epoch=0, seed=0))
    assert (x_BCHW.shape, x_BCHW.dtype, y_B.shape) == ((8, 3, 16, 16), torch.float32, (8,))
