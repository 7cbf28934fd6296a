"""Our operator as a process, and everything that is asked of it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence

from bench_operator import groups
from bench_operator.client import Client, make_namespaces
from bench_operator.costs import Audit, per_group, usage
from bench_operator.crashes import Crasher, one_of_each_group
from bench_operator.load import Batch, Result, bring_up
from bench_operator.options import Options
from bench_operator.pages import Pages
from bench_operator.plane import Plane
from bench_operator.world import World
from rig.build import RigError
from rig.processes import Process

START_SECONDS = 60.0
STOP_SECONDS = 15.0
CHILDREN_PER_JOB = 16


class Operator:
    """`distilljob-operator run`, cluster-wide, as the administrator and without a Lease, as the peers had it."""

    def __init__(self, plane: Plane, pages_url: str, poll_seconds: float) -> None:
        self._log = plane.folder / "operator.log"
        self._argv = [sys.executable, "-m", "distilljob_operator.main", "run", f"--kubeconfig={plane.kubeconfig()}"]
        self._argv += [f"--{part}-image=registry.example.com/{part}:1" for part in ("trainer", "aggregator")]
        self._argv += ["--no-lease", "--http-bind=127.0.0.1", "--http-port=0", "--log-format=Json"]
        self._argv += [f"--aggregator-url={pages_url}", f"--poll-seconds={poll_seconds:g}"]
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    def launch(self, *flags: str) -> None:
        """Start it."""
        self._log.unlink(missing_ok=True)
        self._process = Process([*self._argv, *flags], self._log, os.environ)

    async def ready(self) -> None:
        """Wait until it is at work."""
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            while not self._process.has_said('"at work"'):
                self._process.check()
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()

    async def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGTERM)
        give_up_seconds = time.monotonic() + STOP_SECONDS
        while time.monotonic() < give_up_seconds:
            try:
                self._process.check()
            except RigError:
                break
            await asyncio.sleep(0.05)
        self._process.kill()


class Contest:
    """One run of our operator on a control plane of its own."""

    def __init__(self, plane: Plane, client: Client, pages: Pages, operator: Operator, options: Options) -> None:
        self.client = client
        self.pages = pages
        self.operator = operator
        self.options = options
        self.world = World(client, groups.READING)
        self.world.on_running.append(pages.on_running)
        self.crasher = Crasher(client, self.world)
        self.audit = Audit(plane.audit_log)
        self.namespaces: Sequence[str] = ()

    async def bring_up(self, names: Sequence[str], hang_seconds: int = 600) -> Result:
        """Have jobs made and running."""
        bodies = groups.bodies(names, self.namespaces, hang_seconds=hang_seconds)
        num = len(names)
        batch = Batch(bodies, names, num * CHILDREN_PER_JOB, num * groups.PODS_PER_JOB)
        limit_seconds = self.options.limit_seconds
        return await bring_up(
            self.client, self.world, self.audit, batch, pid=self.operator.pid, limit_seconds=limit_seconds
        )

    async def measure(self) -> Result:
        """Single jobs, all jobs, rest, progress, crashes."""
        options = self.options
        await self.world.start()
        self.namespaces = await make_namespaces(self.client, options.num_namespaces)
        idle = usage(self.operator.pid)
        singles = [await self.bring_up([f"single-{number}"]) for number in range(options.singles)]
        alone = one_of_each_group(self.world.current(), options.single_crashes)
        crash_alone = await self.crasher.measure(alone, options.single_gap_seconds)
        at_once = await self.bring_up([f"job-{number}" for number in range(options.jobs)])
        await asyncio.sleep(options.settle_seconds)
        settled = usage(self.operator.pid)
        moving = await self._window(at_rest=False)
        burst = await self.crasher.measure(one_of_each_group(self.world.current(), options.burst))
        gap_seconds = options.spread_seconds / options.spread_crashes
        chosen = one_of_each_group(self.world.current(), options.spread_crashes, turn=1)
        crash_live = await self.crasher.measure(chosen, gap_seconds)
        resting = await self._window(at_rest=True)
        return {
            "rss_idle_mib": round(idle.rss_mib),
            "rss_settled_mib": round(settled.rss_mib),
            "rss_peak_mib": round(usage(self.operator.pid).peak_mib),
            "single_running_seconds": [single["running_seconds"] for single in singles],
            "crash_alone": crash_alone,
            "at_once": at_once,
            "at_rest": resting,
            "moving": moving,
            "crash_burst": burst,
            "crash_live": crash_live,
        }

    async def _window(self, *, at_rest: bool) -> Result:
        """Count what the operator asks for and costs while all students wait, or all work."""
        self.pages.rest(at_rest)
        if at_rest:
            await asyncio.sleep(self.options.rest_seconds)
        jobs, seconds = self.options.jobs + self.options.singles, self.options.window_seconds
        self.audit.since_last()
        before = usage(self.operator.pid)
        await asyncio.sleep(seconds)
        cpu_seconds = usage(self.operator.pid).cpu_seconds - before.cpu_seconds
        requests = self.audit.since_last()
        if at_rest:
            self.pages.rest(False)
        return {
            "seconds": seconds,
            "cores": round(cpu_seconds / seconds, 3),
            "cpu_ms_per_job_and_minute": round(1000 * cpu_seconds / jobs * 60 / seconds, 1),
            "requests_per_job_and_minute": {
                what: round(number * 60 / seconds, 2) for what, number in per_group(requests, jobs).items()
            },
        }

    def faults(self) -> Result:
        """Count what should never be: restarts that nothing asked for, doubled attempts, lost restarts."""
        world, attempts = self.world, {}
        for attempt in world.uids:
            attempts[attempt.member] = max(attempts.get(attempt.member, 0), attempt.number)
        extra = {member: number - 1 - self.crasher.injected[member] for member, number in attempts.items()}
        pods = [sum(uid.startswith("Pod") for uid in uids) for uids in world.uids.values()]
        jobs = [sum(uid.startswith("Job") for uid in uids) for uids in world.uids.values()]
        return {
            "injected": self.crasher.injected.total(),
            "wrong_restarts": sum(number for number in extra.values() if number > 0),
            "duplicates": world.num_doubled + sum(number > 1 for number in (*pods, *jobs)),
            "lost_restarts": self.crasher.num_lost,
            "watch_reconnects": world.num_reconnects,
        }
