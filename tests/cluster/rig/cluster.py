"""A Kubernetes API server with fake nodes, whoever started it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from rig.build import RigError, program
from rig.fake_nodes import KUBELET_LABEL, fake_nodes
from rig.processes import Process
from rig.stages import stages, storage_class

LIMIT_SECONDS = 90.0
"""What has not come by then does not come."""
POLL_SECONDS = 0.05
DEFAULT_NODES: Mapping[str, int] = {"large": 3, "small": 1, "plain": 2}


class Cluster:
    """What tests ask of a cluster. One that was there before should have no other nodes: pods would be placed there."""

    def __init__(self, admin: Path | None = None, *, nodes: Mapping[str, int] = DEFAULT_NODES) -> None:
        self._admin = admin
        self._nodes = nodes
        self._processes: dict[str, Process] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="distilljob-rig-"))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Add fake nodes, their kubelets and a storage class, if somebody's `make control-plane` has not yet."""
        if self.kubectl("get", "nodes", f"--selector={KUBELET_LABEL}", "--output=name"):
            return
        configuration = self.folder / "stages.yaml"
        configuration.write_text(stages())
        self.apply([storage_class(), *fake_nodes(self._nodes)])
        self.spawn(
            "kwok",
            [
                f"--kubeconfig={self.kubeconfig()}",
                f"--config={configuration}",
                "--manage-all-nodes=false",
                f"--manage-nodes-with-label-selector={KUBELET_LABEL}",
                "--cidr=10.200.0.0/16",
                "--node-ip=127.0.0.1",
                "--node-lease-duration-seconds=40",
                "--server-address=127.0.0.1:0",  # it serves, and says so, once it watches everything
            ],
        )
        self._wait_for(lambda: self._processes["kwok"].has_said("Starting HTTP server"), "kwok")

    def stop(self) -> None:
        """End everything that was started, at once."""
        for process in reversed(self._processes.values()):
            process.kill()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig(self, user: str = "admin") -> Path:
        """Return a user's kubeconfig."""
        if self._admin is None or user != "admin":
            raise RigError(f"this cluster has no user {user}: unset DISTILLJOB_TEST_KUBECONFIG for this test")
        return self._admin

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a token that the API server issued for a service account (2 h)."""
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=2h").strip()
        config["users"][0]["user"] = {"token": token}
        path = self.folder / f"{namespace}.{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str = "admin") -> str:
        """Run kubectl; return what it prints, raise with what it complains about."""
        ended = subprocess.run(
            [str(program("kubectl")), f"--kubeconfig={self.kubeconfig(user)}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if ended.returncode != 0:
            raise RigError(f"kubectl {' '.join(arguments)} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects server-side."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--filename=-", stdin=listed)

    def install_crds(self, folder: Path) -> None:
        """Apply the custom resource definitions of a folder and wait until they are served and explained."""
        self.kubectl("apply", "--server-side", f"--filename={folder}")
        established = ("wait", "--for=condition=Established", f"--filename={folder}", "--timeout=30s")
        self._wait_for(lambda: self.kubectl(*established), "custom resource")  # kubectl fails where no condition is yet
        for file in folder.glob("*.yaml"):
            kind = yaml.safe_load(file.read_text())["metadata"]["name"]
            self._wait_for(lambda kind=kind: self.kubectl("explain", kind), f"explanation of {kind}")

    def _wait_for(self, attempt: Callable[[], object], what: str) -> None:
        """Try until it neither raises nor returns False."""
        give_up_seconds = time.monotonic() + LIMIT_SECONDS
        while True:
            for process in self._processes.values():
                process.check()
            told = ""
            try:
                if attempt() is not False:
                    return
            except (OSError, RigError) as error:
                told = str(error)
            if time.monotonic() > give_up_seconds:
                logs = "\n".join(f"{name}:\n{process.tail(5)}" for name, process in self._processes.items())
                raise RigError(f"no {what} after {LIMIT_SECONDS:.0f} s: {told}\n{logs}")
            time.sleep(POLL_SECONDS)

    def spawn(self, name: str, arguments: list[str]) -> None:
        """Start one of the programs."""
        command = [str(program(name)), *arguments]
        self._processes[name] = Process(command, self.folder / f"{name}.log", self._environment())

    def _environment(self) -> dict[str, str]:
        """Return an environment without proxies, and with a home of its own for kubectl's caches."""
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}
