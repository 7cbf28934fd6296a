"""What the API server answers when it does not do what was asked, as one block with what to change."""

import re
from collections.abc import Iterator
from typing import Final

from distilljob.errors import BadInput, CommandError, NotFound
from distilljob_core.spec.base import Problem
from distilljob_operator import errors

CRD_HINT: Final = "distilljob schema | kubectl apply --server-side -f -"
NEWER_CRD: Final = f"the cluster's DistillJob is of another version; whoever runs it can update it: {CRD_HINT}"
_BREACH: Final = re.compile(r"^Invalid value: (?P<value>.{1,60}?): \S+ in body (?P<said>.+)$")
_OBJECT: Final = re.compile(r'^Invalid value: ("object": )?')
_UNKNOWN: Final = re.compile(r'unknown field "([^"]+)"')
_NO_KIND: Final = ("could not find the requested resource", "404 page not found")
_UNAUTHORIZED: Final = 401


def no_cluster(message: str) -> BadInput:
    """Say that nothing leads to a cluster; whoever means a local run has named it in the wrong way."""
    hint = "give --kubeconfig FILE or --context NAME, or set KUBECONFIG; a run on this machine is named by its folder"
    return BadInput("no way to a cluster", [Problem("kubeconfig", _without_advice(message), f"{hint}: ./NAME")])


def _without_advice(message: str) -> str:
    return message.removeprefix("no way to a cluster: ").partition(". Give --kubeconfig")[0]


def explain(error: errors.ApiError, namespace: str, host: str) -> CommandError:
    """Turn a refusal into an error for people.

    Args:
        error: of the API server, or of the way to it.
        namespace: where the command works.
        host: the server's address.
    """
    if error.status == _UNAUTHORIZED:
        hint = "log in again, as for kubectl; --context picks another user"
        return CommandError("the cluster does not know you", [Problem(host, error.message, hint)])
    match error:
        case errors.Unavailable():
            hint = "try again; `kubectl cluster-info` says whether it is there, --context picks another cluster"
            return CommandError("the cluster does not answer", [Problem(host, error.message, hint)])
        case errors.TooManyRequests():
            return CommandError("the cluster is busy", [Problem(host, error.message, "try again in a moment")])
        case errors.Forbidden():
            return _forbidden(error, namespace)
        case errors.NotFound():
            return _not_found(error, namespace)
        case errors.Invalid():
            return BadInput("the cluster refuses this DistillJob", list(_problems(error)))
        case errors.Conflict():
            return CommandError("the job was changed meanwhile by somebody else; give the command again")
    return CommandError("the cluster refuses", [Problem(host, error.message)])


def _forbidden(error: errors.Forbidden, namespace: str) -> CommandError:
    place = f"namespace {namespace}"
    if error.is_terminating_namespace:
        return CommandError("nothing can be made here", [Problem(place, "is being deleted", "choose another with -n")])
    if error.is_quota:
        hint = "wait for others, delete what is not needed, or ask for more"
        return CommandError("the quota is used up", [Problem(place, error.message, hint)])
    hint = "ask whoever runs the cluster for a role in this namespace, or choose another with -n"
    return CommandError("you may not do this", [Problem(place, error.message, hint)])


def _not_found(error: errors.NotFound, namespace: str) -> CommandError:
    if any(words in error.message for words in _NO_KIND):
        return no_kind()
    if error.message.startswith("namespaces "):
        return no_namespace(namespace)
    return NotFound(error.message)


def no_kind() -> NotFound:
    """Say that the cluster has no DistillJobs at all."""
    problem = Problem(
        "DistillJob",
        "is no resource of this cluster",
        f"install distilljob there, the resource first: {CRD_HINT}; or choose another cluster with --context",
    )
    return NotFound("distilljob is not installed in this cluster", [problem])


def no_namespace(namespace: str) -> NotFound:
    """Say that there is no such namespace."""
    return NotFound(f"there is no namespace {namespace}; choose one with -n")


def _problems(error: errors.Invalid) -> Iterator[Problem]:
    """List what is wrong field by field, in the words of `validate`."""
    for cause in error.causes:
        path = cause.field.removeprefix("<nil>").lstrip(".") or "DistillJob"
        yield Problem(path, _said(cause.message))
    if not error.causes:
        unknown = _UNKNOWN.findall(error.message)
        for path in unknown:
            yield Problem(path, "unknown field", NEWER_CRD)
        if not unknown:
            yield Problem("DistillJob", error.message)


def _said(message: str) -> str:
    """Leave out what the path says already, and whole objects."""
    if found := _BREACH.match(message):
        return f"{found['said']}, not {found['value']}"
    return _OBJECT.sub("", message)
