"""`distilljob download JOB DIR`: results of a job in a cluster, as the run directory that a local run leaves."""

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import Known, find
from distilljob.cluster.place import Place
from distilljob.cluster.reader import RESULTS, reader_pod
from distilljob.cluster.results import Part, read_listing, wanted_files
from distilljob.cluster.shell import ProgramFailed, output_of
from distilljob.errors import BadInput, CommandError
from distilljob.job_file import dump_yaml
from distilljob.local.outcome import result_table, write_outcome
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core.artifacts import ENSEMBLE_FILE, RESULT_FILE
from distilljob_core.files import sync_directory, write_atomically
from distilljob_core.spec.base import Problem
from distilljob_core.spec.resolve import student_names
from distilljob_core.spec.snapshot import snapshot
from distilljob_operator.errors import Unavailable

TRIES: Final = 5
PAUSE_SECONDS: Final = 1.0
_LIST: Final = """\
import hashlib, json, os, sys
found = []
for name in sorted(os.listdir(sys.argv[1])):
    path = os.path.join(sys.argv[1], name)
    if name.startswith(".") or not os.path.isfile(path):
        continue
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    found.append((name, os.path.getsize(path), digest.hexdigest()))
print(json.dumps(found))
"""
_READ: Final = """\
import shutil, sys
with open(sys.argv[1], "rb") as file:
    file.seek(int(sys.argv[2]))
    shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
"""


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
        CommandError: the job has no result yet, the reader does not start, the connection broke for good, or the disk
            is full.
    """
    with reach(place) as cluster:
        known = find(cluster, name)
        if known.status.result is None:
            phase = known.status.phase or "Pending"
            command = place.command("wait", name)
            raise CommandError(f"{name} has no result yet", [Problem("status.phase", phase, f"wait for it: {command}")])
        run = _prepare(folder, known)
        try:
            cluster.run(_fetch_all(cluster, known, run, part, image))
            restarts = {row.name: sum(row.restarts.model_dump().values()) for row in known.status.students}
            counted = dict.fromkeys(student_names(known.job.spec), 0) | restarts
            result = write_outcome(run, counted)
        except OSError as error:
            raise CommandError(f"{folder} cannot be written: {error.strerror}") from None
    console.out.print(result_table(result, run))
    return 0


def _prepare(folder: Path, known: Known) -> RunFolder:
    """Make the run directory, with the job in it.

    Raises:
        BadInput: it holds something else.
    """
    run = RunFolder(folder.expanduser())
    run.check_usable()
    own = snapshot(known.job, known.uid)
    if run.snapshot.exists() and json.loads(run.snapshot.read_bytes())["metadata"].get("uid") != known.uid:
        raise BadInput(f"{folder} holds a run of another job; choose another folder")
    try:
        run.results.mkdir(parents=True, exist_ok=True)
        write_json(run.snapshot, own)
        kept = {key: known.body[key] for key in ("apiVersion", "kind", "spec")}
        kept["metadata"] = {"name": known.name}
        write_atomically(run.job_yaml, dump_yaml(kept).encode())
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}; choose another folder") from None
    return run


async def _fetch_all(cluster: Cluster, known: Known, run: RunFolder, part: Part, image: str | None) -> None:
    async with reader_pod(cluster, known, image) as pod:
        listing = read_listing(await _read(cluster, pod, _LIST, RESULTS))
        if RESULT_FILE not in listing:
            raise CommandError(f"the results of {known.name} hold no {RESULT_FILE}; was the volume emptied?")
        result: Mapping[str, Any] = json.loads(await _content(cluster, pod, RESULT_FILE))
        ensemble = await _content(cluster, pod, ENSEMBLE_FILE) if ENSEMBLE_FILE in listing else None
        for name in wanted_files(part, listing, result, ensemble):
            size, digest = listing[name]
            await _fetch(cluster, pod, run.results / name, size, digest)


async def _fetch(cluster: Cluster, pod: str, path: Path, size: int, sha256: str) -> None:
    """Bring one file; it appears under its name when it is whole and on disk. What is there already stays."""
    if _is_there(path, sha256):
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            digest = hashlib.sha256()
            for attempt in range(1, TRIES + 1):
                try:
                    await _append(cluster, pod, path.name, file, digest)
                    break
                except Unavailable:
                    if attempt == TRIES:
                        raise
                    await asyncio.sleep(PAUSE_SECONDS)
            file.flush()
            os.fsync(file.fileno())
            if (file.tell(), digest.hexdigest()) != (size, sha256):
                raise CommandError(f"{path.name} arrived with other bytes than it left; give the command again")
        temporary.rename(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    console.err.print(f"[dim]{path.name}: {size / 1e6:.1f} MB[/]")


def _is_there(path: Path, sha256: str) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


async def _append(cluster: Cluster, pod: str, name: str, file: Any, digest: Any) -> None:
    """Go on with a file where it stops."""
    command = ("python3", "-c", _READ, f"{RESULTS}/{name}", str(file.tell()))
    try:
        async with aclosing(output_of(cluster, pod, command)) as chunks:
            async for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
    except ProgramFailed as error:
        raise CommandError(f"{name} cannot be read: {error}") from None


async def _content(cluster: Cluster, pod: str, name: str) -> bytes:
    return await _read(cluster, pod, _READ, f"{RESULTS}/{name}", "0")


async def _read(cluster: Cluster, pod: str, *program: str) -> bytes:
    """Give all that a short program of Python prints."""
    try:
        async with aclosing(output_of(cluster, pod, ("python3", "-c", *program))) as chunks:
            return b"".join([chunk async for chunk in chunks])
    except ProgramFailed as error:
        raise CommandError(f"the results cannot be read: {error}") from None
