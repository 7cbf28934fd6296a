"""One run under chaos: the command that a user would give, given again until the job is done."""

import json
import signal
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import job
from places import Places
from processes import AGGREGATOR, RUNNER, Victim, all_of, children_of, open_victim, owner_of, resident_bytes
from proxy import Proxy

SAMPLE_SECONDS = 0.25
MAXIMUM_STARTS = 20
PAUSE_SECONDS = END_SECONDS = 60.0
"""How long a process may take to save and leave; who does not look for longer has been stopped."""
LAST_LINES = 12
"""Of the runner's output, told when it ends for no reason that we know."""
PATIENCE_SECONDS = 120.0
"""How long something that has been done to a run may take to be felt; a student may have to start first."""


class NotDone(Exception):
    """The run did not come to its end; the text says why."""


ANY_CODE: frozenset[int] = frozenset()
"""Excuses every end: what was done may hurt the runner at any later time."""
Settings = tuple[str, ...]
"""As `--set` takes them."""


@dataclass(frozen=True, slots=True)
class _Undo:
    at_seconds: float
    latest_seconds: float
    undo: Callable[[], None]
    landed: Callable[[], bool]

    def is_due(self, now_seconds: float) -> bool:
        return now_seconds >= self.latest_seconds or (now_seconds >= self.at_seconds and self.landed())


class Run:
    """A run directory, its runner, and everything that was done to it and must be undone.

    Args:
        folder: the run directory; beside it lie its job file, its students' places and the clock's offset.
        chaos: more variables for all its processes.
        settings: of the job.
    """

    def __init__(self, folder: Path, chaos: dict[str, str] | None = None, settings: Settings = ()) -> None:
        self.folder = folder
        self.settings = settings
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.with_suffix(".yaml").write_text(job.YAML)
        self._clock = folder.with_suffix(".clock")
        self._clock.write_bytes(struct.pack("d", 0.0))
        self.places = Places(folder.with_suffix(".places"))
        files = {"CHAOS_CLOCK_FILE": str(self._clock), "CHAOS_PLACES": str(self.places.folder)}
        self._environment = job.environment({**files, **(chaos or {})})
        self.output: list[str] = []
        self.exit_codes: list[int] = []
        self.excuses: list[frozenset[int]] = []
        """Exit codes with which the runner may end, once for each thing that was done to it; ANY_CODE stays."""
        self.maximum_starts = MAXIMUM_STARTS
        self.samples: list[tuple[float, dict[str, int]]] = []
        """Resident bytes of runner and aggregator, with their time in seconds."""
        self.peak_bytes: Counter[str] = Counter()
        self._undo: list[_Undo] = []
        self.proxy = Proxy(folder / "state" / "grpc.address", self._student_at)
        self._process: subprocess.Popen[str] | None = None
        self.watched_seconds = 0.0
        """How long this run has been looked at; a driver that was itself stopped did not look."""
        self._sampled_seconds = time.monotonic()

    def start(self) -> None:
        """Give the command."""
        self._process = subprocess.Popen(
            job.command(self.folder, self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment,
            process_group=0,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def look(self) -> bool:
        """Undo what is due, sample memory, give the command again if need be; whether the job is done.

        Raises:
            NotDone: the runner ended in a way that no fault explains, or too often.
        """
        now_seconds = time.monotonic()
        if now_seconds - self._sampled_seconds >= SAMPLE_SECONDS:
            self.watched_seconds += min(now_seconds - self._sampled_seconds, PAUSE_SECONDS)
            self._sampled_seconds = now_seconds
            self._sample()
            self._undo_due(now_seconds)
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        self.exit_codes.append(code)
        if code == 0:
            return True
        excuse = next((excuse for excuse in self.excuses if code in excuse), None)
        if excuse is not None:
            self.excuses.remove(excuse)
        elif ANY_CODE not in self.excuses:
            words = " ".join("".join(self.output[-LAST_LINES:]).split())
            raise NotDone(f"the runner ended with code {code}, which nothing done to it explains: {words}")
        if len(self.exit_codes) >= self.maximum_starts:
            raise NotDone(f"the runner ended {self.maximum_starts} times")
        self.start()
        return False

    def victim(self, name: str) -> Victim | None:
        """Take hold of the runner, the aggregator or a student; None while it does not live."""
        assert self._process is not None
        runner = self._process.pid
        pid = runner if name == RUNNER else children_of(runner).get(name)
        return None if pid is None else open_victim(name, pid)

    def all_pids(self) -> list[int]:
        """Every living process of the run."""
        assert self._process is not None
        runner = self._process.pid
        return [runner, *{*children_of(runner).values(), *all_of(self.folder)}]

    def aggregator_clock_seconds(self) -> float | None:
        """Ask what the wall clock of the aggregator shows; None when there is no answer."""
        try:
            address = (self.folder / "state" / "http.address").read_text().strip()
            with urlopen(f"http://{address}/v1/status", timeout=3) as reply:
                return parsedate_to_datetime(reply.headers["Date"]).timestamp()
        except (OSError, ValueError):
            return None

    def status(self) -> dict[str, Any]:
        """Ask the aggregator for its table; empty when there is no answer."""
        try:
            address = (self.folder / "state" / "http.address").read_text().strip()
            with urlopen(f"http://{address}/v1/status", timeout=3) as reply:
                table: dict[str, Any] = json.load(reply)
        except (OSError, ValueError):
            return {}
        return table

    def step_clock(self, offset_seconds: float) -> None:
        """Put the wall clock of all processes of the run off."""
        with self._clock.open("r+b") as file:
            file.write(struct.pack("d", offset_seconds))

    @property
    def weights(self) -> dict[str, str]:
        """Digests of what the finished run left."""
        return job.weights(self.folder)

    def state(self) -> dict[str, Any]:
        """What the runner remembers; empty before its first word."""
        try:
            remembered: dict[str, Any] = json.loads((self.folder / "state.json").read_bytes())["lifecycle"]
        except FileNotFoundError:
            return {}
        return remembered

    def is_done(self, name: str) -> bool:
        """Whether a student has left its terminal record: there is nobody any more to whom anything could be done."""
        return bool(self.state().get("students", {}).get(name, {}).get("standing") == "Done")

    def last_words(self, student: str, attempt: int) -> list[str]:
        """How the runner saw an attempt fail by itself, which may have had no room for a word of its own."""
        end = self.state().get("students", {}).get(student, {}).get("last_termination") or {}
        failed = end.get("attempt") == attempt and end.get("exit_code") not in (None, 0, 137, 143)
        return [f"runner: attempt {attempt} exited {end['exit_code']}"] if failed else []

    def undo_later(self, seconds: float, undo: Callable[[], None], landed: Callable[[], bool] = lambda: True) -> None:
        """Have something undone in so many seconds, or later once it has landed, or at the end of the run."""
        now_seconds = time.monotonic()
        self._undo.append(_Undo(now_seconds + seconds, now_seconds + max(seconds, PATIENCE_SECONDS), undo, landed))

    def end(self) -> None:
        """Undo everything, and leave no process behind."""
        self._undo_due(float("inf"))
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pid in all_of(self.folder):
            victim = open_victim("", pid)
            if victim is not None:
                victim.send(signal.SIGKILL)
                victim.ends_within(10)
                victim.close()
        self.proxy.close()

    def _student_at(self, port: int) -> str:
        assert self._process is not None
        return owner_of(port, children_of(self._process.pid))

    def _undo_due(self, now_seconds: float) -> None:
        due = [undo for undo in self._undo if undo.is_due(now_seconds)]
        self._undo = [undo for undo in self._undo if undo not in due]
        for undo in due:
            undo.undo()

    def _sample(self) -> None:
        assert self._process is not None
        pids = {RUNNER: self._process.pid, AGGREGATOR: children_of(self._process.pid).get(AGGREGATOR)}
        sizes = {name: resident_bytes(pid) for name, pid in pids.items() if pid is not None}
        self.samples.append((time.monotonic(), sizes))
        for name, num_bytes in sizes.items():
            self.peak_bytes[name] = max(self.peak_bytes[name], num_bytes)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            self.output += process.stdout
