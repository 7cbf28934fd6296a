"""Outlives the tests by a moment: starts a box, and removes what is left when it or whoever started it has ended."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from rig.box_cgroups import make_groups, remove_groups
from rig.processes import dying_with, only_child

NAMESPACES = ("--mount", "--net", "--pid")


def main() -> None:
    """Take what `box_init` takes; the folder's name is also that of the control groups."""
    folder, descriptor, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    awaited = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    make_groups(folder.name)
    apart = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    box = subprocess.Popen(
        [*apart, sys.executable, "-m", "rig.box_init", str(folder), descriptor, address],
        pass_fds=[int(descriptor)],
        preexec_fn=dying_with(os.getpid()),
    )
    signal.sigwait(awaited)
    # Not `unshare` itself: it ends only after its child, and that only after everything in the box.
    with suppress(OSError):
        os.kill(only_child(box.pid), signal.SIGKILL)
    box.wait()
    remove_groups(folder.name)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
