"""`distilljob report`: from run directories to one page."""

from collections.abc import Sequence
from pathlib import Path

from distilljob import console
from distilljob.errors import BadInput
from distilljob.report.load import load_runs
from distilljob.report.page import render
from distilljob_core.files import write_atomically


def run_report(runs: Sequence[Path], output: Path | None) -> int:
    """Write the page and say where it lies; the exit code.

    Args:
        runs: run directories.
        output: default: report.html in the run directory, for several runs in the current directory.

    Raises:
        CommandError: as `write_report`.
    """
    path = output or (runs[0] if len(runs) == 1 else Path()) / "report.html"
    write_report(runs, path)
    console.print_text(str(path))
    return 0


def write_report(runs: Sequence[Path], output: Path) -> None:
    """Write one self-contained HTML page about some runs, finished or not; the same runs give the same bytes.

    Raises:
        NotFound: a folder is not there, or holds no run.
        BadInput: a file of a run is damaged, or the page cannot be written.
    """
    page = render(load_runs(runs)).encode()
    try:
        write_atomically(output, page)
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}; choose another place with --output") from None
