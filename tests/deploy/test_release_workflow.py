"""What a release ships, as its workflow makes it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from helms import ROOT


def steps(job: str) -> list[dict[str, Any]]:
    """Give the steps of one of its jobs."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"][job][
        "steps"
    ]
    return found


def test_the_manifests_of_a_release_name_its_own_images(tmp_path: Path):
    (script,) = [step["run"] for step in steps("release") if step.get("name") == "point the manifests at the images"]
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    environment = {"REGISTRY": "ghcr.io/Somebody", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=True)
    text = (tmp_path / "dist/install.yaml").read_text()
    assert set(re.findall(r"(\S+/distilljob-\w+):[\d.]+", text)) == {
        f"ghcr.io/somebody/distilljob-{part}" for part in ("operator", "aggregator", "trainer")
    }
    assert "registry.example.com" not in text


def test_nothing_is_released_that_was_not_tested():
    assert {"make check", "make verify", "make test"} <= {step.get("run") for step in steps("check")}
