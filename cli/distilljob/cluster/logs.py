"""`distilljob logs JOB STUDENT`: what a process of a job has said, attempt by attempt, from its pods."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import fetch, find, read_known
from distilljob.cluster.place import Place
from distilljob.errors import BadInput, CommandError, NotFound
from distilljob.watch.logs import RUNNER, printer
from distilljob_core import names
from distilljob_core.spec.resolve import student_names
from distilljob_operator.api import read_error
from distilljob_operator.connection import unavailable_without_answer
from distilljob_operator.errors import Invalid, Unavailable

LOOK_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 10.0
_NOT_YET: Final = ("Pending", "Unknown")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose logs are asked for."""

    job: str
    uid: str
    name: str

    @property
    def selector(self) -> str:
        """Select its pods."""
        who = f"{names.LABEL_ROLE}={names.AGGREGATOR}"
        if self.name != names.AGGREGATOR:
            who = f"{names.LABEL_ROLE}={names.STUDENT},{names.LABEL_STUDENT}={self.name}"
        return f"{names.LABEL_UID}={self.uid},{who}"

    @property
    def container(self) -> str:
        """The container that speaks."""
        return names.AGGREGATOR if self.name == names.AGGREGATOR else names.STUDENT


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt whose pod is there."""

    number: int
    """Of the aggregator, its pods in the order of their making."""
    pod: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def waits_for(self) -> str:
        """What is in the way of its first word; empty when it has started."""
        status = self.pod.get("status", {})
        if status.get("phase", "Pending") not in _NOT_YET:
            return ""
        waits = [found.get("state", {}).get("waiting") for found in status.get("containerStatuses", ())]
        told = [found for found in [*waits, *status.get("conditions", ())] if found and found.get("reason")]
        return ": ".join(filter(None, (told[0]["reason"], told[0].get("message", "")))) if told else "Pending"


def run_logs(job: str, name: str, attempt: int | None, place: Place, *, follow: bool) -> int:
    """Print a log; the exit code.

    Args:
        job: whose.
        name: a student or `aggregator`.
        attempt: None = the newest one whose pod is there.
        place: where the job is.
        follow: go on with what comes, over all later attempts unless one was named, until the job ends.

    Raises:
        NotFound: no such job, student or attempt.
        CommandError: it has not said anything yet; or the API server refused or failed.
    """
    with reach(place) as cluster, printer() as print_line:
        known = find(cluster, job)
        check_speaker(name, student_names(known.job.spec))
        speaker = Speaker(job, known.uid, name)
        work = (
            _follow(cluster, speaker, attempt, print_line) if follow else _once(cluster, speaker, attempt, print_line)
        )
        cluster.run(work)
    return 0


def check_speaker(name: str, students: Sequence[str]) -> None:
    """See that a job has this process.

    Raises:
        BadInput: it is one that only local runs have.
        NotFound: it has none of that name.
    """
    if name == RUNNER:
        raise BadInput("a job in a cluster has no runner; kubectl describe distilljob shows what the operator did")
    known = (*students, names.AGGREGATOR)
    if name not in known:
        raise NotFound(f"{name} is none of this job's processes: {', '.join(known)}")


def choose(speaker: Speaker, attempts: Sequence[Attempt], wanted: int | None) -> Attempt:
    """Pick the attempt to show.

    Raises:
        NotFound: its pod is not there.
    """
    if not attempts:
        raise NotFound(f"{speaker.name} has no pod now; what its attempts said went with their pods")
    found = [one for one in attempts if wanted in (None, one.number)]
    if not found:
        there = ", ".join(str(one.number) for one in attempts)
        is_one = "is attempt" if len(attempts) == 1 else "are attempts"
        raise NotFound(f"{speaker.name} has no log of attempt {wanted}; there {is_one} {there}")
    return found[-1]


def read_attempts(speaker: Speaker, pods: Sequence[Mapping[str, Any]]) -> list[Attempt]:
    """Number the pods of one process, oldest first."""
    in_order = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    if speaker.name == names.AGGREGATOR:
        return [Attempt(number, pod) for number, pod in enumerate(in_order, start=1)]
    numbered = (Attempt(int(pod["metadata"]["labels"][names.LABEL_ATTEMPT]), pod) for pod in in_order)
    return sorted(numbered, key=lambda one: one.number)


async def _attempts(cluster: Cluster, speaker: Speaker) -> list[Attempt]:
    page = await cluster.api.get(cluster.core("pods"), labelSelector=speaker.selector)
    return read_attempts(speaker, page["items"])


async def _once(cluster: Cluster, speaker: Speaker, wanted: int | None, print_line: Callable[[bytes], None]) -> None:
    attempt = choose(speaker, await _attempts(cluster, speaker), wanted)
    if attempt.waits_for:
        raise CommandError(f"{speaker.name}: attempt {attempt.number} has not started: {attempt.waits_for}")
    async for line in _lines(cluster, speaker, attempt, follow=False):
        print_line(line)


async def _follow(cluster: Cluster, speaker: Speaker, wanted: int | None, print_line: Callable[[bytes], None]) -> None:
    """Print an attempt's lines, and those of all after it if none was named, until nothing more can come."""
    shown, told = None, ""
    while True:
        is_over = read_known(await fetch(cluster, speaker.job)).has_ended
        attempt = next_attempt(speaker, await _attempts(cluster, speaker), wanted, shown)
        if attempt is not None and not attempt.waits_for:
            if shown is not None:
                console.err.print(f"[dim]==> {attempt.name} <==[/]")
            async for line in _lines(cluster, speaker, attempt, follow=True):
                print_line(line)
            shown = attempt
            if wanted is not None:
                return
        elif is_over:
            return
        elif attempt is not None and attempt.waits_for != told:
            told = attempt.waits_for
            console.err.print(f"[dim]attempt {attempt.number} has not started: {told}[/]")
        await asyncio.sleep(LOOK_SECONDS)


def next_attempt(
    speaker: Speaker, attempts: Sequence[Attempt], wanted: int | None, shown: Attempt | None
) -> Attempt | None:
    """Pick what to follow now: the attempt that was named, the newest one, and then each that comes after."""
    if shown is None:
        return choose(speaker, attempts, wanted) if attempts or wanted is not None else None
    later = [one for one in attempts if _is_later(one, shown)]
    return later[0] if later else None


def _is_later(one: Attempt, shown: Attempt) -> bool:
    made, made_before = (str(attempt.pod["metadata"]["creationTimestamp"]) for attempt in (one, shown))
    return one.name != shown.name and (made, one.number) > (made_before, 0)


def log_path(cluster: Cluster, speaker: Speaker, pod: str, *, follow: bool) -> str:
    """Give the path of a pod's log."""
    query = {"container": speaker.container} | ({"follow": "true"} if follow else {})
    return f"{cluster.core('pods')}/{pod}/log?{urlencode(query)}"


async def _lines(cluster: Cluster, speaker: Speaker, attempt: Attempt, *, follow: bool) -> AsyncIterator[bytes]:
    path = log_path(cluster, speaker, attempt.name, follow=follow)
    limits = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
    async with cluster.connection.request("GET", path, {"Accept": "*/*"}, None, limits) as response:
        if response.status >= 400:
            raise _no_log(speaker, attempt, await read_error(response))
        torn = b""
        with unavailable_without_answer():
            async for chunk in response.content.iter_any():
                *whole, torn = (torn + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        if torn:
            yield torn


def _no_log(speaker: Speaker, attempt: Attempt, error: Exception) -> Exception:
    """Say it in our words where the API server has no log to give; its other refusals are told as everywhere."""
    if isinstance(error, Invalid | Unavailable):
        return CommandError(f"{speaker.name}: the log of attempt {attempt.number} cannot be read: {error}")
    return error
