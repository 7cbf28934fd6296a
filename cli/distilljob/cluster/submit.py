"""`distilljob submit FILE`: from a file to a job in a cluster; the same file again changes nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel

from distilljob import console
from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import Known, fetch, read_known
from distilljob.cluster.place import Place
from distilljob.cluster.submission import Outcome, Submission
from distilljob.errors import BadInput, CommandError
from distilljob.job_file import JobFile, read_job
from distilljob_core.conditions import ConditionType
from distilljob_core.spec.base import Problem
from distilljob_core.spec.cluster import cluster_problems
from distilljob_core.spec.frozen import WISHES, Stage, changed_fields, frozen_changes
from distilljob_core.spec.job import DistillJob, DistillJobSpec
from distilljob_core.spec.kubectl_yaml import read_yaml
from distilljob_core.spec.load import check_job
from distilljob_operator.errors import AlreadyExists

_STRICT: Final = "?fieldValidation=Strict"
"""What the installed resource does not know is refused; it would be dropped without a word."""


def run_submit(file: Path, settings: Sequence[str], place: Place) -> int:
    """Submit a file and say what came of it; the exit code.

    Raises:
        BadInput: the file, or what it would change, is wrong.
        CommandError: the API server refused or failed.
    """
    job = read_job(file, settings)
    made = submit(job, place)
    where = f"{made.name} in the namespace {made.namespace}"
    if made.outcome is Outcome.CREATED:
        console.print_text(f"created {where}")
    elif made.outcome is Outcome.CHANGED:
        console.print_text(f"changed {where}: {', '.join(made.changed)}")
    else:
        console.print_text(f"{where} is there already, with the same spec")
    console.out.print("[green]next:[/] watch it")
    console.print_text(f"  {_agreed(place, job.job.metadata.namespace).command('top', made.name)}")
    return 0


def submit(file: JobFile, place: Place) -> Submission:
    """Create a job, or change it to what the file says as far as it may still be changed.

    Wishes that the file says nothing of, such as an early end, stay as they are.

    Raises:
        BadInput: it cannot run in a cluster, or would change what may no longer change.
        CommandError: the API server refused or failed.
    """
    if problems := list(cluster_problems(file.job)):
        raise BadInput(f"{file.job.metadata.name} cannot run in a cluster", problems)
    manifest = read_yaml(file.text)
    manifest.pop("status", None)
    with reach(_agreed(place, file.job.metadata.namespace)) as cluster:
        return cluster.run(_submit(cluster, file.job, manifest))


def _agreed(place: Place, namespace: str | None) -> Place:
    """Take the file's namespace unless the command names one; both must not differ."""
    if namespace is None or place.namespace == namespace:
        return place
    if place.namespace is None:
        return Place(namespace, place.context, place.kubeconfig)
    message = f"is {namespace}, and the command says -n {place.namespace}"
    raise BadInput("two namespaces", [Problem("metadata.namespace", message, "leave one of the two out")])


async def _submit(cluster: Cluster, job: DistillJob, manifest: dict[str, Any]) -> Submission:
    name = job.metadata.name
    try:
        made = await cluster.api.create(f"{cluster.jobs}{_STRICT}", manifest)
    except AlreadyExists:
        return await _change(cluster, read_known(await fetch(cluster, name)), manifest)
    return Submission(name, cluster.namespace, made["metadata"]["uid"], Outcome.CREATED)


async def _change(cluster: Cluster, known: Known, manifest: dict[str, Any]) -> Submission:
    metadata = known.body["metadata"]
    if "deletionTimestamp" in metadata:
        raise CommandError(f"{known.name} is being deleted; give the command again in a moment")
    spec = kept_wishes(known.body["spec"], manifest["spec"])
    wanted = check_job({**manifest, "spec": spec}).spec
    if frozen := list(_frozen(known, wanted)):
        raise BadInput(f"{known.name} is there already, and this cannot change", frozen)
    changed = tuple(path for path, _, _ in changed_fields(known.job.spec, wanted))
    outcome = Outcome.CHANGED if changed else Outcome.UNCHANGED
    if changed:
        await cluster.api.put(f"{cluster.jobs}/{known.name}{_STRICT}", {**known.body, "spec": spec})
    return Submission(known.name, cluster.namespace, metadata["uid"], outcome, changed)


def _frozen(known: Known, wanted: DistillJobSpec) -> Iterator[Problem]:
    if (stage := stage_of(known)) is not None:
        for problem in frozen_changes(known.job.spec, wanted, stage):
            yield Problem(problem.path, problem.hint, problem.message)


def stage_of(known: Known) -> Stage | None:
    """Say how far a job is; None = not started, and free to change."""
    if known.state.outcome is not None:
        return Stage.ENDED
    if known.state.started_seconds is None:
        return None
    is_suspended = any(one.type == ConditionType.SUSPENDED and one.status == "True" for one in known.state.conditions)
    return Stage.SUSPENDED if is_suspended else Stage.STARTED


def kept_wishes(before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Keep what commands have wished since, where the file is silent about it."""
    silent = (field for name in WISHES if (field := to_camel(name)) not in wanted and field in before)
    return {**wanted, **{field: before[field] for field in silent}}
