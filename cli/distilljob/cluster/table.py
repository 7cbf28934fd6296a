"""The aggregator's round table, read through the API server's pod proxy."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from distilljob.cluster.access import Cluster
from distilljob_core import names
from distilljob_core.round_table import RoundTable
from distilljob_operator.errors import ApiError, Forbidden, NotFound, Unavailable

READY: Final = "ready"


@dataclass(frozen=True, slots=True)
class TableLook:
    """One look at the aggregator: its table, or why there is none."""

    table: RoundTable | None
    aggregator: str


async def look_at_table(cluster: Cluster, uid: str) -> TableLook:
    """Read /v1/status of the aggregator of the job with that UID."""
    try:
        return await _look(cluster, uid)
    except Forbidden as error:
        return TableLook(None, f"cannot be read: {error.message}")
    except (Unavailable, NotFound) as error:
        return TableLook(None, f"does not answer: {error.message}")
    except ApiError as error:
        return TableLook(None, f"refuses: {error.message}")
    except ValidationError:
        return TableLook(None, "answers in a way that this version does not know")


async def _look(cluster: Cluster, uid: str) -> TableLook:
    pod = await _aggregator_pod(cluster, uid)
    if pod is None:
        return TableLook(None, "not running")
    phase = pod["status"].get("phase", "Pending")
    if phase != "Running":
        return TableLook(None, f"not running: its pod is {phase}")
    path = f"{cluster.core('pods')}/{pod['metadata']['name']}:{names.HTTP_PORT}/proxy/v1/status"
    table = RoundTable.model_validate(await cluster.api.get(path))
    if table.uid != uid:
        return TableLook(None, f"not running: at its address answers the aggregator of {table.job}")
    return TableLook(table, READY)


async def _aggregator_pod(cluster: Cluster, uid: str) -> dict[str, Any] | None:
    """Find the newest pod of the aggregator that is not on its way out."""
    selector = f"{names.LABEL_UID}={uid},{names.LABEL_ROLE}={names.AGGREGATOR}"
    found: list[dict[str, Any]] = (await cluster.api.get(cluster.core("pods"), labelSelector=selector))["items"]
    there = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return max(there, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
