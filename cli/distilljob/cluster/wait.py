"""`distilljob wait JOB`: until a job is where somebody wants it."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Final, Literal, get_args

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.follow import follow_job
from distilljob.cluster.jobs import Known, read_known
from distilljob.cluster.place import Place
from distilljob.console import in_time
from distilljob.errors import BadInput, CommandError, TimedOut
from distilljob_core.conditions import ConditionType

Goal = Literal["complete", "training", "suspended"]
_CONDITIONS: Final[Mapping[Goal, ConditionType]] = {
    "complete": ConditionType.COMPLETE,
    "training": ConditionType.PROGRESSING,
    "suspended": ConditionType.SUSPENDED,
}
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def run_wait(name: str, place: Place, goal: Goal, timeout: str | None) -> int:
    """Wait until a condition of a job is true; the exit code.

    Raises:
        NotFound: there is no such job, or it was deleted.
        BadInput: the timeout is no duration.
        TimedOut: it took too long.
        CommandError: the job failed, or ended without getting there.
    """
    assert goal in get_args(Goal)
    seconds = None if timeout is None else read_duration(timeout)
    with reach(place) as cluster:
        known = cluster.run(_wait(cluster, name, goal, seconds))
    result = known.status.result
    best = f", best student {result.best_student} with {100 * result.accuracy:.2f} %" if result else ""
    console.print_text(f"{name}: {_CONDITIONS[goal]}{best}")
    return 0


def read_duration(text: str) -> float:
    """Read a time as kubectl takes it: 90, 90s, 30m, 1h30m.

    Raises:
        BadInput: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise BadInput(f"--timeout {text} is no time; write for example 90s, 30m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()


async def _wait(cluster: Cluster, name: str, goal: Goal, seconds: float | None) -> Known:
    known: Known | None = None
    try:
        async with asyncio.timeout(seconds), aclosing(follow_job(cluster, name)) as bodies:
            async for body in bodies:
                known = read_known(body)
                if is_there(known, goal):
                    return known
    except TimeoutError:
        pass
    phase = f"; it is {known.status.phase}" if known else ""
    raise TimedOut(f"{name} is not {goal} after {in_time(seconds or 0)}{phase}")


def is_there(known: Known, goal: Goal) -> bool:
    """Say whether the job is where it is wanted.

    Raises:
        CommandError: it will never be.
    """
    if any(one.type == _CONDITIONS[goal] and one.status == "True" for one in known.state.conditions):
        return True
    if (outcome := known.state.outcome) is None:
        return False
    if outcome.kind == "Failed":
        raise CommandError(f"{known.name} failed: {outcome.message} ({outcome.reason})")
    raise CommandError(f"{known.name} has completed, and will never be {goal}")
