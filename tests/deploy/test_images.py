"""What goes into the images, and that what is locked for them is what these tests run on."""

import re
import subprocess

import pytest

from helms import ROOT, TOOLS

PARTS = ("operator", "aggregator", "trainer")
LOCKS = (*PARTS, "build", "tools", "dev")


def locked(name: str) -> dict[str, set[str]]:
    """Read names and versions of a lock file."""
    found: dict[str, set[str]] = {}
    text = (ROOT / f"requirements/{name}.lock").read_text()
    for package, version in re.findall(r"^([\w.-]+)==([\w.+]+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("part", [*PARTS, "build"])
def test_an_image_has_the_versions_that_are_tested(part: str):
    tested = locked("dev")
    assert {name: versions for name, versions in locked(part).items() if not versions <= tested.get(name, set())} == {}


@pytest.mark.parametrize("part", ["operator", "aggregator"])
def test_torch_stays_in_the_trainer(part: str):
    assert not set(locked(part)) & {"torch", "torchvision"}
    assert "torch" in locked("trainer")


@pytest.mark.parametrize("name", LOCKS)
def test_everything_that_is_locked_has_hashes_and_no_address(name: str):
    text = (ROOT / f"requirements/{name}.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index" not in text


def test_hadolint_has_nothing_to_say():
    files = sorted([*ROOT.glob("Dockerfile.*"), *ROOT.glob("tests/e2e/Dockerfile.*")])
    assert len(files) == 4
    ended = subprocess.run([TOOLS / "bin/hadolint", *files], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("part", PARTS)
def test_an_image_runs_as_nobody_and_brings_dependencies_in_a_layer_of_their_own(part: str):
    text = (ROOT / f"Dockerfile.{part}").read_text()
    assert "\nUSER 65532:65532\n" in text
    dependencies, own = text.index("COPY --from=build"), text.index("COPY --from=wheel")
    assert dependencies < own, "a change of ours would bring all dependencies again"
