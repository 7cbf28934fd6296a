"""JobSet's manager, built unmodified from its Go module, once per content."""

import os
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

from rig.build import CACHE, RigError

MODULE = Path(__file__).resolve().parents[1] / "jobset"
PACKAGE = "sigs.k8s.io/jobset"


def manager() -> Path:
    """Return the program, building it where it is missing (minutes, once per machine)."""
    digest = sha256(b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum")))
    path = CACHE / "jobset" / digest.hexdigest()[:16] / "manager"
    if not path.exists():
        print("Building JobSet's manager: two minutes, the first time.", file=sys.stderr, flush=True)
        partial = path.with_suffix(".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        _go("build", "-trimpath", "-ldflags", "-s -w", "-o", str(partial), PACKAGE)
        partial.rename(path)
    return path


@cache
def crds() -> Path:
    """Return the folder of its custom resource."""
    return Path(_go("list", "-m", "-f", "{{.Dir}}", PACKAGE).strip()) / "config/components/crd/bases"


def version() -> str:
    """Return its version."""
    return _go("list", "-m", "-f", "{{.Version}}", PACKAGE).strip()


def _go(*arguments: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:/usr/local/go/bin",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(CACHE / "go" / "build"),
        "GOMODCACHE": str(CACHE / "go" / "modules"),
    }
    try:
        ended = subprocess.run(
            ["go", *arguments], cwd=MODULE, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise RigError("there is no Go on the PATH: CONTESTANTS=floor,distilljob measures without JobSet") from error
    if ended.returncode != 0:
        raise RigError(f"go {' '.join(arguments)} failed: {ended.stderr.strip()[-1000:]}")
    return ended.stdout
