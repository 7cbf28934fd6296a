"""Writes deploy/manifests/install.yaml: what the chart makes with its defaults, for those without Helm."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from chart import CHART, NOTE, PARTS, ROOT
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
# The operator for the whole cluster. Put your registry in place of registry.example.com, see docs/how-to/install.md.
"""
OF_HELM: Final = re.compile(
    r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n|^  annotations:\n    helm\.sh/resource-policy: keep\n",
    re.MULTILINE,
)
"""What says that Helm has the object in hand."""


def main() -> int:
    """Render the chart."""
    images = [f"--set=images.{part}.repository=registry.example.com/distilljob-{part}" for part in PARTS]
    command = [str(program("helm")), "template", "distilljob", str(CHART), "--namespace=distilljob-system"]
    command += ["--skip-tests", *images]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rendered = re.sub(OF_HELM, "", rendered)
    path: Path = ROOT / "deploy/manifests/install.yaml"
    path.write_text(f"{HEAD}---\n{NAMESPACE}{rendered}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
