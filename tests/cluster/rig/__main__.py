"""Start a control plane by hand and keep it until Ctrl-C: `make control-plane`."""

import argparse
import signal
import sys
import time
from pathlib import Path

from rig.build import RigError, program
from rig.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    """Start it, install the custom resource, say how to use it, wait."""
    parser = argparse.ArgumentParser(prog="rig", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, help="fake nodes with 8 GPUs each (default 4)")
    parser.add_argument("--kubeconfig", type=Path, help="also write the administrator's kubeconfig here")
    wanted = parser.parse_args()
    begun_seconds = time.monotonic()
    try:
        with ControlPlane(nodes={"large": wanted.nodes, "small": 1, "plain": 2}) as plane:
            plane.install_crds(ROOT / "deploy/crds")
            kubeconfig = plane.kubeconfig()
            if wanted.kubeconfig:
                wanted.kubeconfig.write_bytes(kubeconfig.read_bytes())
                kubeconfig = wanted.kubeconfig
            print(f"ready after {time.monotonic() - begun_seconds:.1f} s; Ctrl-C ends it; logs in {plane.folder}")
            print(f"export KUBECONFIG={kubeconfig}\nalias kubectl={program('kubectl')}", flush=True)
            signal.pause()
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
