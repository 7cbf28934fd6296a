"""How many failures are put up with: per student, per job, and how a student earns patience back.

Crash, hang and early exit are charged; a lost node or a deleted pod is nobody's failure, only every tenth deletion in
a row is charged as a crash. A student's budget is refilled by closed cycles with its labels; the job's never is.
"""

from dataclasses import replace
from typing import Final

from distilljob_core.lifecycle.backoff import wait_seconds
from distilljob_core.lifecycle.model import Account, Cause, JobState, Restarts, StudentState
from distilljob_core.spec.policies import FailurePolicy

DELETIONS_PER_CRASH: Final = 10
CHARGED: Final = frozenset({Cause.CRASH, Cause.HANG, Cause.EARLY})
MAXIMUM_UNPROVEN: Final = 16
"""So many unproven failures are remembered; with back-off this is more than an hour without the aggregator."""


def exhausted(policy: FailurePolicy, job: JobState, account: Account, cause: Cause) -> str:
    """Name the budget that has nothing left for this failure; empty if the student may be restarted."""
    if cause not in CHARGED:
        return ""
    if cause is Cause.HANG and account.spent_hangs >= policy.hang.max_restarts_per_student:
        return f"failurePolicy.hang.maxRestartsPerStudent ({policy.hang.max_restarts_per_student})"
    if account.spent >= policy.max_restarts_per_student:
        return f"failurePolicy.maxRestartsPerStudent ({policy.max_restarts_per_student})"
    if sum(student.account.charged for student in job.students.values()) >= policy.max_restarts:
        return f"failurePolicy.maxRestarts ({policy.max_restarts})"
    return ""


def charged_cause(cause: Cause, account: Account) -> Cause:
    """What a failure counts as: the tenth deletion in a row counts as a crash, or it would go on for ever."""
    if cause is Cause.DELETED and account.deleted_in_a_row + 1 >= DELETIONS_PER_CRASH:
        return Cause.CRASH
    return cause


def charge(account: Account, cause: Cause) -> Account:
    """Enter one failure that leads to a restart."""
    if cause is Cause.NODE:
        return replace(account, nodes_in_a_row=account.nodes_in_a_row + 1, deleted_in_a_row=0)
    if cause is Cause.DELETED:
        return replace(account, deleted_in_a_row=account.deleted_in_a_row + 1)
    return replace(
        account,
        spent=account.spent + 1,
        spent_hangs=account.spent_hangs + (cause is Cause.HANG),
        charged=account.charged + 1,
        contributed_at_failure=account.contributed,
        failures_in_a_row=account.failures_in_a_row + 1,
        deleted_in_a_row=0,
    )


def restart_wait_seconds(policy: FailurePolicy, account: Account, cause: Cause) -> float:
    """Wait before the restart, after the failure has been entered; each kind of failure has its own growth."""
    in_a_row = {Cause.NODE: account.nodes_in_a_row, Cause.DELETED: account.deleted_in_a_row}
    return wait_seconds(policy.backoff, in_a_row.get(cause, account.failures_in_a_row))


def count_restart(restarts: Restarts, cause: Cause) -> Restarts:
    """Count one restart by its cause."""
    return replace(restarts, **{cause.value: getattr(restarts, cause.value) + 1})


def note_unproven(student: StudentState, cause: Cause) -> StudentState:
    """Remember a failure that was counted while the aggregator could not be asked."""
    unproven = (*student.unproven, (student.attempt, cause))
    return replace(student, unproven=unproven[-MAXIMUM_UNPROVEN:])


def take_back(student: StudentState, attempt: int) -> StudentState:
    """Undo what was counted against a student whose terminal record is that of this attempt: it had not failed."""
    restarts, account = student.restarts, student.account
    for failed, cause in student.unproven:
        if failed < attempt:
            continue
        restarts = replace(restarts, **{cause.value: getattr(restarts, cause.value) - 1})
        if cause in CHARGED:
            account = replace(account, charged=account.charged - 1, spent=max(0, account.spent - 1))
    return replace(student, restarts=restarts, account=account, unproven=())


def credit(policy: FailurePolicy, student: StudentState, num_contributed: int) -> StudentState:
    """Enter closed cycles with this student's labels: one ends every row of failures, enough of them refill."""
    account = student.account
    if num_contributed > account.contributed:
        account = replace(
            account, contributed=num_contributed, failures_in_a_row=0, nodes_in_a_row=0, deleted_in_a_row=0
        )
    if account.spent and account.contributed - account.contributed_at_failure >= policy.refill_cycles:
        account = replace(account, spent=0, spent_hangs=0)
    return replace(student, account=account)
