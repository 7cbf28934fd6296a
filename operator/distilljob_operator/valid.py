"""What the API server holds, as a checked DistillJob, and the condition that says whether it is one.

The server's own checks are those of the installed CRD, which may be older than this operator.
"""

from collections.abc import Mapping
from typing import Any

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.spec.cluster import cluster_problems
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import check_job
from distilljob_core.spec.problems import SpecProblems


def validate_body(body: Mapping[str, Any], now_seconds: float) -> tuple[DistillJob | None, Condition]:
    """Read a resource as the command line reads its file, and ask for what a cluster needs too.

    Returns:
        The job, or None; and `Valid`, with everything that is wrong in its message.
    """
    try:
        job = check_job({key: value for key, value in body.items() if key != "status"})
        if problems := list(cluster_problems(job)):
            raise SpecProblems(problems)
    except SpecProblems as error:
        told = "; ".join(str(problem) for problem in error.problems)
        return None, Condition(ConditionType.VALID, "False", Reason.SPEC_INVALID, told, now_seconds)
    return job, Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", now_seconds)
