"""The images of this checkout, built by buildah from the Dockerfiles that users build."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.base_images import IMAGES, PYTHON_IMAGE, Builder
from rig.box_namespaces import require_node_parts
from rig.build import alone

ROOT = Path(__file__).resolve().parents[3]
TAG = "e2e"
FULL_PARTS = (ROOT / "Dockerfile.trainer", ROOT / "requirements/trainer.lock", ROOT / "requirements/build.lock")
PROOF = ROOT / "tests/e2e/trainer-image.txt"


def node_images() -> list[Path]:
    """Give the archives of what a release and its jobs run.

    Raises:
        RigError: something is missing on this machine; it says what, and how to get it.
    """
    require_node_parts()
    return [operator_image(), aggregator_image(), slim_trainer_image()]


def operator_image(tag: str = TAG) -> Path:
    """Give the archive of the operator's image; another tag is another image."""
    return _archive("operator", ROOT / "Dockerfile.operator", tag)


def aggregator_image() -> Path:
    """Give the archive of the aggregator's image."""
    return _archive("aggregator", ROOT / "Dockerfile.aggregator", TAG)


@contextmanager
def full_trainer_image() -> Iterator[Path]:
    """Build the image with torch; nothing of its gigabytes stays afterwards."""
    builder, tag = Builder(), name("trainer", "full")
    with alone(IMAGES / "tags.lock"):
        builder.build(FULL_PARTS[0], tag, ROOT, {"VERSION": "full"}, keeps_layers=False)
        archive = builder.save(tag)
        builder.run("rmi", tag)
    try:
        yield archive
    finally:
        archive.unlink()


def is_full_image_proven() -> bool:
    """Whether the image with torch, as its Dockerfile and locks are now, has run a job."""
    return _proof() == PROOF.read_text()


def write_full_image_proof() -> None:
    """Write down, to be committed, that the image with torch has run a job."""
    PROOF.write_text(_proof())


def _proof() -> str:
    parts = [f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.relative_to(ROOT)}\n" for part in FULL_PARTS]
    return "".join(["# Written by make e2e: the trainer's image has run a job, built from these (sha256).\n", *parts])


def slim_trainer_image() -> Path:
    """Give the archive of the trainer's image whose dependencies are mounted."""
    return _archive("trainer", ROOT / "tests/e2e/Dockerfile.slim-trainer", TAG)


def megabytes_over_base(part: str) -> float:
    """Measure how much an image that was built adds to its base."""
    builder = Builder()
    sizes = [builder.size_bytes(image) for image in (name(part, TAG), PYTHON_IMAGE)]
    return (sizes[0] - sizes[1]) / 1e6


def name(part: str, tag: str) -> str:
    """Name an image."""
    return f"localhost/distilljob-{part}:{tag}"


def _archive(part: str, dockerfile: Path, tag: str) -> Path:
    builder = Builder()
    with alone(IMAGES / "tags.lock"):  # all checkouts on this machine share the tags
        return builder.save(builder.build(dockerfile, name(part, tag), ROOT, {"VERSION": tag}))
