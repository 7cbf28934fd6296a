"""What the dashboard of the fleet shows."""

from typing import Final

from panels import GREEN_TO_RED_AT, RATE, Panel, hang_share, quantile

STUDENT: Final = "{{namespace}}/{{distilljob}} {{student}}"
REFUSED: Final = 'distilljob_operator_api_requests_total{code!~"2.."}'

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
        [("max(distilljob_operator_leading) or vector(0)", "leads")],
        "short",
        width=4,
        kind="stat",
        steps=GREEN_TO_RED_AT["leading"],
    ),
    Panel(
        "Jobs that cannot be observed",
        "Their progress is not known, so nobody of them is restarted for hanging. Look at the aggregator's pod.",
        [
            (
                "count(max by (namespace, distilljob) (distilljob_job_progress_observable) == 0) or vector(0)",
                "blind",
            )
        ],
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
        "The ten students that have used most of their budget: their own, that for hanging, or the job's. At 100 % the "
        "next failure of that kind ends the job, or the student.",
        [
            (
                "topk(10, max by (namespace, distilljob, student) (distilljob_student_restart_budget_used_ratio))",
                STUDENT,
            )
        ],
        "percentunit",
        steps=GREEN_TO_RED_AT["budget"],
        maximum=1,
    ),
    Panel(
        "Hang margin, least left",
        "How much of its limit a student has been silent for, the ten worst. At 100 % it is replaced.",
        [(f"topk(10, {hang_share('')})", STUDENT)],
        "percentunit",
        steps=GREEN_TO_RED_AT["hang"],
    ),
    Panel(
        "Failure to replacement",
        "From seeing that an attempt failed to having made the next one, back-off included; of the last hour's.",
        [
            (quantile(share, "distilljob_operator_replacement_seconds", "1h"), f"p{share * 100:g}")
            for share in (0.5, 0.99)
        ],
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
        [(f"sum by (code) (rate({REFUSED}[{RATE}])) or on () vector(0)", "{{code}}")],
        "reqps",
    ),
    Panel(
        "Last sign of each watch",
        "Seconds since the most silent watch of each kind heard anything. Beyond 180 the process restarts.",
        [("max by (kind) (distilljob_operator_watch_age_seconds)", "{{kind}}")],
        "s",
        steps=GREEN_TO_RED_AT["watch"],
    ),
    Panel(
        "Age of progress",
        "Of the job whose samples are oldest. Beyond a few polls the operator is blind for it.",
        [("max(distilljob_operator_progress_age_seconds)", "oldest")],
        "s",
        width=6,
        steps=GREEN_TO_RED_AT["progress"],
    ),
    Panel(
        "Queue",
        "Jobs that wait for a worker.",
        [("sum(distilljob_operator_queue_depth)", "jobs")],
        "short",
        width=6,
    ),
    Panel(
        "Loop lag",
        "The longest that a task of the process was kept waiting, within the last minute.",
        [("max(distilljob_operator_loop_lag_seconds)", "lag")],
        "s",
        width=6,
    ),
    Panel(
        "Failed readings of progress",
        "By source. The condition ProgressObservable of each job says why.",
        [(f"sum by (source) (rate(distilljob_operator_progress_errors_total[{RATE}]))", "{{source}}")],
        "ops",
        width=6,
    ),
)
