"""The chaos driver: small real runs, disturbed by faults from a seed; the weights must come out the same.

python tests/chaos/drive.py --schedules 20 --seed 1
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from faults import ON_PROCESSES, Fault, Landing
from record import Record, landing_line, summary, table
from run import NotDone, Run
from schedule import draw

POLL_SECONDS = 0.003
LIMIT_SECONDS = 900.0
"""A run that takes longer is stuck."""
SEEDS = 1_000_000


def reference(folder: Path, settings: tuple[str, ...] = ()) -> dict[str, str]:
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


def suffer(folder: Path, seed: int, expected: dict[str, str]) -> Record:
    """Run one schedule."""
    record, begun_seconds = Record(seed), time.monotonic()
    run = Run(folder)
    try:
        run.start()
        for fault in draw(seed):
            record.landings.append(Landing(fault.kind, fault.victim, str(fault.moment)))
            inject(run, fault, record.landings[-1], begun_seconds)
        while not run.look():
            check_time(begun_seconds)
            time.sleep(POLL_SECONDS)
        record.equal = run.weights == expected
    except NotDone as problem:
        record.problem = str(problem)
    finally:
        run.end()
    record.wall_seconds = round(time.monotonic() - begun_seconds, 1)
    conclude(run, record)
    return record


def inject(run: Run, fault: Fault, landing: Landing, begun_seconds: float) -> None:
    """Wait for a fault's moment and let it happen."""
    due_seconds = None
    while not run.look():
        check_time(begun_seconds)
        place = run.places.of(fault.moment.student)
        if due_seconds is None and fault.moment.is_reached(place):
            due_seconds = time.monotonic() + fault.moment.delay_seconds
        if due_seconds is not None and time.monotonic() >= due_seconds:
            if (victim := run.victim(fault.victim)) is not None:
                landing.pid, landing.at_seconds = victim.pid, round(time.monotonic() - begun_seconds, 2)
                landing.place(fault.moment.student, run.places.of(fault.moment.student))
                ON_PROCESSES[fault.kind](run, fault, victim, landing)
                return
            if run.is_done(fault.victim):
                break
        time.sleep(POLL_SECONDS)
    landing.proof = landing.proof or f"{fault.victim} was done before"


def check_time(begun_seconds: float) -> None:
    """Give up on a run that does not end."""
    if time.monotonic() - begun_seconds > LIMIT_SECONDS:
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
    if not record.problem and max(record.attempts.values(), default=0) < 2:
        record.problem = "no student had a second attempt: nothing was tested"


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


def drive(arguments: argparse.Namespace) -> int:
    """Run all schedules; 1 if one of them failed."""
    records, begun_seconds = [], time.monotonic()
    folder = arguments.jobs_dir or Path(tempfile.mkdtemp(prefix="distilljob-chaos-"))
    print(f"seed {arguments.seed}, in {folder}", flush=True)
    expected = reference(folder / "undisturbed")
    output = arguments.output.open("a") if arguments.output else None
    try:
        for seed in seeds(arguments.seed, arguments.schedules, arguments.duration):
            record = suffer(folder / f"run-{seed}", seed, expected)
            records.append(record)
            report(record, output)
            if record.ok:
                remove(folder / f"run-{seed}")
            else:
                print(f"kept in {folder}; again: python {sys.argv[0]} --schedules 1 --seed {seed}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(f"\n{table(records)}\n")
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
    parser.add_argument("--jobs-dir", type=Path, help="where run directories are made; failed ones stay there")
    parser.add_argument("--output", type=Path, help="gets one line of JSON a schedule")
    return drive(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
