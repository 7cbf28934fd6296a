"""Images from this machine and its package mirrors alone: a builder, the node's own two, and a base with Python 3.11.

    builder = Builder()
    builder.build(Path("Dockerfile.operator"), "localhost/distilljob-operator:1", Path("."), {"VERSION": "1"})
    archive = builder.save("localhost/distilljob-operator:1")

No registry is asked: `FROM python:3.11-slim` finds a stand-in, Debian bookworm with its Python 3.11, made by
debootstrap once per machine (a minute). In it `pip install` into the system is allowed and `python` is in
/usr/local/bin, as in the image that it stands for; its packages are in dist-packages. pip inside a build reaches its
index as pip on this machine does, by a configuration that is mounted while the build lasts. Store and archives are in
the user's cache.
"""

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.build import CACHE, RigError, alone
from rig.node import PAUSE_IMAGE

IMAGES = CACHE / "images"
ARCHIVES = IMAGES / "archives"
BUSYBOX_IMAGE = "localhost/busybox:1"
PYTHON_IMAGE = "docker.io/library/python:3.11-slim"
"""The name in full, so that a Dockerfile's FROM and a pod's image find it by the short one."""

_PAUSE = 'FROM scratch\nCOPY busybox /busybox\nENTRYPOINT ["/busybox", "sleep", "2147483647"]\n'
_BUSYBOX = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nCMD ["sh"]\n'
_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_FINISH = """\
set -e
cd "$1"
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* var/log/* usr/lib/python3*/EXTERNALLY-MANAGED
for name in python python3 python3.11; do ln -s /usr/bin/python3.11 usr/local/bin/$name; done
for name in pip pip3; do ln -s /usr/bin/pip3 usr/local/bin/$name; done
rm etc/hostname
: > etc/resolv.conf
: > etc/pip.conf
"""
"""Runs for the root folder of the new system. What a build mounts exists there, so that no mount leaves a trace."""
_PIP_CONFIGURATION, _PIP_FILES = "/etc/pip.conf", "/mnt"
_APT_SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


class Builder:
    """buildah with a store of its own."""

    def build(
        self,
        dockerfile: Path,
        tag: str,
        context: Path,
        build_args: Mapping[str, str] | None = None,
        *,
        keeps_layers: bool = True,
    ) -> str:
        """Build an image and return its tag; unchanged layers come from the store, where they are kept."""
        if "python:3.11-slim" in dockerfile.read_text():
            python_base(self)
        given = [f"--build-arg={name}={value}" for name, value in (build_args or {}).items()]
        kept = f"--layers={str(keeps_layers).lower()}"
        isolated = ("--isolation=chroot", "--network=host", "--pull-never", kept)
        with tempfile.TemporaryDirectory() as folder:
            mounts = [f"--volume={source}:{place}:ro" for source, place in _pip_mounts(Path(folder))]
            self.run("build", *isolated, *mounts, *given, f"--file={dockerfile}", f"--tag={tag}", str(context))
        return tag

    def save(self, tag: str) -> Path:
        """Return the image as an archive that a node imports, with its tag; older ones of that tag are removed."""
        name = re.sub(r"[^\w.-]+", "_", tag)
        with alone(ARCHIVES / f"{name}.lock"):
            path = ARCHIVES / f"{name}@{self._inspect('FromImageID', tag)[:16]}.tar"
            if not path.exists():
                partial = path.with_suffix(".partial")
                partial.unlink(missing_ok=True)
                self.run("push", "--quiet", tag, f"docker-archive:{partial}:{tag}")
                for old in ARCHIVES.glob(f"{name}@*.tar"):
                    old.unlink()
                partial.rename(path)
        return path

    def size_bytes(self, tag: str) -> int:
        """Return the size of all layers, unpacked."""
        return sum(layer["size"] for layer in json.loads(self._inspect("Manifest", tag))["layers"])

    def has(self, tag: str) -> bool:
        """Whether the store has this image."""
        return bool(self.run("images", "--quiet", "--filter", f"reference={tag}").strip())

    def run(self, *arguments: str) -> str:
        """Run buildah; return what it prints, raise with what it complains about."""
        command = ["buildah", f"--root={IMAGES / 'store'}", f"--runroot={IMAGES / 'run'}", "--storage-driver=overlay"]
        return run([*command, *arguments])

    def _inspect(self, field: str, tag: str) -> str:
        return self.run("inspect", "--type=image", f"--format={{{{.{field}}}}}", tag).strip()


def pause_archive() -> Path:
    """Return the archive of what holds a pod's namespaces: busybox, asleep."""
    return _busybox_archive(PAUSE_IMAGE, _PAUSE)


def busybox_archive() -> Path:
    """Return the archive of BUSYBOX_IMAGE. It is static: its wget and nc cannot look names up; nslookup can."""
    return _busybox_archive(BUSYBOX_IMAGE, _BUSYBOX)


def python_base(builder: Builder) -> str:
    """Make sure the store has PYTHON_IMAGE; return that name."""
    key = hashlib.sha256(repr((_SUITE, _PACKAGES, _FINISH)).encode()).hexdigest()[:16]
    made = f"localhost/python-base:{key}"
    with alone(IMAGES / "lock"):
        if not builder.has(made):
            _debootstrap(builder, made)
        builder.run("tag", made, PYTHON_IMAGE)
    return PYTHON_IMAGE


def debian_mirror() -> str | None:
    """Return the mirror of Debian that apt on this machine uses, if it has one of this suite."""
    files = [path for known in _APT_SOURCES for path in ([known] if known.is_file() else sorted(known.glob("*")))]
    for file in files:
        for stanza in file.read_text().split("\n\n"):
            fields = dict(re.findall(r"^(\w+): *(.+)$", stanza, re.MULTILINE))
            if _SUITE in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split():
                return str(fields["URIs"].split()[0])
        if one_line := re.search(
            rf"^deb +(?:\[.*?\] +)?(\S+) +{_SUITE} +(?:.* )?main\b", file.read_text(), re.MULTILINE
        ):
            return one_line[1]
    return None


def run(command: Sequence[str]) -> str:
    """Run a command; return what it prints, raise with the end of what it complains about."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        tail = "\n".join(f"{ended.stdout}\n{ended.stderr}".strip().splitlines()[-30:])
        raise RigError(f"{' '.join(command)} ended with {ended.returncode}:\n{tail}")
    return ended.stdout


def _busybox_archive(tag: str, dockerfile: str) -> Path:
    program = Path(shutil.which("busybox", path="/bin:/usr/bin") or "/bin/busybox")
    content = program.read_bytes()
    if b"ld-linux" in content[:4096]:
        raise RigError(f"{program} is not static: apt-get install --no-install-recommends busybox-static")
    key = hashlib.sha256(dockerfile.encode() + content).hexdigest()[:16]
    path = ARCHIVES / f"{key}.tar"
    with alone(IMAGES / "lock"):
        if not path.exists():
            builder = Builder()
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(program, Path(folder, "busybox"))
                Path(folder, "Dockerfile").write_text(dockerfile)
                builder.build(Path(folder, "Dockerfile"), tag, Path(folder))
            builder.save(tag).rename(path)
    return path


def _debootstrap(builder: Builder, tag: str) -> None:
    print("Making a Python base image for the tests with debootstrap: a minute.", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        system = Path(folder, "system")
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(system)]
        # It mounts proc there; that mount is to end with it.
        run(["unshare", "--mount", "--propagation=private", "--", *bootstrap, *filter(None, [debian_mirror()])])
        run(["sh", "-c", _FINISH, "finish", str(system)])
        container = builder.run("from", "scratch").strip()
        builder.run("copy", "--quiet", container, str(system), "/")
        builder.run("config", "--cmd=python3", f"--env=PATH={_PATH}", container)
        builder.run("commit", "--quiet", "--rm", container, tag)


def _pip_mounts(folder: Path) -> list[tuple[Path, str]]:
    """Return what pip in a build needs to be configured as pip here is, as pairs of file and place.

    Files and folders that the configuration names, such as certificates, get new names below one place.
    """
    inside = folder / "files"
    inside.mkdir()
    mounts = []

    def moved(word: str) -> str:
        source = Path(word)
        if not source.is_absolute() or not source.exists():
            return word
        stub = inside / str(len(mounts))
        stub.mkdir() if source.is_dir() else stub.touch()
        mounts.append((source, f"{_PIP_FILES}/{stub.name}"))
        return mounts[-1][1]

    configuration = folder / "pip.conf"
    lines = [f"{name} = {' '.join(map(moved, value.split()))}\n" for name, value in _pip_settings().items()]
    configuration.write_text("[global]\n" + "".join(lines))
    return [(configuration, _PIP_CONFIGURATION), (inside, _PIP_FILES), *mounts]


def _pip_settings() -> dict[str, str]:
    """Return what configures pip here: its files, then its environment."""
    shown = run([sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]).splitlines()
    pairs = (line.split("=", 1) for line in sorted(shown, key=lambda line: line.startswith(":env:")))
    return {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, value in pairs}
