"""The images as they are built: how much they add, and whom they run as."""

import pytest

from real.images import aggregator_image, megabytes_over_base, name, operator_image
from rig.base_images import Builder

MOST_MEGABYTES = 220
BUILDS = {"operator": operator_image, "aggregator": aggregator_image}


@pytest.mark.parametrize("part", BUILDS)
def test_an_image_is_small_over_its_base(part: str):
    BUILDS[part]()
    size = megabytes_over_base(part)
    print(f"{part}: {size:.0f} MB over the base")
    assert 50 < size <= MOST_MEGABYTES


@pytest.mark.parametrize("part", BUILDS)
def test_an_image_runs_as_nobody_and_has_no_torch(part: str):
    BUILDS[part]()
    builder = Builder()
    container = builder.run("from", name(part, "e2e")).strip()
    try:
        inside = ("run", "--isolation=chroot", container, "--")
        assert builder.run(*inside, "id", "-u").strip() == "65532"
        found = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('distilljob_core') is not None)"
        assert builder.run(*inside, "python", "-c", found).split() == ["None", "True"]
        assert "usage" in builder.run(*inside, f"distilljob-{part}", "--help")
    finally:
        builder.run("rm", container)
