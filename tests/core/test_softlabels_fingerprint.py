"""Fingerprints tell datasets apart, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.errors import DataError
from distilljob_core.softlabels.fingerprint import Fingerprint, FingerprintBuilder

SAMPLES = [(0, b"zero"), (2, b""), (1, b"two"), (1, b"two")]


def fingerprint(samples=SAMPLES, preprocessing="28x28 grey, mean 0.5", num_classes=3) -> Fingerprint:
    builder = FingerprintBuilder(preprocessing, num_classes)
    builder.add([label for label, _ in samples], [content for _, content in samples])
    return builder.finish()


def test_fingerprint_is_the_same_for_the_same_data():
    assert fingerprint() == fingerprint()
    assert fingerprint().num_rows == len(SAMPLES)
    assert fingerprint().num_classes == 3
    assert len(fingerprint().digest) == 64


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(fingerprint(SAMPLES[::-1]), id="other-order"),
        pytest.param(fingerprint([(1, b"zero"), *SAMPLES[1:]]), id="other-label"),
        pytest.param(fingerprint([(0, b"zer0"), *SAMPLES[1:]]), id="other-content"),
        pytest.param(fingerprint([(0, b"zerot"), (2, b""), (1, b"wo"), (1, b"two")]), id="other-borders"),
        pytest.param(fingerprint(SAMPLES[:-1]), id="one-sample-less"),
        pytest.param(fingerprint(preprocessing="28x28 grey, mean 0.4"), id="other-preprocessing"),
        pytest.param(fingerprint(num_classes=4), id="other-classes"),
    ],
)
def test_fingerprint_differs_for(other):
    assert other.digest != fingerprint().digest


@given(st.sets(st.integers(1, 9)))
def test_fingerprint_does_not_depend_on_the_size_of_the_pieces(cuts):
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (10, 3, 4, 4), np.uint8), rng.integers(0, 5, 10)
    whole, pieces = FingerprintBuilder("none", 5), FingerprintBuilder("none", 5)
    whole.add(labels.tolist(), [image.tobytes() for image in pixels])
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 10], strict=True):
        pieces.add(labels[first:last], pixels[first:last])
    assert pieces.finish() == whole.finish()


def test_contents_may_lie_anyhow_in_memory():
    pixels = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    straight, strided = FingerprintBuilder("none", 2), FingerprintBuilder("none", 2)
    straight.add([0, 1], pixels.transpose(0, 2, 1).copy())
    strided.add([0, 1], pixels.transpose(0, 2, 1))
    assert strided.finish() == straight.finish()


def test_more_samples_may_follow_a_finish():
    builder = FingerprintBuilder("28x28 grey, mean 0.5", 3)
    builder.add([0], [b"zero"])
    assert builder.finish() == fingerprint(SAMPLES[:1])
    builder.add([2, 1, 1], [b"", b"two", b"two"])
    assert builder.finish() == fingerprint()


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_of_the_classes_is_refused_with_its_sample(label):
    builder = FingerprintBuilder("none", 3)
    builder.add([0, 1], [b"a", b"b"])
    with pytest.raises(DataError, match=rf"sample 2: label {label} is not in 0\.\.2"):
        builder.add([label], [b"c"])


def test_labels_and_contents_must_pair_up():
    with pytest.raises(ValueError, match="shorter"):
        FingerprintBuilder("none", 3).add([0, 1], [b"a"])
