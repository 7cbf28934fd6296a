"""The images of this checkout, built by buildah from the Dockerfiles that users build."""

from pathlib import Path

from rig.base_images import PYTHON_IMAGE, Builder

ROOT = Path(__file__).resolve().parents[3]
TAG = "e2e"


def operator_image(tag: str = TAG) -> Path:
    """Give the archive of the operator's image; another tag is another image."""
    return _archive("operator", ROOT / "Dockerfile.operator", tag)


def aggregator_image() -> Path:
    """Give the archive of the aggregator's image."""
    return _archive("aggregator", ROOT / "Dockerfile.aggregator", TAG)


def trainer_image() -> Path:
    """Give the archive of the image with torch: gigabytes and minutes."""
    return _archive("trainer", ROOT / "Dockerfile.trainer", "full")


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
    return builder.save(builder.build(dockerfile, name(part, tag), ROOT, {"VERSION": tag}))
