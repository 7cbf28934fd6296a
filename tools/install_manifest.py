"""Writes deploy/manifests/install.yaml: what the chart makes with its defaults, for those without Helm."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from chart import CHART, NOTE, ROOT
from rig.build import program

NAMESPACE: Final = """\
apiVersion: v1
kind: Namespace
metadata:
  name: distilljob-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
HEAD: Final = f"""\
# {NOTE.replace("generate.py", "install_manifest.py from deploy/helm/distilljob")}
# The operator for the whole cluster. Put your own images in place of distilljob/*, see docs/how-to/install.md.
"""


def main() -> int:
    """Render the chart."""
    images = [f"--set=images.{part}.repository=distilljob/{part}" for part in ("operator", "aggregator", "trainer")]
    command = [str(program("helm")), "template", "distilljob", str(CHART), "--namespace=distilljob-system"]
    rendered = subprocess.run([*command, "--skip-tests", *images], capture_output=True, text=True, check=True).stdout
    path: Path = ROOT / "deploy/manifests/install.yaml"
    path.write_text(f"{HEAD}---\n{NAMESPACE}{rendered}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
