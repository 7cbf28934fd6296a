"""What Grafana's two dashboards show: a title, why one looks at it, queries, a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JOB: Final = 'namespace="$namespace",distilljob="$distilljob"'
RATE: Final = "$__rate_interval"

Steps = Sequence[tuple[float | None, str]]
"""From this value on, this color; the first one's value is None."""

GREEN_TO_RED_AT: Final = {
    "budget": ((None, "green"), (0.5, "yellow"), (0.8, "red")),
    "hang": ((None, "green"), (0.5, "yellow"), (0.9, "red")),
    "failed": ((None, "green"), (1, "red")),
    "age": ((None, "green"), (120, "yellow"), (300, "red")),
    "gain": ((None, "red"), (0, "green")),
    "leading": ((None, "red"), (1, "green")),
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; queries by the legend that Grafana makes of their labels."""

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str
    width: int = 8
    kind: str = "timeseries"
    steps: Steps = ((None, "green"),)
    maximum: float | None = None


def silence(scope: str) -> str:
    """Seconds since each student's last step, by the phase that it is in; at the barrier it waits and is not silent."""
    clock = f"max by (namespace, distilljob) (distilljob_clock_timestamp_seconds{{{scope}}})"
    last = f"max by (namespace, distilljob, student) (distilljob_student_last_progress_timestamp_seconds{{{scope}}})"
    comma = "," if scope else ""
    phase = (
        "max by (namespace, distilljob, student, phase) "
        f'(distilljob_student_phase{{{scope}{comma}phase!~"Waiting|Finished|Dropped"}} == 1)'
    )
    age = f"({clock} - on (namespace, distilljob) group_right () {last})"
    return f"{phase} * on (namespace, distilljob, student) group_left () {age}"


def hang_share(scope: str) -> str:
    """How much of its limit each student has been silent for."""
    limit = f"max by (namespace, distilljob, phase) (distilljob_job_hang_limit_seconds{{{scope}}})"
    return f"({silence(scope)}) / on (namespace, distilljob, phase) group_left () {limit}"


def quantile(share: float, histogram: str, scope: str = "") -> str:
    """A quantile of a histogram over all of its series."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{{scope}}}[{RATE}])))"


def share_of_steps(part: str) -> str:
    """How much of each student's steps is spent on a part of them."""
    spent, steps = f"{part}_sum{{{JOB}}}", f"distilljob_trainer_step_seconds_sum{{{JOB}}}"
    return f"sum by (student) (rate({spent}[{RATE}])) / sum by (student) (rate({steps}[{RATE}]))"


FLEET: Final = (
    Panel(
        "Jobs by phase",
        "All DistillJobs that the operator serves. Failed ones stay until somebody deletes them.",
        [("sum by (phase) (distilljob_operator_jobs)", "{{phase}}")],
        "short",
        width=12,
    ),
    Panel(
        "Failed jobs",
        "Zero is good. `kubectl describe distilljob` has the reason of each.",
        [('sum(distilljob_operator_jobs{phase="Failed"})', "failed")],
        "short",
        width=4,
        kind="stat",
        steps=GREEN_TO_RED_AT["failed"],
    ),
    Panel(
        "Operator leads",
        "1 while an operator holds the Lease and works. At 0 nobody replaces what fails.",
        [("max(distilljob_operator_leading)", "leads")],
        "short",
        width=4,
        kind="stat",
        steps=GREEN_TO_RED_AT["leading"],
    ),
    Panel(
        "Jobs that cannot be observed",
        "Their progress is not known, so nobody of them is restarted for hanging. Look at the aggregator's pod.",
        [("count(distilljob_job_progress_observable == 0) or vector(0)", "blind")],
        "short",
        width=4,
        kind="stat",
        steps=GREEN_TO_RED_AT["failed"],
    ),
    Panel(
        "Restarts by reason",
        "Attempts of students that were replaced. crash: an error; hang: no step in time; early: exit 0 without a "
        "result; node: evicted or lost; deleted: somebody deleted the pod.",
        [(f"sum by (reason) (increase(distilljob_operator_restarts_total[{RATE}]))", "{{reason}}")],
        "short",
    ),
    Panel(
        "Restart budget, most spent",
        "The ten students that have used most of their budget. At 100 % the next failure ends the job, or the student.",
        [("topk(10, distilljob_student_restart_budget_used_ratio)", "{{distilljob}} {{student}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["budget"],
        maximum=1,
    ),
    Panel(
        "Hang margin, least left",
        "How much of its limit a student has been silent for, the ten worst. At 100 % it is replaced.",
        [(f"topk(10, {hang_share('')})", "{{distilljob}} {{student}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["hang"],
    ),
    Panel(
        "Failure to replacement",
        "From seeing that an attempt failed to having made the next one, back-off included.",
        [(quantile(share, "distilljob_operator_replacement_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99)],
        "s",
    ),
    Panel(
        "One look at a job",
        "Time of one reconciliation with everything that was done about it.",
        [(quantile(share, "distilljob_operator_reconcile_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99)],
        "s",
    ),
    Panel(
        "Looks by result",
        "done, put off by an answer of the API server, or failed by a mistake of ours: that should stay at zero.",
        [(f"sum by (result) (rate(distilljob_operator_reconciles_total[{RATE}]))", "{{result}}")],
        "ops",
    ),
    Panel(
        "Requests to the API server",
        "By verb. An operator at rest makes none but the Lease's.",
        [(f"sum by (verb) (rate(distilljob_operator_api_requests_total[{RATE}]))", "{{verb}}")],
        "reqps",
    ),
    Panel(
        "Refused requests",
        "Answers of 400 and above, and none at all (0). 404 and 409 now and then are normal.",
        [
            (
                f'sum by (code) (rate(distilljob_operator_api_requests_total{{code!~"2.."}}[{RATE}])) or vector(0)',
                "{{code}}",
            )
        ],
        "reqps",
    ),
    Panel(
        "Last sign of each watch",
        "Seconds since each watch heard anything. The process restarts when one is dead.",
        [("max by (kind) (distilljob_operator_watch_age_seconds)", "{{kind}}")],
        "s",
        steps=GREEN_TO_RED_AT["age"],
    ),
    Panel(
        "Age of progress",
        "Of the job whose samples are oldest. Beyond a few polls the operator is blind for it.",
        [("max(distilljob_operator_progress_age_seconds)", "oldest")],
        "s",
        steps=GREEN_TO_RED_AT["age"],
    ),
    Panel(
        "Queue and loop",
        "Jobs that wait for a worker, and how long a task of the process was kept waiting.",
        [
            ("sum(distilljob_operator_queue_depth)", "jobs in the queue"),
            ("max(distilljob_operator_loop_lag_seconds)", "loop lag in s"),
        ],
        "short",
    ),
    Panel(
        "Failed readings of progress",
        "By source. The condition ProgressObservable of each job says why.",
        [(f"sum by (source) (rate(distilljob_operator_progress_errors_total[{RATE}])) or vector(0)", "{{source}}")],
        "ops",
    ),
)
ONE_JOB: Final = (
    Panel(
        "Cycle",
        "The open cycle.",
        [(f"max(distilljob_cycle{{{JOB}}})", "cycle")],
        "short",
        width=4,
        kind="stat",
    ),
    Panel(
        "Restarts",
        "Attempts of students that were replaced, all of the job's.",
        [(f"sum(distilljob_student_restarts{{{JOB}}})", "restarts")],
        "short",
        width=4,
        kind="stat",
    ),
    Panel(
        "Last teacher's gain",
        "Hold-out accuracy of the teacher minus that of the best student. Below zero the ensemble is worse than one of "
        "its members.",
        [(f"max(distilljob_teacher_gain_ratio{{{JOB}}})", "gain")],
        "percentunit",
        width=4,
        kind="stat",
        steps=GREEN_TO_RED_AT["gain"],
    ),
    Panel(
        "Students by phase",
        "What they are doing now.",
        [(f"sum by (state) (distilljob_students{{{JOB}}}) > 0", "{{state}}")],
        "short",
        width=12,
    ),
    Panel(
        "Cycle progress per student",
        "Finished epochs of all planned ones. A line that lies flat waits, or hangs.",
        [(f"max by (student) (distilljob_student_epoch{{{JOB}}})", "{{student}}")],
        "short",
    ),
    Panel(
        "Accuracy",
        "On the hold-out, which weights and selection come from, and on the test set, which decides nothing.",
        [(f"max by (student, split) (distilljob_student_accuracy_ratio{{{JOB}}})", "{{student}} {{split}}")],
        "percentunit",
        maximum=1,
    ),
    Panel(
        "Teacher gain",
        "Over time: what the ensemble is worth over its best member, on the hold-out.",
        [(f"max(distilljob_teacher_gain_ratio{{{JOB}}})", "gain")],
        "percentunit",
        steps=GREEN_TO_RED_AT["gain"],
    ),
    Panel(
        "Loss",
        "Of a recent step. total = alpha x label + beta x distill; distill is 0 while a student trains alone.",
        [(f"max by (student, term) (distilljob_trainer_loss{{{JOB}}})", "{{student}} {{term}}")],
        "short",
    ),
    Panel(
        "Learning rate",
        "Of a recent step.",
        [(f"max by (student) (distilljob_trainer_learning_rate{{{JOB}}})", "{{student}}")],
        "sci",
    ),
    Panel(
        "Gradient norm",
        "Before clipping. A sudden climb comes before divergence.",
        [(f"max by (student) (distilljob_trainer_gradient_norm{{{JOB}}})", "{{student}}")],
        "short",
    ),
    Panel(
        "Training speed",
        "Samples a second. 0 outside of training.",
        [(f"max by (student) (distilljob_student_samples_per_second{{{JOB}}})", "{{student}}")],
        "short",
    ),
    Panel(
        "Share of steps spent waiting for data",
        "High: more workers, or faster storage, pay off.",
        [
            (
                share_of_steps("distilljob_trainer_data_wait_seconds"),
                "{{student}}",
            )
        ],
        "percentunit",
        maximum=1,
    ),
    Panel(
        "Barrier share",
        "Share of its time that a student waited for the others. High for small networks beside large ones: "
        "placement.maximumConcurrentStudents frees their GPUs meanwhile.",
        [(f"max by (student) (rate(distilljob_student_barrier_seconds_total{{{JOB}}}[{RATE}]))", "{{student}}")],
        "percentunit",
        maximum=1,
    ),
    Panel(
        "Exchanged bytes",
        "Soft labels, up from and down to students, since the aggregator started.",
        [(f"sum by (direction) (distilljob_exchange_bytes_total{{{JOB}}})", "{{direction}}")],
        "bytes",
    ),
    Panel(
        "Uploads and rounds",
        "Mean length of an upload stream, and of a round from its first durable row to its close.",
        [
            (
                f"sum(distilljob_upload_seconds_sum{{{JOB}}}) / sum(distilljob_upload_seconds_count{{{JOB}}})",
                "upload",
            ),
            (
                f"sum(distilljob_round_wait_seconds_sum{{{JOB}}}) / sum(distilljob_round_wait_seconds_count{{{JOB}}})",
                "round",
            ),
        ],
        "s",
    ),
    Panel(
        "Open round",
        "How long it has been open, and what its uploads take on disk.",
        [(f"max(distilljob_cycle_open_seconds{{{JOB}}})", "open")],
        "s",
    ),
    Panel(
        "Restarts by reason",
        "Per student, since the job began.",
        [
            (f"sum by (student, reason) (distilljob_student_restarts{{{JOB}}}) > 0", "{{student}} {{reason}}"),
            (f"sum(distilljob_student_restarts{{{JOB}}})", "all"),
        ],
        "short",
    ),
    Panel(
        "Restart budget",
        "Share that is spent; closed cycles without a failure refill it.",
        [(f"max by (student) (distilljob_student_restart_budget_used_ratio{{{JOB}}})", "{{student}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["budget"],
        maximum=1,
    ),
    Panel(
        "Hang margin",
        "Silence since the last step as a share of the limit of its phase. At 100 % the student is replaced.",
        [(hang_share(JOB), "{{student}} {{phase}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["hang"],
    ),
    Panel(
        "Age of the newest checkpoint",
        "What a crash now would cost.",
        [(f"max by (student) (distilljob_trainer_checkpoint_age_seconds{{{JOB}}})", "{{student}}")],
        "s",
    ),
    Panel(
        "GPU memory",
        "Allocated by torch; 0 on a CPU.",
        [(f"max by (student) (distilljob_trainer_gpu_memory_bytes{{{JOB}}})", "{{student}}")],
        "bytes",
    ),
    Panel(
        "Rejected calls",
        "Calls that the aggregator answered with an error. NotYet and NotOpen are part of waiting.",
        [(f"sum by (reason) (increase(distilljob_rejected_total{{{JOB}}}[{RATE}])) or vector(0)", "{{reason}}")],
        "short",
    ),
    Panel(
        "Spool",
        "Uploads on the aggregator's disk.",
        [(f"max(distilljob_spool_bytes{{{JOB}}})", "spool")],
        "bytes",
    ),
)
