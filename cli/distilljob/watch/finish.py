"""`distilljob finish DIR`: end a run early, and well: the cycle is distilled, the weights are published."""

from pathlib import Path

from distilljob import console
from distilljob.errors import BadInput
from distilljob.run_directory.wishes import Wish, write_wish
from distilljob.watch.sight import RunPhase, Sight, Watcher
from distilljob_core.spec.base import Problem


def run_finish(root: Path, after_cycle: int | None) -> int:
    """Ask a run to end after a cycle, None = the open one; the exit code. A live runner reads it within a second.

    Raises:
        NotFound: there is no run.
        BadInput: the run has no cycle left to end after, or not this one.
        StorageFull: no space left; nothing was asked for.
    """
    watcher = Watcher(root)
    sight = watcher.look()
    first, last = open_cycles(sight)
    cycle = first if after_cycle is None else after_cycle
    if not first <= cycle <= last:
        left = f"{first} is left" if first == last else f"{first} to {last} are left"
        hint = "name one of these, or leave it out to end after the open one"
        raise BadInput(f"{root} cannot end after cycle {cycle}", [Problem("--after-cycle", f"only {left}", hint)])
    write_wish(sight.folder, Wish(stop_after_cycle=cycle, instead_of=watcher.job.spec.stop_after_cycle))
    console.print_text(f"{sight.picture.job} ends after cycle {cycle} of {last}; cycle {first} is open")
    if not sight.is_live:
        console.print_text(f"nobody runs it now; go on with\n  {sight.command_line}")
    return 0


def open_cycles(sight: Sight) -> tuple[int, int]:
    """Number the first and the last cycle that may still be the run's last.

    Raises:
        BadInput: there is none.
    """
    root, closes = sight.folder.root, sight.table.closes if sight.table else []
    if sight.job.spec.method.name == "Independent":
        raise BadInput(f"{root} has no cycles to end after: its method is Independent; stop it with Ctrl-C or SIGTERM")
    if sight.phase is RunPhase.FINISHED:
        raise BadInput(f"{root} is finished already")
    if any(close.last for close in closes):
        raise BadInput(f"{root} has closed its last cycle, {sight.picture.cycle}, and ends by itself")
    return sight.picture.cycle, sight.picture.cycles
