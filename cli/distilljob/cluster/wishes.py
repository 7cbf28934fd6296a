"""What may be wished of a job while it lives: `suspend`, `resume`, `finish`, `restart`, `delete`."""

from typing import Any

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import Known, find
from distilljob.cluster.place import Place
from distilljob.cluster.table import look_at_table
from distilljob.errors import BadInput, NotFound
from distilljob_core.lifecycle.model import Standing
from distilljob_core.outlook import open_cycle
from distilljob_core.restart_wishes import restart_wish
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.base import Problem


def run_suspend(name: str, place: Place, *, suspend: bool) -> int:
    """Suspend a job or let it go on; the exit code.

    Raises:
        NotFound: there is no such job.
        BadInput: it has ended.
        CommandError: the API server refused or failed.
    """
    verb, done = ("suspend", "suspended") if suspend else ("resume", "going on")
    with reach(place) as cluster:
        known = find(cluster, name)
        _check_alive(known, verb)
        if known.job.spec.suspend is suspend:
            console.print_text(f"{name} is {done} already" if suspend else f"{name} is not suspended")
            return 0
        _patch(cluster, known, {"spec": {"suspend": suspend}})
    if suspend:
        console.print_text(f"{name} saves its students and gives everything back but its volumes; go on with")
        console.print_text(f"  {place.command('resume', name)}")
    else:
        console.print_text(f"{name} goes on where it stopped")
    return 0


def run_finish(name: str, place: Place, after_cycle: int | None) -> int:
    """Ask a job to end after a cycle, None = the open one; the exit code.

    Raises:
        NotFound: there is no such job.
        BadInput: it has no cycle left to end after, or not this one.
        CommandError: the API server refused or failed.
    """
    with reach(place) as cluster:
        known = find(cluster, name)
        _check_alive(known, "finish")
        table = cluster.run(look_at_table(cluster, known.uid)).table
        first, last = _open_cycles(known, table)
        cycle = first if after_cycle is None else after_cycle
        if not first <= cycle <= last:
            left = f"{first} is left" if first == last else f"{first} to {last} are left"
            hint = "name one of these, or leave it out to end after the open one"
            raise BadInput(f"{name} cannot end after cycle {cycle}", [Problem("--after-cycle", f"only {left}", hint)])
        _patch(cluster, known, {"spec": {"stopAfterCycle": cycle}})
    console.print_text(f"{name} ends after cycle {cycle} of {last}; cycle {first} is open")
    if known.job.spec.suspend:
        console.print_text(f"it is suspended now; go on with\n  {place.command('resume', name)}")
    return 0


def run_restart(name: str, student: str, place: Place) -> int:
    """Have a student's attempt ended and followed by the next one; the exit code.

    Raises:
        NotFound: there is no such job or student.
        BadInput: the student has nothing that could be restarted.
        CommandError: the API server refused or failed.
    """
    with reach(place) as cluster:
        known = find(cluster, name)
        _check_alive(known, "restart")
        state = known.state.students.get(student)
        if state is None:
            raise NotFound(f"{name} has no student {student}; its students are {', '.join(known.state.students)}")
        if state.standing is not Standing.LIVE:
            raise BadInput(f"{student} has no attempt at work that could be restarted: it is {state.standing}")
        annotations = restart_wish(student, known.uid, state.attempt)
        _patch(cluster, known, {"metadata": {"annotations": annotations}})
    console.print_text(f"{student}: attempt {state.attempt} saves and ends, and attempt {state.attempt + 1} goes on")
    return 0


def run_delete(name: str, place: Place) -> int:
    """Delete a job and all that is made of it; the exit code.

    Raises:
        NotFound: there is no such job.
        CommandError: the API server refused or failed.
    """
    with reach(place) as cluster:
        known = find(cluster, name)
        cluster.run(cluster.api.delete(f"{cluster.jobs}/{name}", known.uid))
    console.print_text(f"{name} is deleted")
    results = known.job.spec.results
    if (result := known.status.result) and result.volume_claim_name:
        is_gone = results.retention == "Delete" and results.storage.claim_name is None
        fate = "are deleted with" if is_gone else "stay in"
        console.print_text(f"its results {fate} the claim {result.volume_claim_name}")
    return 0


def _patch(cluster: Cluster, known: Known, change: dict[str, Any]) -> None:
    """Change this very job, not another one of its name that came meanwhile."""
    change["metadata"] = {**change.get("metadata", {}), "uid": known.uid}
    cluster.run(cluster.api.patch(f"{cluster.jobs}/{known.name}", change))


def _check_alive(known: Known, verb: str) -> None:
    if (outcome := known.state.outcome) is not None:
        raise BadInput(f"{known.name} has ended ({outcome.kind}, {outcome.reason}): there is nothing to {verb}")


def _open_cycles(known: Known, table: RoundTable | None) -> tuple[int, int]:
    """Number the first and the last cycle that may still be the job's last; the aggregator knows best."""
    method = known.job.spec.method
    if method.name == "Independent":
        raise BadInput(f"{known.name} has no cycles to end after: its method is Independent; delete it to stop it")
    cycle = open_cycle(table, method.cycles) if table else max(1, known.status.cycle)
    if table and any(close.last for close in table.closes):
        raise BadInput(f"{known.name} has closed its last cycle, {cycle}, and ends by itself")
    return cycle, method.cycles
