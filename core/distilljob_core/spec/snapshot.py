"""The job as all its processes read it: taken at the first start, and never changed."""

from typing import Any

from distilljob_core.spec.base import dump, merge
from distilljob_core.spec.job import DistillJob


def snapshot(job: DistillJob, uid: str) -> dict[str, Any]:
    """Give the job as plain JSON types with its uid and with today's defaults written out.

    Students stay as they were given: a field that one does not set must not hide the group's. Of the metadata only what
    says which job it is stays.
    """
    written_out = job.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)
    tree = merge(written_out, dump(job))
    tree.pop("status", None)
    tree["metadata"] = {"name": job.metadata.name, "uid": uid}
    return tree
