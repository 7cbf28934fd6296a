"""From a folder that somebody names to the run in it."""

from pathlib import Path

from distilljob.errors import BadInput, NotFound
from distilljob.run_directory.folder import RunFolder
from distilljob_core.lifecycle.restarts import cut_message
from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import load_job
from distilljob_core.spec.problems import SpecProblems


def names_run(text: str) -> bool:
    """Say whether a word means a folder of this machine, not a job in a cluster: names of jobs hold no slash."""
    return "/" in text or text in (".", "..") or RunFolder(Path(text)).snapshot.exists()


def find_run(root: Path) -> RunFolder:
    """Find the run in a folder.

    Raises:
        NotFound: there is no such folder, or it holds no run.
    """
    folder = RunFolder(root)
    if not root.is_dir():
        raise NotFound(f"{root} is a file; name the folder of a run" if root.exists() else f"{root}: no such folder")
    if not folder.snapshot.exists():
        raise NotFound(
            f"{root} holds no run: {folder.snapshot.name} is missing; name the DIR of `distilljob run -o DIR`"
        )
    return folder


def read_snapshot(folder: RunFolder) -> DistillJob:
    """Read the job as the run began.

    Raises:
        BadInput: the file is damaged, or of a version that is not known here.
    """
    try:
        return load_job(folder.snapshot.read_text(encoding="utf-8"))
    except (SpecProblems, UnicodeDecodeError) as error:
        message = f"is not a job that this version knows: {cut_message(str(error))}"
        hint = "use the distilljob that made the run, or put back a copy of the file"
        raise BadInput("the run cannot be read", [Problem(str(folder.snapshot), message, hint)]) from None
