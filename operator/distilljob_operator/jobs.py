"""The DistillJobs there are, as last heard of: from the watch, and in the answers to our own status writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from distilljob_operator.store import JobKey

_NUM_REMEMBERED_UIDS: Final = 4096
"""Far more than the writes that can be under way when a job is deleted."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One DistillJob as the API server gave it, without its managed fields."""

    key: JobKey
    uid: str
    resource_version: int
    body: Mapping[str, Any]


class Jobs:
    """Keeps the newest version of each job, whoever brings it and in whatever order."""

    def __init__(self) -> None:
        self._records: dict[JobKey, JobRecord] = {}
        self._removed: dict[str, None] = {}
        """UIDs, the newest last."""

    def __iter__(self) -> Iterator[JobRecord]:
        return iter(tuple(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: JobKey) -> JobRecord | None:
        """Give the job of that name; None if there is none."""
        return self._records.get(key)

    def update(self, body: Mapping[str, Any]) -> bool:
        """Take a body that the API server gave; false if it is no news, or the job it speaks of was deleted."""
        record = _record(body)
        before = self._records.get(record.key)
        if before is not None and before.resource_version >= record.resource_version:
            return False
        if record.uid in self._removed:
            return False
        self._records[record.key] = record
        return True

    def remove(self, key: JobKey, uid: str) -> bool:
        """Note that this very job was deleted; one that was created anew under its name stays."""
        self._removed[uid] = None
        if len(self._removed) > _NUM_REMEMBERED_UIDS:
            del self._removed[next(iter(self._removed))]
        record = self._records.get(key)
        if record is None or record.uid != uid:
            return False
        del self._records[key]
        return True

    def was_removed(self, uid: str) -> bool:
        """Say whether the job with that UID was deleted, as far back as is remembered."""
        return uid in self._removed


def job_key(body: Mapping[str, Any]) -> JobKey:
    """Name the job that a body speaks of."""
    metadata = body["metadata"]
    return metadata["namespace"], metadata["name"]


def _record(body: Mapping[str, Any]) -> JobRecord:
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    slim = {**body, "metadata": metadata}
    return JobRecord(job_key(body), metadata["uid"], int(metadata["resourceVersion"]), slim)
