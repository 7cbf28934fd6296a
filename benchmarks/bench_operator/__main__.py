"""Run it: `make bench-operator`. JSON lines on standard output, the summary last."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench_operator import distilljob, floor, groups, jobset, jobset_build, page
from bench_operator.client import Client
from bench_operator.costs import load, yardstick_ms
from bench_operator.load import Result
from bench_operator.options import CONTESTANTS, QUICK_CONTESTANTS, Options, quick
from bench_operator.pages import record
from bench_operator.plane import Plane
from bench_operator.report import machine, summarize
from bench_operator.trials import all_trials
from rig.build import RigError, binaries

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parents[1] / "results"
QUICK_JOBS = 5


def main() -> int:
    """Measure all contestants in turn, each run in another order, and add it all up."""
    wanted = _arguments()
    contestants = QUICK_CONTESTANTS if wanted.quick else CONTESTANTS
    if wanted.contestants:
        contestants = tuple(wanted.contestants.split(","))
    options = Options(jobs=wanted.jobs or 100, runs=wanted.runs, contestants=contestants, trials=not wanted.no_trials)
    if wanted.quick:
        options = quick(wanted.jobs or QUICK_JOBS, contestants)
    try:
        lines = _measure(options)
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    summary = {"summary": summarize(lines, options)}
    print(json.dumps(summary), flush=True)
    if not wanted.quick:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"operator-{options.jobs}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, summary]))
        page.write(RESULTS)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-operator", description=__doc__)
    parser.add_argument("--jobs", type=int, help="DistillJobs of four students at once (default 100)")
    parser.add_argument("--runs", type=int, default=3, help="of every contestant (default 3)")
    parser.add_argument("--quick", action="store_true", help="everything once and small, within a minute")
    parser.add_argument("--contestants", metavar="NAMES", help=f"some of {','.join(CONTESTANTS)}")
    parser.add_argument("--no-trials", action="store_true", help="no hangs, blindness, kills and upgrade")
    return parser.parse_args()


def _measure(options: Options) -> list[Result]:
    binaries()
    if "jobset" in options.contestants:
        jobset_build.manager()
    lines = [machine(options)]
    print(json.dumps(lines[0]), flush=True)
    for run in range(options.runs):
        turn = run % len(options.contestants)
        for name in options.contestants[turn:] + options.contestants[:turn]:
            is_last = run == options.runs - 1
            begun_seconds, load_before = time.monotonic(), load()
            line = {"contestant": name, "run": run + 1, "load_before": load_before, "yardstick_ms": yardstick_ms()}
            try:
                line |= _contest(name, options, is_last)
            except Exception as error:  # one part that fails must not take an hour's measurement with it
                traceback.print_exc()
                line["error"] = repr(error)
            line["took_seconds"] = round(time.monotonic() - begun_seconds)
            lines.append(line)
            print(json.dumps(line), flush=True)
    return lines


def _contest(name: str, options: Options, is_last: bool) -> Result:
    """Give each contestant a control plane of its own."""
    with Plane(options.jobs) as plane:
        if name == "jobset":
            return asyncio.run(jobset.run(plane, options))
        if name == "jobset-floor":
            return asyncio.run(floor.of_jobsets(plane, options))
        plane.install_crds(ROOT / "deploy/crds")
        if name == "floor":
            return asyncio.run(floor.of_distilljobs(plane, options))
        return asyncio.run(_distilljob(plane, options, has_trials=is_last and options.trials))


async def _distilljob(plane: Plane, options: Options, *, has_trials: bool) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        pages = await record(Path(folder), groups.distilljob("recorded", "recorded"))
    operator = distilljob.Operator(plane, await pages.open(), options.poll_seconds)
    operator.launch()
    try:
        await operator.ready()
        async with Client(plane) as client:
            contest = distilljob.Contest(plane, client, pages, operator, options)
            result = await contest.measure()
            if has_trials:
                result |= await all_trials(contest)
            result["faults"] = contest.faults()
            await contest.world.stop()
            return result
    finally:
        operator.kill()
        await pages.close()


if __name__ == "__main__":
    sys.exit(main())
