"""`status` and `top` of jobs in a cluster."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import list_jobs
from distilljob.cluster.known import read_status
from distilljob.cluster.place import Place
from distilljob.cluster.sight import ClusterSight, ClusterWatcher
from distilljob.console import in_time
from distilljob.errors import BadInput
from distilljob.watch.status import show_status
from distilljob.watch.top import show_top
from distilljob_core.results import teacher_gains


def run_status(name: str | None, place: Place, *, watch: bool, as_json: bool) -> int:
    """Print how one job stands, or a line for each of a namespace; the exit code.

    Raises:
        NotFound: there is no such job.
        BadInput: all jobs at once cannot be watched.
        CommandError: the API server refused or failed.
    """
    if name is None and watch:
        raise BadInput("--watch shows one job; name it, or use kubectl get distilljobs --watch")
    with reach(place) as cluster:
        if name is None:
            return _show_list(cluster, place, as_json=as_json)
        return show_status(ClusterWatcher(cluster, name, place), watch=watch, as_json=as_json)


def run_top(name: str, place: Place) -> int:
    """Show one job until it ends or somebody leaves; the exit code.

    Raises:
        NotFound: there is no such job.
        CommandError: the API server refused or failed.
    """
    with reach(place) as cluster:
        return show_top(ClusterWatcher(cluster, name, place, with_events=True), _gains)


def _gains(sight: ClusterSight) -> list[float]:
    """Give the teachers' gains by cycle, once students have finished and told theirs."""
    views = sight.table.students if sight.table else []
    return teacher_gains([view.summary for view in views if view.summary is not None])


def _show_list(cluster: Cluster, place: Place, *, as_json: bool) -> int:
    bodies = cluster.run(_all(cluster))
    if as_json:
        console.print_json([_line(cluster.namespace, body) for body in bodies])
    elif bodies:
        console.out.print(_table(bodies))
    else:
        console.print_text(f"no jobs in the namespace {cluster.namespace}")
        console.out.print("[green]next:[/] submit one, or choose another namespace with -n")
        console.print_text(f"  {place.command('submit', 'FILE')}")
    return 0


async def _all(cluster: Cluster) -> list[dict[str, Any]]:
    return [body async for body in list_jobs(cluster)]


def _line(namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
    status = read_status(body)
    return {
        "name": body["metadata"]["name"],
        "namespace": namespace,
        "phase": status.phase,
        "cycle": status.cycle,
        "cycles": status.cycles,
        "students": status.students_column,
        "restarts": status.restarts_total,
        "accuracy": status.accuracy_column,
        "ageSeconds": _age_seconds(body),
    }


def _table(bodies: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("job", "", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    for title in ("cycle", "students", "restarts", "accuracy", "age"):
        table.add_column(title, justify="right", no_wrap=True)
    for body in bodies:
        table.add_row(*_cells(body))
    return table


def _cells(body: Mapping[str, Any]) -> Iterator[str]:
    status = read_status(body)
    yield body["metadata"]["name"]
    yield status.phase
    yield status.cycle_column
    yield status.students_column
    yield str(status.restarts_total)
    yield status.accuracy_column
    yield in_time(_age_seconds(body))


def _age_seconds(body: Mapping[str, Any]) -> float:
    made = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    return round((datetime.now(UTC) - made).total_seconds())
