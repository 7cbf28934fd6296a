"""What is seen of a job's aggregator: whether it is there, whether it serves, and if not, why. Pure."""

from distilljob_core.exit_codes import is_fatal
from distilljob_core.lifecycle.seen import AggregatorSeen
from distilljob_operator.children import JobChildren, PodChild
from distilljob_operator.sightings import AggregatorSighting


def aggregator_seen(children: JobChildren, sighting: AggregatorSighting | None) -> AggregatorSeen:
    """See the aggregator through its Deployment and pod."""
    pod = children.aggregator_pod
    is_wanted = any(deployment.replicas and not deployment.is_deleting for deployment in children.deployments)
    is_ready = pod is not None and pod.is_ready and not pod.is_deleting
    return AggregatorSeen(
        exists=pod is not None or is_wanted,
        ready=is_ready,
        started_seconds=sighting.running_seconds if sighting else None,
        message="" if is_ready else _why_not_ready(children, pod),
        fatal_exit_code=pod.end.exit_code if pod and pod.end and is_fatal(pod.end.exit_code) else None,
    )


def can_be_asked(children: JobChildren) -> bool:
    """Whether anybody could answer for it: its pod has an address."""
    pod = children.aggregator_pod
    return pod is not None and bool(pod.ip)


def _why_not_ready(children: JobChildren, pod: PodChild | None) -> str:
    if pod is None:
        failures = (deployment.failure for deployment in children.deployments if deployment.failure)
        return next(failures, "it has no pod")
    if pod.end is not None:
        return ": ".join(filter(None, (f"exited {pod.end.exit_code}", pod.end.reason, pod.end.words.message)))
    if pod.waits_for:
        return ": ".join(filter(None, (pod.waits_for, pod.waits_message)))
    if pod.is_deleting:
        return f"pod {pod.name} is leaving"
    return f"pod {pod.name} {'runs, and does not serve yet' if pod.phase == 'Running' else 'is starting'}"
