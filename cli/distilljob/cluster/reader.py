"""The reader: a pod with a job's results, started, waited for, and removed in every end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

from rich.markup import escape

from distilljob import console
from distilljob.cluster.access import Cluster
from distilljob.cluster.jobs import Known
from distilljob.cluster.reader_manifest import CONTAINER, best_model, holder_of, reader_manifest
from distilljob.errors import CommandError, NotFound
from distilljob_core import names
from distilljob_core.spec.base import Problem
from distilljob_operator import errors
from distilljob_operator.manifests.storage import results_claim_name

START_SECONDS: Final = 600.0
"""For the scheduler, an autoscaler, the volume, and an image of gigabytes."""
LOOK_SECONDS: Final = 0.5
REMOVAL_PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
_LOOKS_PER_EVENTS: Final = 10
_HOPELESS: Final = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
)
_ENDED: Final = ("Failed", "Succeeded")
_PASSING: Final = (errors.Unavailable, errors.TooManyRequests)
_UNTOLD: Final = ("ContainerCreating", "PodInitializing", "Completed")
"""What a kubelet says when it says nothing."""


class ReaderExpired(CommandError):
    """The pod has lived for as long as it may; another one can go on."""


@asynccontextmanager
async def reader_pod(cluster: Cluster, known: Known, image: str | None) -> AsyncIterator[str]:
    """Start the pod; inside, it runs and its name is known; after that it is removed.

    Args:
        cluster: where the job is.
        known: the job.
        image: with Python; None = that of the job's own pods.

    Raises:
        NotFound: the job has no claim with results.
        CommandError: no image is known, or the pod does not start; with the reason.
    """
    manifest = await _manifest(cluster, known, image)
    name = manifest["metadata"]["name"]
    may_be_there, is_confirmed = True, False
    try:
        try:
            await cluster.api.create(cluster.core("pods"), manifest)
            is_confirmed = True
        except errors.ApiError as error:
            may_be_there = isinstance(error, errors.Unavailable)
            raise _refused(error) from None
        await _until_running(cluster, name)
        yield name
    finally:
        if may_be_there:
            await _remove(cluster, name, is_confirmed=is_confirmed)


async def check_runs(cluster: Cluster, name: str) -> None:
    """Look whether the reader is still there; an API server that is away says nothing about it.

    Raises:
        ReaderExpired: its time is over.
        CommandError: it is not; with the reason.
    """
    pod = await _look(cluster, name)
    if pod is not None and not _runs(pod):
        raise _ended(name, what_it_waits_for(pod), ReaderExpired if _has_expired(pod) else CommandError)


async def _look(cluster: Cluster, name: str) -> Mapping[str, Any] | None:
    """Give the pod; None while the API server is away.

    Raises:
        CommandError: somebody has deleted it.
    """
    try:
        return await cluster.api.get(f"{cluster.core('pods')}/{name}")
    except errors.NotFound:
        raise _ended(name, "was deleted") from None
    except _PASSING:
        return None


def _has_expired(pod: Mapping[str, Any]) -> bool:
    """Say whether the deadline has ended it, or its program, which sleeps for as long."""
    status = pod["status"]
    return bool(status.get("reason") == "DeadlineExceeded" or status.get("phase") == "Succeeded")


def _ended(name: str, why: str, kind: type[CommandError] = CommandError) -> CommandError:
    return kind("the pod that reads the results has ended", [Problem(name, why, "give the command again")])


async def _manifest(cluster: Cluster, known: Known, image: str | None) -> dict[str, Any]:
    claim_name = results_claim_name(known.job)
    try:
        claim = await cluster.api.get(f"{cluster.core('persistentvolumeclaims')}/{claim_name}")
    except errors.NotFound:
        raise NotFound(f"the claim {claim_name} is gone, and with it the results of the job") from None
    pods = [pod async for page in cluster.api.list_pages(cluster.core("pods")) for pod in page["items"]]
    own = [pod for pod in pods if pod["metadata"].get("labels", {}).get(names.LABEL_UID) == known.uid]
    model = best_model(known.job, own or await _templates(cluster, known))
    return reader_manifest(known.job, model, holder_of(claim, pods), image)


async def _templates(cluster: Cluster, known: Known) -> list[Mapping[str, Any]]:
    """Find what pods were made of that have gone with their nodes; nothing where that may not be read."""
    found = []
    for path in ("apps/v1/{}/deployments", "batch/v1/{}/jobs"):
        where = f"/apis/{path.format(f'namespaces/{cluster.namespace}')}"
        try:
            page = await cluster.api.get(where, labelSelector=f"{names.LABEL_UID}={known.uid}")
        except errors.Forbidden:
            continue
        found += [item["spec"]["template"] for item in page["items"]]
    return found


def _refused(error: errors.ApiError) -> Exception:
    """Say of what the server speaks; other refusals are those of every command."""
    if isinstance(error, errors.Invalid):
        return CommandError("the cluster refuses the pod that reads the results", [Problem("Pod", error.message)])
    return error


async def _until_running(cluster: Cluster, name: str) -> None:
    told = "Pending"
    try:
        async with asyncio.timeout(START_SECONDS):
            for number in count(1):
                pod = await _look(cluster, name)
                if pod is not None and _runs(pod):
                    return
                words = await _words(cluster, pod, with_events=number % _LOOKS_PER_EVENTS == 0) if pod else told
                is_over = pod is not None and pod["status"].get("phase") in _ENDED
                if is_over or words.startswith(_HOPELESS):
                    told = words
                    break
                if words not in (told, "Pending"):
                    told = words
                    console.err.print(f"[dim]{name} waits: {escape(words)}[/]")
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        pass
    raise CommandError("the pod that reads the results does not start", [Problem(name, told, _hint(told))])


async def _words(cluster: Cluster, pod: Mapping[str, Any], *, with_events: bool) -> str:
    words = what_it_waits_for(pod)
    if words == "Pending" and with_events:
        return await _newest_warning(cluster, pod["metadata"]["name"]) or words
    return words


def _hint(told: str) -> str:
    if told.startswith(("ErrImage", "ImagePull", "InvalidImage", "StartError", "CreateContainer")):
        return "--image names another image, with Python in it, that the cluster can pull"
    return "give the command again when there is room, or ask whoever runs the cluster"


def _runs(pod: Mapping[str, Any]) -> bool:
    """Say whether the container is up; others in the pod, of a mesh perhaps, do not count."""
    statuses = pod["status"].get("containerStatuses", ())
    return any(each["name"] == CONTAINER and "running" in each.get("state", {}) for each in statuses)


def what_it_waits_for(pod: Mapping[str, Any]) -> str:
    """Say in Kubernetes' own words what is in the way of a pod, or what has ended it; else its phase."""
    status = pod.get("status", {})
    states = [state for each in status.get("containerStatuses", ()) for state in each.get("state", {}).values()]
    unscheduled = [each for each in status.get("conditions", ()) if each["type"] == "PodScheduled"]
    told = [each for each in (status, *states, *unscheduled) if each.get("reason") and each["reason"] not in _UNTOLD]
    if not told:
        return str(status.get("phase", "Pending"))
    return ": ".join(filter(None, (told[0]["reason"], told[0].get("message", ""))))


async def _newest_warning(cluster: Cluster, name: str) -> str:
    """Say what only events tell, such as a volume that cannot be attached; nothing where they may not be read."""
    selector = f"involvedObject.name={name},type=Warning"
    try:
        page = await cluster.api.get(cluster.core("events"), fieldSelector=selector)
    except errors.ApiError:
        return ""
    newest = max(page["items"], key=lambda event: event["metadata"]["creationTimestamp"], default=None)
    return f"{newest['reason']}: {newest['message']}" if newest else ""


async def _remove(cluster: Cluster, name: str, *, is_confirmed: bool) -> None:
    """Delete the pod; what prevents it is told, and hides no error.

    Args:
        cluster: where it is.
        name: of the pod.
        is_confirmed: whether its creation was; else the API server may still be about to make it.
    """
    passing = _PASSING if is_confirmed else (*_PASSING, errors.NotFound)
    pauses = iter(REMOVAL_PAUSES_SECONDS)
    try:
        while (error := await _delete(cluster, name)) is not None:
            pause_seconds = next(pauses, None) if isinstance(error, passing) else None
            if pause_seconds is None:
                break
            await asyncio.sleep(pause_seconds)
    except BaseException:  # a second signal
        _tell_of_leftover(cluster, name, "interrupted")
        raise
    if error is not None and not isinstance(error, errors.NotFound):
        _tell_of_leftover(cluster, name, error.message)


async def _delete(cluster: Cluster, name: str) -> errors.ApiError | None:
    path = f"{cluster.core('pods')}/{name}"
    try:
        pod = await cluster.api.get(path)
        await cluster.api.delete(path, pod["metadata"]["uid"], grace_seconds=0)
    except errors.ApiError as error:
        return error
    return None


def _tell_of_leftover(cluster: Cluster, name: str, why: str) -> None:
    advice = f"it ends by itself within an hour; kubectl delete pod {name} -n {cluster.namespace} removes it"
    console.err.print(f"[yellow]warning:[/] the pod {name} may be left: {escape(why)}; {advice}")
