"""`distilljob download JOB DIR`: results of a job in a cluster, as the run directory that a local run leaves."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.arrival import Arrival, has_arrived
from distilljob.cluster.jobs import Known, find
from distilljob.cluster.place import Place
from distilljob.cluster.reader import ReaderExpired, reader_pod
from distilljob.cluster.results import Content, Part, published_contents, read_result, small_first, wanted_files
from distilljob.cluster.volume import Volume
from distilljob.errors import BadInput, CommandError, NotFound
from distilljob.job_file import dump_yaml
from distilljob.local.outcome import result_table, write_outcome
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core import names
from distilljob_core.artifacts import ENSEMBLE_FILE, RESULT_FILE
from distilljob_core.files import write_atomically
from distilljob_core.results import RunResult
from distilljob_core.spec.base import Problem
from distilljob_core.spec.resolve import student_names
from distilljob_core.spec.snapshot import snapshot
from distilljob_operator.errors import ApiError


def run_download(name: str, folder: Path, place: Place, part: Part, image: str | None) -> int:
    """Fetch results; the exit code. Given again, it fetches what is missing.

    Args:
        name: the job.
        folder: becomes its run directory.
        place: where the job is.
        part: the best student, the ensemble, or everything.
        image: of the pod that reads; None = that of the job's own pods.

    Raises:
        NotFound: there is no such job, or its results are gone.
        BadInput: the folder holds something else.
        CommandError: the job has published nothing yet, the reader does not start, the connection broke for good, or
            the disk is full.
    """
    with reach(place) as cluster:
        known = _find(cluster, name)
        _check_published(known, place, part)
        run = RunFolder(folder.expanduser())
        run.check_usable()
        try:
            with run.locked():
                _prepare(run, known)
                if not cluster.run(_fetch_all(cluster, known, run, part, image)):
                    console.out.print(f"{name} has no result yet; what its students have published is in {run.results}")
                    return 0
                restarts = {row.name: sum(row.restarts.model_dump().values()) for row in known.status.students}
                result = write_outcome(run, dict.fromkeys(student_names(known.job.spec), 0) | restarts)
        except OSError as error:
            raise CommandError(f"{folder} cannot be written: {error.strerror}") from None
    console.out.print(result_table(result, run))
    return 0


def _find(cluster: Cluster, name: str) -> Known:
    """Get the job.

    Raises:
        NotFound: there is none of that name; where it has been and has left results, the text says so.
    """
    try:
        return find(cluster, name)
    except NotFound as error:
        kept = cluster.run(_kept_claims(cluster, name))
        if not kept:
            raise
        told = "has the results of a job of this name that was deleted"
        hint = "mount it into a pod of your own, and copy its files; `kubectl delete pvc` gives it up"
        raise NotFound(error.title, [*error.problems, *(Problem(claim, told, hint) for claim in kept)]) from None


async def _kept_claims(cluster: Cluster, name: str) -> list[str]:
    """Name the claims with results of deleted jobs; none where they may not be listed."""
    try:
        page = await cluster.api.get(
            cluster.core("persistentvolumeclaims"), labelSelector=f"{names.LABEL_JOB}={name},{names.LABEL_UID}"
        )
    except ApiError:
        return []
    found = [claim["metadata"] for claim in page["items"]]
    return [
        each["name"] for each in found if each["name"] == names.results_claim(name, each["labels"][names.LABEL_UID])
    ]


def _check_published(known: Known, place: Place, part: Part) -> None:
    """Refuse what cannot be there yet.

    Raises:
        CommandError: it says what to wait for.
    """
    if known.status.result is not None or (part == "all" and known.status.start_time is not None):
        return
    phase = known.status.phase or "Pending"
    hint = f"wait for it: {place.command('wait', known.name)}"
    if known.has_ended:
        hint = "--all fetches what its students published before"
    raise CommandError(
        f"{known.name} has no result{'' if known.has_ended else ' yet'}", [Problem("status.phase", phase, hint)]
    )


def _prepare(run: RunFolder, known: Known) -> None:
    """Put the job into the run directory.

    Raises:
        BadInput: it holds another one.
    """
    if run.snapshot.exists() and json.loads(run.snapshot.read_bytes())["metadata"].get("uid") != known.uid:
        raise BadInput(f"{run.root} holds a run of another job; choose another folder")
    write_json(run.snapshot, snapshot(known.job, known.uid))  # first: it makes the folder one that may be used again
    run.results.mkdir(exist_ok=True)
    kept = {key: known.body[key] for key in ("apiVersion", "kind", "spec")}
    kept["metadata"] = {"name": known.name}
    write_atomically(run.job_yaml, dump_yaml(kept).encode())


async def _fetch_all(cluster: Cluster, known: Known, run: RunFolder, part: Part, image: str | None) -> bool:
    """Fetch the files, through one pod after the other if it takes that long; whether there is a result among them."""
    while True:
        before = _stored_bytes(run)
        try:
            async with reader_pod(cluster, known, image) as pod:
                return await _fetch_through(Volume(cluster, pod), known, run, part)
        except ReaderExpired:
            if _stored_bytes(run) <= before:
                raise
            console.err.print("[dim]the pod that reads has come to its end; another one goes on[/]")


def _stored_bytes(run: RunFolder) -> int:
    return sum(path.stat().st_size for path in run.results.iterdir())


async def _fetch_through(volume: Volume, known: Known, run: RunFolder, part: Part) -> bool:
    there = await volume.listing()
    if not there:
        raise CommandError(f"{known.name} has published nothing" + ("; was the volume emptied?" * known.has_ended))
    result = await _read_result(volume, known, run, there)
    if result is None:
        await _fetch_files(volume, run, {name: there[name] for name in small_first(there)}, {})
        return False
    ensemble = None
    if part == "ensemble" and ENSEMBLE_FILE in there:
        await _fetch_files(volume, run, {ENSEMBLE_FILE: there[ENSEMBLE_FILE]}, {})
        ensemble = (run.results / ENSEMBLE_FILE).read_bytes()
    wanted = {name: there[name] for name in wanted_files(part, there, result, ensemble)}
    await _fetch_files(volume, run, wanted, published_contents(result))
    return True


async def _read_result(volume: Volume, known: Known, run: RunFolder, there: Mapping[str, int]) -> RunResult | None:
    if RESULT_FILE in there:
        await _fetch_files(volume, run, {RESULT_FILE: there[RESULT_FILE]}, {})
        return read_result((run.results / RESULT_FILE).read_bytes(), student_names(known.job.spec))
    if known.status.result is not None:
        raise CommandError(f"the results of {known.name} hold no {RESULT_FILE}; was the volume emptied?")
    return None


async def _fetch_files(
    volume: Volume, run: RunFolder, sizes: Mapping[str, int], published: Mapping[str, Content]
) -> None:
    """Fetch what is not here yet.

    Args:
        volume: where the files are.
        run: where they go.
        sizes: in bytes, by name.
        published: what those held that students have sent off; others are looked at just before they are fetched.
    """
    with _progress() as progress:
        bar = progress.add_task("", total=sum(sizes.values()))
        for name, size in sizes.items():
            progress.update(bar, description=escape(name))
            path, content = run.results / name, published.get(name) or await volume.content(name)
            if has_arrived(path, content):
                progress.advance(bar, size)
                continue
            with Arrival(path, content, partial(progress.advance, bar)) as arrival:
                await volume.fetch(name, arrival)
                arrival.finish()
            console.err.print(f"[dim]{escape(name)}: {console.in_bytes(content.size_bytes)}[/]")


def _progress() -> Progress:
    """Show how far it is, where somebody looks."""
    shown = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*shown, console=console.err, transient=True, disable=not console.err.is_terminal)
