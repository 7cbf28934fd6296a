"""What the aggregators of all jobs show, from one small server: pages of a real aggregator with each job's own facts.

A real aggregator is started and joined by four students, its pages are kept, and every job gets them with its UID, its
attempts and pods, and the times that are asked for.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench_operator.client import Object
from bench_operator.watch import Seen
from distilljob_core import names
from distilljob_core.exchange import Identity
from distilljob_core.lifecycle.model import Control
from distilljob_core.phases import StudentPhase
from distilljob_core.spec.load import check_job
from distilljob_operator.manifests.config import control_config_map, spec_config_map
from harness.aggregators import Aggregator
from harness.students import Student

RECORDED_UID = "0a0a0a0a-0000-0000-0000-000000000000"
SECONDS_PER_STEP = 0.1
STEPS_PER_EPOCH = 600


class Lie(Enum):
    """What an aggregator shows instead of the truth."""

    GONE = "source gone (503)"
    SILENT = "source stale (no answer)"
    FROZEN = "source stale (an old page again and again)"
    NAN = "all samples NaN"
    DEAD = "samples of a dead attempt, beside a table that knows better"


@dataclass
class Play:
    """What one student is taken for."""

    attempt: int
    pod_uid: str
    joined_seconds: float
    stuck_seconds: float | None = None
    """Since when it makes no steps."""
    before: tuple[int, str] = (0, "")
    """Attempt and pod that it replaced."""


@dataclass
class Stage:
    """One job as its aggregator would see it."""

    uid: str
    job: str
    students: dict[str, Play] = field(default_factory=dict)
    is_serving: bool = False
    lie: Lie | None = None
    kept: dict[str, str] = field(default_factory=dict)
    """Old pages, for as long as they are shown again and again."""


@dataclass(frozen=True)
class Recording:
    """Pages of a real aggregator whose students all are in one phase."""

    metrics: str
    """With places for what is filled in."""
    table: Object


class Pages:
    """Serves /{namespace}/{job}/metrics and /{namespace}/{job}/v1/status."""

    def __init__(self, at_work: Recording, at_rest: Recording) -> None:
        self._recordings = {False: at_work, True: at_rest}
        self._stages: dict[tuple[str, str], Stage] = {}
        self._runner: web.AppRunner
        self._rest_seconds: float | None = None
        self.num_served = 0

    async def open(self) -> str:
        """Listen; the template of the addresses."""
        application = web.Application()
        application.router.add_get("/{namespace}/{job}/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/{{namespace}}/{{job}}"

    async def close(self) -> None:
        """Listen no more; who still waits for an answer gets none."""
        await self._runner.cleanup()

    def rest(self, wanted: bool) -> None:
        """Have all students wait for the others from now on, without a step; or work again."""
        self._rest_seconds = time.time() if wanted else None

    def stage(self, namespace: str, job: str) -> Stage:
        """Give one job, to be played with."""
        return self._stages[namespace, job]

    def on_running(self, seen: Seen) -> None:
        """Take a pod that runs for one that joins, or serves."""
        labels = seen.labels
        key = (seen.namespace, labels[names.LABEL_JOB])
        stage = self._stages.setdefault(key, Stage(labels[names.LABEL_UID], key[1]))
        student = labels.get(names.LABEL_STUDENT)
        if student is None:
            stage.is_serving = True
            return
        past = stage.students.get(student)
        before = (past.attempt, past.pod_uid) if past else (0, "")
        stage.students[student] = Play(int(labels[names.LABEL_ATTEMPT]), seen.uid, time.time(), before=before)

    async def _answer(self, request: web.Request) -> web.Response:
        self.num_served += 1
        stage = self._stages.get((request.match_info["namespace"], request.match_info["job"]))
        if stage is None or not stage.is_serving or stage.lie is Lie.GONE:
            return web.Response(status=503, text="not now")
        if stage.lie is Lie.SILENT:
            await asyncio.sleep(60)
        path = request.match_info["path"]
        text = stage.kept.get(path) or self.text(stage, path)
        if stage.lie is Lie.FROZEN:
            stage.kept[path] = text
        return web.Response(text=text)

    def text(self, stage: Stage, path: str) -> str:
        """Give one page of one job."""
        now_seconds = time.time()
        recording = self._recordings[self._rest_seconds is not None]
        is_dead = stage.lie is Lie.DEAD and path == "metrics"
        facts = {name: self._facts(play, now_seconds, is_dead=is_dead) for name, play in stage.students.items()}
        if path == "v1/status":
            return _table(recording.table, stage, facts, now_seconds)
        filled = {f"{name}_{key}": value for name, known in facts.items() for key, value in known.items()}
        text = _only_of(recording.metrics, stage.students) % {"clock": now_seconds, **filled}
        return re.sub(r" \S+$", " NaN", text, flags=re.MULTILINE) if stage.lie is Lie.NAN else text

    def _facts(self, play: Play, now_seconds: float, *, is_dead: bool) -> Object:
        stops = [seconds for seconds in (play.stuck_seconds, self._rest_seconds) if seconds is not None]
        progressed_seconds = max(play.joined_seconds, min([now_seconds, *stops]))
        num_steps = int((progressed_seconds - play.joined_seconds) / SECONDS_PER_STEP)
        attempt, pod_uid = play.before if is_dead else (play.attempt, play.pod_uid)
        return {
            "attempt": attempt,
            "pod_uid": pod_uid,
            "step": num_steps,
            "epoch": num_steps / STEPS_PER_EPOCH,
            "heartbeat": now_seconds,
            "progress": progressed_seconds,
        }


def _table(recorded: Object, stage: Stage, facts: dict[str, Object], now_seconds: float) -> str:
    rows = [row | _row(facts[row["name"]]) for row in recorded["students"] if row["name"] in facts]
    changes: Object = {"job": stage.job, "uid": stage.uid, "clockTimestampSeconds": now_seconds, "students": rows}
    return json.dumps(recorded | changes)


def _row(facts: Object) -> Object:
    return {
        "attempt": facts["attempt"],
        "podUid": facts["pod_uid"],
        "step": facts["step"],
        "epoch": facts["epoch"],
        "lastHeartbeatTimestampSeconds": facts["heartbeat"],
        "lastProgressTimestampSeconds": facts["progress"],
    }


def _only_of(metrics: str, students: dict[str, Any]) -> str:
    """Leave out students that have not joined."""
    missing = [name for name in "abcd" if name not in students]
    if not missing:
        return metrics
    marks = [f'student="{name}"' for name in missing]
    return "".join(line for line in metrics.splitlines(True) if not any(mark in line for mark in marks))


async def record(folder: Path, distilljob: Object) -> Pages:
    """Run a real aggregator with four students, and keep what it shows while they work and while they wait."""
    metadata = {"name": "recorded", "namespace": "recorded", "uid": RECORDED_UID}
    job = check_job(distilljob | {"metadata": metadata})
    for config_map in (spec_config_map(job), control_config_map(job, Control())):
        for name, text in config_map["data"].items():
            (folder / name).write_text(text)
    aggregator = Aggregator(folder, "recorded")
    await aggregator.start()
    identities = [Identity(RECORDED_UID, name, 1, f"recorded-{name}") for name in "abcd"]
    students = [Student(aggregator, identity, identity.pod_uid) for identity in identities]
    try:
        for student in students:
            await student.join()
        at_work = await _shown(aggregator, StudentPhase.INDEPENDENT)
        for student in students:
            student.hang(StudentPhase.WAITING)
        at_rest = await _shown(aggregator, StudentPhase.WAITING)
    finally:
        for student in students:
            student.leave()
        await aggregator.kill()
    return Pages(at_work, at_rest)


async def _shown(aggregator: Aggregator, phase: StudentPhase) -> Recording:
    """Read the pages once all students are in that phase."""
    async with asyncio.timeout(60), aiohttp.ClientSession(aggregator.url) as session:
        while True:
            async with session.get("/v1/status") as answer:
                table = await answer.json()
            if all(row["phase"] == phase for row in table["students"]):
                break
            await asyncio.sleep(0.1)
        async with session.get("/metrics") as answer:
            return Recording(with_places(await answer.text()), table)


_PLACES = {
    "distilljob_student_attempt": "attempt",
    "distilljob_student_steps_total": "step",
    "distilljob_student_epoch": "epoch",
    "distilljob_student_last_heartbeat_timestamp_seconds": "heartbeat",
    "distilljob_student_last_progress_timestamp_seconds": "progress",
}


def with_places(metrics: str) -> str:
    """Leave places in recorded metrics for what differs from job to job and from time to time."""
    lines = []
    for line in metrics.replace("%", "%%").splitlines():
        name, student = re.split(r"[{ ]", line)[0], re.search(r'student="(\w+)"', line)
        if name == "distilljob_clock_timestamp_seconds":
            line = f"{name} %(clock)s"
        elif student and name in _PLACES:
            line = re.sub(r" \S+$", f" %({student[1]}_{_PLACES[name]})s", line)
        elif student and name == "distilljob_student_info":
            line = line.replace('attempt="1"', f'attempt="%({student[1]}_attempt)s"')
            line = line.replace(f'pod_uid="recorded-{student[1]}"', f'pod_uid="%({student[1]}_pod_uid)s"')
        lines.append(line)
    return "\n".join(lines) + "\n"
