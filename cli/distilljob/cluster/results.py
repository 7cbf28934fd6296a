"""What a job has published: which files somebody wants, and what their bytes must be."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from distilljob.errors import CommandError, NotFound
from distilljob_core.artifacts import (
    ENSEMBLE_FILE,
    METRICS_FILE,
    RESULT_FILE,
    EnsembleManifest,
    last_weights_file,
    metrics_file,
    network_file,
    selected_weights_file,
)
from distilljob_core.results import RunResult
from distilljob_core.spec.base import Problem

Part = Literal["best", "ensemble", "all"]
R = TypeVar("R", bound=BaseModel)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    size_bytes: int
    sha256: str
    """Hexadecimal."""


def read_listing(text: bytes) -> dict[str, int]:
    """Read what the pod said of its files: sizes in bytes, by name.

    Raises:
        CommandError: it is no such list, or a name would lead out of the folder that the files are for, or cannot be
            shown.
    """
    try:
        listing = {str(name): int(size) for name, size in json.loads(text)}
    except (TypeError, ValueError):
        raise _strange("instead of a list of files", text.decode(errors="replace")) from None
    for name in listing:
        if not name or "/" in name or name.startswith(".") or not name.isprintable():
            hint = "take the file away, or name an image that you trust with --image"
            told = Problem("the volume", "somebody else has written there, or the pod lies", hint)
            raise CommandError(f"the pod names a file {name!r}, which no job publishes", [told])
    return listing


def read_content(name: str, text: bytes) -> Content:
    """Read what the pod said of one file: its size and sha256.

    Raises:
        CommandError: it says something else.
    """
    said = text.decode(errors="replace").strip()
    size, _, sha256 = said.partition(" ")
    if not (size.isdecimal() and _SHA256.fullmatch(sha256)):
        raise _strange(f"instead of size and sha256 of {name}", said)
    return Content(int(size), sha256)


def _strange(instead: str, said: str) -> CommandError:
    hint = "name another image with --image; its python3 must be Python"
    return CommandError(f"{instead}, the pod gives something else", [Problem("the pod", f"says {said[:80]!r}", hint)])


def read_result(text: bytes, students: Collection[str]) -> RunResult:
    """Read result.json; what a newer version has added is left out.

    Args:
        text: the file.
        students: those of the job.

    Raises:
        CommandError: it is none, one of other students, or says what no job says.
    """
    result = _parsed(RunResult, RESULT_FILE, text)
    for each in _nothing_of_a_job(result, students):
        raise _unreadable(RESULT_FILE, f"says {each[:80]!r}, which is nothing of this job")
    return result


def _nothing_of_a_job(result: RunResult, students: Collection[str]) -> Iterator[str]:
    names = [student.name for student in result.students]
    yield from (name for name in names if name not in students)
    if result.best not in names:
        yield result.best
    shown = [*result.inexact_reasons, *(student.model for student in result.students)]
    yield from (text for text in shown if not text.isprintable())
    for student in result.students:
        yield from (sent.sha256 for sent in student.artifacts if not _SHA256.fullmatch(sent.sha256))


def _parsed(kind: type[R], file: str, text: bytes) -> R:
    try:
        return kind.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _unreadable(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _unreadable(file: str, why: str) -> CommandError:
    hint = "update this distilljob, if the cluster's is newer; else the file was damaged in the volume"
    return CommandError(f"{file} in the volume cannot be read", [Problem(file, why, hint)])


def wanted_files(part: Part, there: Iterable[str], result: RunResult, ensemble: bytes | None) -> list[str]:
    """Name the files to fetch, small ones first.

    Args:
        part: the best student, the ensemble with its members, or everything.
        there: names of all published files.
        result: what the job measured.
        ensemble: the content of ensemble.json, if there is one.

    Raises:
        NotFound: the job has no ensemble.
    """
    known = sorted(there)
    if part == "all":
        wanted = set(known)
    elif part == "ensemble":
        if ensemble is None:
            raise NotFound("this job has no ensemble: its method makes none, or its last round was never closed")
        members = _parsed(EnsembleManifest, ENSEMBLE_FILE, ensemble).members
        wanted = {ENSEMBLE_FILE, *(member.file for member in members)}
        wanted |= {network_file(member.student) for member in members}
    else:
        best = result.best
        wanted = {last_weights_file(best), selected_weights_file(best), network_file(best), metrics_file(best)}
    wanted |= {RESULT_FILE} | {name for name in known if name.endswith(METRICS_FILE)}
    return small_first(wanted & set(known))


def small_first(names: Iterable[str]) -> list[str]:
    """Put what describes a run before its weights."""
    return sorted(names, key=lambda name: (name.endswith(".safetensors"), name))


def published_contents(result: RunResult) -> dict[str, Content]:
    """Give what each file held when its student sent it off; files of students without a result are not in it."""
    sent = [artifact for student in result.students for artifact in student.artifacts]
    return {artifact.name: Content(artifact.size_bytes, artifact.sha256) for artifact in sent}
