"""The operator as users run it: a process with flags, a log and metrics."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

LIMIT_SECONDS = 240.0
PROGRAM = ("-m", "distilljob_operator.main")
DYING = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Ends with the process that started it. No code runs between fork and exec: gRPC's threads would not survive it."""


class OperatorProcess:
    """`distilljob-operator run` for one namespace; may be killed and started again.

    Args:
        kubeconfig: the user that it is.
        namespace: what it serves; None = everything.
        folder: gets its log.
        flags: further flags; later ones win.
        program: what Python runs.
    """

    def __init__(
        self, kubeconfig: Path, namespace: str | None, folder: Path, *flags: str, program: Sequence[str] = PROGRAM
    ) -> None:
        self.log = folder / "operator.log"
        self._argv = [sys.executable, "-c", DYING, str(os.getpid()), *program, "run", f"--kubeconfig={kubeconfig}"]
        self._argv += [f"--namespace={namespace}"] if namespace else []
        self._argv += ["--no-lease", "--http-bind=127.0.0.1", "--http-port=0"]
        self._argv += ["--log-format=Json", "--poll-seconds=1", *flags]
        self._process: asyncio.subprocess.Process | None = None
        self._begins_at = 0

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it is at work."""
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        async with asyncio.timeout(LIMIT_SECONDS):
            while not self.events("at work"):
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    def events(self, text: str) -> list[dict[str, Any]]:
        """Give the log lines of the newest start that say so."""
        with self.log.open("rb") as file:
            file.seek(self._begins_at)
            lines = [line for line in file if line.startswith(b"{") and line.endswith(b"}\n")]
        return [event for line in lines if (event := json.loads(line)).get("event") == text]

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        assert self._process is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self.send(signal.SIGTERM)
        return await self.wait()

    async def page(self, path: str) -> tuple[int, str]:
        """Get one of its pages; status and text."""
        [listening] = self.events("listening")
        url = f"http://127.0.0.1:{listening['port']}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def metric(self, name: str, **labels: str) -> float:
        """Add up the samples of that name with at least these labels."""
        _, text = await self.page("/metrics")
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def hasty(**patience: float) -> tuple[str, str]:
    """Name the program that has other patience than the operator, and is it otherwise; see hasty_operator.py."""
    return str(Path(__file__).with_name("hasty_operator.py")), json.dumps(patience)
