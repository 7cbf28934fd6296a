"""Where a student is, told by the trainer's own Progress: one line of JSON in a mapped file, newest attempt only.

The kernel keeps what was written to the mapping when the process dies, so the last place is the place of death.
"""

import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NUM_BYTES = 256
PATIENCE_SECONDS = 30.0
"""An aggregator that was killed is back by then, unless the runner has given it up."""


def install(folder: str) -> None:
    """Follow the Progress of this process; kill at its edges when CHAOS_EDGES names a file."""
    student, attempt = os.environ["DISTILLJOB_STUDENT"], int(os.environ["DISTILLJOB_ATTEMPT"])
    path = Path(folder) / student
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(b" " * NUM_BYTES)
    with temporary.open("r+b") as file:
        page = mmap.mmap(file.fileno(), NUM_BYTES)
    place = {"pid": os.getpid(), "attempt": attempt, "phase": "Starting", "epoch": 0.0, **resumed()}

    def write(**news: Any) -> None:
        place.update(news)
        page[:] = json.dumps(place).encode().ljust(NUM_BYTES)

    write()
    temporary.replace(path)
    follow(write, place, edge_killer(student))


def resumed() -> dict[str, int]:
    """Read from the newest checkpoint where this attempt begins: the trainer says so only after its first step."""
    folder = next(argument for argument in sys.orig_argv if argument.startswith("--checkpoints=")).partition("=")[2]
    for path in sorted(Path(folder).glob("checkpoint-*.json"), reverse=True):
        with suppress(ValueError, KeyError):
            cursor = json.loads(path.read_bytes())["body"]["cursor"]
            return {"cycle": cursor["cycle"], "step": cursor["steps"]}
    return {"cycle": 0, "step": 0}


def follow(write: Callable[..., None], place: dict[str, Any], on_edge: Callable[[str], None]) -> None:
    """Wrap the two methods through which the trainer says where it is."""
    from distilljob_trainer.progress import Progress

    enter, put = Progress.enter, Progress.place

    def entering(self: Progress, phase: Any) -> None:
        edge = f"{place['phase']} -> {phase.value}, cycle {place['cycle']}, step {place['step']}"
        enter(self, phase)
        write(phase=phase.value)
        on_edge(edge)

    def placing(self: Progress, **where: Any) -> None:
        put(self, **where)
        write(**where)

    Progress.enter, Progress.place = entering, placing  # type: ignore[method-assign]


def edge_killer(student: str) -> Callable[[str], None]:
    """Give what kills the process in CHAOS_TARGET the first time that the student in CHAOS_WATCHED is at an edge.

    Edges of the same epoch are the same: students that lose their runner save where they are, and so begin anywhere.
    """
    path = os.environ.get("CHAOS_EDGES")
    if path is None or os.environ["CHAOS_WATCHED"] != student:
        return lambda edge: None
    target, runner = os.environ["CHAOS_TARGET"], os.getppid()
    steps_per_epoch = int(os.environ["CHAOS_STEPS_PER_EPOCH"])

    def by_epoch(edge: str) -> tuple[str, int]:
        where, _, step = edge.strip().rpartition(" ")
        return where, int(step) // steps_per_epoch

    def kill_once(edge: str) -> None:
        with open(path, "a+") as file:
            file.seek(0)
            if by_epoch(edge) in [by_epoch(line.partition(": ")[2]) for line in file]:
                return
            victim, until_seconds = None, time.monotonic() + PATIENCE_SECONDS
            # Whoever adopts an orphan is none of our processes.
            while victim is None and os.getppid() == runner and time.monotonic() < until_seconds:
                victim = runner if target == "runner" else child_of(runner, target)
                time.sleep(0 if victim else 0.05)  # it is being started again
            if victim is None:
                return
            file.write(f"{victim}: {edge}\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(victim, signal.SIGKILL)

    return kill_once


def child_of(runner: int, target: str) -> int | None:
    """Find a child of the runner, a student or the aggregator; None while it does not run."""
    with suppress(OSError):  # one of them has just ended
        for child in Path(f"/proc/{runner}/task/{runner}/children").read_text().split():
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            told = dict(variable.decode(errors="replace").partition("=")[::2] for variable in variables)
            if "DISTILLJOB_SPEC_FILE" in told and told.get("DISTILLJOB_STUDENT", "aggregator") == target:
                return int(child)
    return None
