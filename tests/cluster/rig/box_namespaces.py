"""A box: private mount, network and pid namespaces on this machine, without any link to its network."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rig.box_init import READY
from rig.box_keeper import NAMESPACES
from rig.build import RigError
from rig.processes import POLL_SECONDS, Port, Process, dying_with, only_child

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "nft": "nftables",
    "ip": "iproute2",
    "busybox": "busybox-static",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "prometheus": "prometheus",
}
"""What the node is made of, and what runs beside it -> the Debian package that brings it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT_SECONDS = 30.0
INIT_LOG = "box.log"


def require_node_parts() -> None:
    """Raise RigError, which names all that is missing on this machine and how to get it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise RigError("A real node needs root on Linux: namespaces, mounts and control groups of its own.")
    missing = {part: package for part, package in PACKAGES.items() if shutil.which(part, path=PATH) is None}
    if missing:
        packages = " ".join(dict.fromkeys(missing.values()))
        raise RigError(
            f"A real node needs {', '.join(missing)}, which this machine lacks. On Debian and Ubuntu:\n"
            f"apt-get install --no-install-recommends {packages}"
        )


class Box:
    """It ends with `stop`, or with the thread that started it; all that ran in it, and the folder, go with it."""

    def __init__(self, folder: Path, address: str, entrance: Port) -> None:
        self._folder = folder
        self._address = address
        self._entrance = entrance
        self._keeper: subprocess.Popen[bytes] | None = None
        self._init = 0

    def start(self) -> None:
        """Return once programs can be started in it."""
        log = self._folder / INIT_LOG
        descriptor = self._entrance.listen()
        end_with_starter = dying_with(os.getpid(), signal.SIGTERM)

        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it waits until the keeper asks for it
            end_with_starter()

        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "rig.box_keeper", str(self._folder), str(descriptor), self._address],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": PATH, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
                pass_fds=[descriptor],
                start_new_session=True,
                preexec_fn=prepare,
            )
        give_up_seconds = time.monotonic() + LIMIT_SECONDS
        while READY not in log.read_text():
            if self._keeper.poll() is not None or time.monotonic() > give_up_seconds:
                raise RigError(f"the box did not come up:\n{log.read_text()}")
            time.sleep(POLL_SECONDS)
        self._init = only_child(only_child(self._keeper.pid))
        self._entrance.release()  # the box alone listens now: without it, connections are refused

    def stop(self) -> None:
        """End everything in it at once; return when mounts, links, control groups and the folder are gone."""
        if self._keeper is not None:
            self._keeper.terminate()
            self._keeper.wait()

    def entering(self) -> list[str]:
        """Return what goes before a command that is to be one of the box's own programs."""
        return ["nsenter", f"--target={self._init}", *NAMESPACES, "--"]

    def visiting(self, resolver: Path) -> list[str]:
        """Return what goes before a command of the machine that is to use the box's network and this resolv.conf."""
        network = ["nsenter", f"--net=/proc/{self._init}/ns/net", "--"]
        mounts = ["unshare", "--mount", "--propagation", "private", "--"]
        return [*network, *mounts, "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolver)]


class BoxProcess(Process):
    """One of the box's own programs, with its output in a file outside; `pid` is the program's on the machine."""

    def __init__(self, box: Box, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        super().__init__([*box.entering(), *command], log, environment)
        try:
            self.pid = only_child(self._popen.pid)
        except OSError:
            self._popen.wait()
            raise RigError(f"{self.name} ended at once:\n{self.tail()}") from None

    def kill(self) -> None:
        """End it at once; `nsenter` ends after it."""
        if self._popen.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self._popen.wait()
