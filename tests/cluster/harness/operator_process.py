"""The operator as users run it: a process with flags, a log and metrics."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from forks import Forked, servants

LIMIT_SECONDS = 240.0
PROGRAM = ("distilljob_operator.main",)


class OperatorProcess:
    """`distilljob-operator run` for one namespace; may be killed and started again.

    Args:
        kubeconfig: the user that it is.
        namespace: what it serves; None = everything.
        folder: gets its log.
        flags: further flags; later ones win.
        program: the module that is run, and what it is told first.
    """

    def __init__(
        self, kubeconfig: Path, namespace: str | None, folder: Path, *flags: str, program: Sequence[str] = PROGRAM
    ) -> None:
        self.log = folder / "operator.log"
        self._module, *told = program
        self._arguments = [*told, "run", f"--kubeconfig={kubeconfig}"]
        self._arguments += [f"--namespace={namespace}"] if namespace else []
        self._arguments += [f"--{part}-image=registry.example.com/{part}:1" for part in ("trainer", "aggregator")]
        self._arguments += ["--no-lease", "--http-bind=127.0.0.1", "--http-port=0"]
        self._arguments += ["--log-format=Json", "--poll-seconds=1", *flags]
        self._process: Forked | None = None
        self._begins_at = 0

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it is at work."""
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        own = {**os.environ, **(environment or {})}
        if self._process is not None:
            self._process.close()
        with self.log.open("ab") as log:
            self._process = servants().start(
                self._module, self._arguments, own, stdout=log.fileno(), stderr=log.fileno()
            )
        async with asyncio.timeout(LIMIT_SECONDS):
            while not self.events("at work"):
                assert self._process.poll() is None, self.log.read_text()
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
        code = await asyncio.to_thread(self._process.wait, LIMIT_SECONDS)
        self._process.close()
        return code

    async def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
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
    return "harness.hasty_operator", json.dumps(patience)
