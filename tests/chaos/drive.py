"""The chaos driver: small real runs, disturbed by faults from a seed; the weights must come out the same.

python tests/chaos/drive.py --schedules 20 --seed 1
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import edges
import long
from faults import INJECTORS, Fault, Landing
from record import Record, edge_table, landing_line, summary, table
from run import NotDone, Run, Settings
from schedule import draw

POLL_SECONDS = 0.003
LIMIT_SECONDS = 900.0
"""A run that takes longer is stuck."""
SEEDS = 1_000_000


def undisturbed(folder: Path, settings: Settings = ()) -> dict[str, str]:
    """Run the job undisturbed; its weights."""
    run, begun_seconds = Run(folder, settings=settings), time.monotonic()
    try:
        run.start()
        while not run.look():
            time.sleep(0.1)
        attempts = {name: student["attempt"] for name, student in run.state()["students"].items()}
        print(f"undisturbed: {time.monotonic() - begun_seconds:.0f} s, attempts {attempts}", flush=True)
        return run.weights
    finally:
        run.end()
        remove(folder)


def disturbed(run: Run, record: Record, expected: dict[str, str], disturb: Callable[[Run, Record], None]) -> Record:
    """Run the job while something is done to it, and compare."""
    begun_seconds = time.monotonic()
    try:
        run.start()
        disturb(run, record)
        record.equal = run.weights == expected
    except NotDone as problem:
        record.problem = str(problem)
    finally:
        run.end()
    record.wall_seconds = round(time.monotonic() - begun_seconds, 1)
    conclude(run, record)
    return record


def suffer(run: Run, record: Record) -> None:
    """Let one schedule happen, and wait for the end."""
    begun_seconds = time.monotonic()
    for fault in draw(record.seed):
        record.landings.append(Landing(fault.kind, fault.victim, str(fault.moment)))
        inject(run, fault, record.landings[-1], begun_seconds)
    while not run.look():
        check_time(run)
        time.sleep(POLL_SECONDS)


def inject(run: Run, fault: Fault, landing: Landing, begun_seconds: float) -> None:
    """Wait for a fault's moment and let it happen."""
    due_seconds = None
    while not run.look():
        check_time(run)
        place = run.places.of(fault.moment.student)
        if due_seconds is None and fault.moment.is_reached(place):
            due_seconds = time.monotonic() + fault.moment.delay_seconds
        if due_seconds is not None and time.monotonic() >= due_seconds:
            if (victim := run.victim(fault.victim)) is not None:
                landing.pid, landing.at_seconds = victim.pid, round(time.monotonic() - begun_seconds, 2)
                landing.place(fault.moment.student, run.places.of(fault.moment.student))
                INJECTORS[fault.kind](run, fault, victim, landing)
                return
            if run.is_done(fault.victim):
                break
        time.sleep(POLL_SECONDS)
    landing.proof = landing.proof or f"{fault.victim} was done before"


def check_time(run: Run) -> None:
    """Give up on a run that does not end."""
    if run.watched_seconds > LIMIT_SECONDS:
        raise NotDone(f"not done after {LIMIT_SECONDS:.0f} s")


def conclude(run: Run, record: Record) -> None:
    """Note what the run remembers of itself."""
    students = run.state().get("students", {})
    record.attempts = {name: student["attempt"] for name, student in students.items()}
    record.restarts = {name: student.get("restarts", {}) for name, student in students.items()}
    record.runner_exit_codes = run.exit_codes
    record.peak_mib = {name: round(peak / 2**20, 1) for name, peak in run.peak_bytes.items()}
    if not record.problem and not record.equal:
        record.problem = "the weights differ from the undisturbed run's"
    if not record.problem and not any(landing.landed for landing in record.landings):
        record.problem = "nothing landed: nothing was tested"


def remove(folder: Path) -> None:
    """Remove a run directory and what lies beside it."""
    for path in folder.parent.glob(f"{folder.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def seeds(first: int, count: int, duration_seconds: float | None) -> Iterator[int]:
    """Give schedules' seeds: the first one itself, so that any schedule can be had alone."""
    until_seconds = None if duration_seconds is None else time.monotonic() + duration_seconds
    rng = random.Random(first)
    seed = first
    while count > 0 if until_seconds is None else time.monotonic() < until_seconds:
        yield seed
        seed, count = rng.randrange(SEEDS), count - 1


def schedules(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[Run, Record]]:
    """Run schedules one after the other."""
    expected = undisturbed(folder / "undisturbed")
    for seed in seeds(arguments.seed, arguments.schedules, arguments.duration):
        run = Run(folder / f"run-{seed}")
        record = disturbed(run, Record(seed, f"--schedules 1 --seed {seed}"), expected, suffer)
        if record.ok and max(record.attempts.values()) < 2:
            record.problem = "no student had a second attempt"
        yield run, record


def at_edges(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[Run, Record]]:
    """Kill every process at every edge."""
    expected = undisturbed(folder / "undisturbed", edges.SETTINGS)

    def walk(run: Run, record: Record) -> None:
        while not run.look():
            time.sleep(POLL_SECONDS)
        record.landings = edges.kills(run, watched, target)

    for watched, target in edges.pairs():
        run = edges.edge_run(folder / f"run-{watched}-{target}", watched, target)
        yield run, disturbed(run, Record(arguments.seed, "--edges"), expected, walk)


def at_length(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[Run, Record]]:
    """Watch the memory of one long run."""
    settings = long.settings(arguments.long)
    expected = undisturbed(folder / "undisturbed", settings)
    run = Run(folder / f"run-{arguments.seed}", settings=settings)
    again = f"--long {arguments.long} --seed {arguments.seed}"
    yield run, disturbed(run, Record(arguments.seed, again), expected, long.torment)
    print(json.dumps({"memory": long.memory(run)}))


def drive(arguments: argparse.Namespace) -> int:
    """Run everything that is asked for; 1 if a part of it failed."""
    records: list[Record] = []
    begun_seconds = time.monotonic()
    folder = arguments.jobs_dir or Path(tempfile.mkdtemp(prefix="distilljob-chaos-"))
    print(f"seed {arguments.seed}, in {folder}", flush=True)
    output = arguments.output.open("a") if arguments.output else None
    for number in (signal.SIGINT, signal.SIGTERM):  # the former may be ignored in a shell's background
        signal.signal(number, signal.default_int_handler)
    mode = at_edges if arguments.edges else at_length if arguments.long else schedules
    try:
        for run, record in mode(arguments, folder):
            records.append(record)
            report(record, output)
            if record.ok:
                remove(run.folder)
            else:
                print(f"kept: {run.folder}; again: python {sys.argv[0]} {record.replay}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(f"\n{edge_table(records) if arguments.edges else table(records)}\n")
    print(json.dumps({"summary": summary(records, time.monotonic() - begun_seconds)}))
    return int(not records or not all(record.ok for record in records))


def report(record: Record, output: TextIO | None) -> None:
    """Tell one schedule on standard output, and as a line of JSON."""
    result = "equal" if record.ok else f"FAILED: {record.problem}"
    attempts = ", ".join(f"{name} {attempt}" for name, attempt in record.attempts.items())
    print(f"\nseed {record.seed}: {result} in {record.wall_seconds:.0f} s; attempts: {attempts}")
    print("\n".join(map(landing_line, record.landings)), flush=True)
    if output is not None:
        output.write(record.to_json() + "\n")
        output.flush()


def duration(text: str) -> float:
    """Read 90s, 30m or 2h as seconds."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and drive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=20, help="how many; ignored with --duration")
    parser.add_argument("--seed", type=int, default=random.randrange(SEEDS), help="of the first schedule")
    parser.add_argument("--duration", type=duration, help="go on for so long: 90s, 30m, 2h")
    parser.add_argument("--edges", action="store_true", help="kill every process at every phase edge instead")
    parser.add_argument("--long", type=int, metavar="CYCLES", help="watch memory over one long run instead")
    parser.add_argument("--jobs-dir", type=Path, help="where run directories are made; failed ones stay there")
    parser.add_argument("--output", type=Path, help="gets one line of JSON a schedule")
    return drive(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
