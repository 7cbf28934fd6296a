"""What the dashboard of one job shows."""

from typing import Final

from panels import GREEN_TO_RED_AT, JOB, RATE, Panel, hang_share, share_of_steps

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
        minimum=None,
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
        minimum=None,
    ),
    Panel(
        "Teacher gain",
        "Over time: what the ensemble is worth over its best member, on the hold-out.",
        [(f"max(distilljob_teacher_gain_ratio{{{JOB}}})", "gain")],
        "percentunit",
        steps=GREEN_TO_RED_AT["gain"],
        minimum=None,
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
        "How long it has been open. A round closes when the last student's rows are there.",
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
        "Share that is spent of the student's own, of that for hanging, or of the job's, whichever is nearest to its "
        "end: at 100 % the next restart of that kind is refused. Closed cycles without a failure refill a student's.",
        [(f"max by (student) (distilljob_student_restart_budget_used_ratio{{{JOB}}})", "{{student}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["budget"],
        maximum=1,
    ),
    Panel(
        "Hang margin",
        "Silence since the last step as a share of the limit of its phase. At 100 % the student is replaced. No line: "
        "it does not run, or waits at the barrier.",
        [(hang_share(JOB), "{{student}}")],
        "percentunit",
        steps=GREEN_TO_RED_AT["hang"],
    ),
    Panel(
        "Age of the newest checkpoint",
        "What a crash now would cost.",
        [(f"max by (student) (distilljob_trainer_checkpoint_age_seconds{{{JOB}}})", "{{student}}")],
        "s",
        width=6,
    ),
    Panel(
        "GPU memory",
        "Allocated by torch; 0 on a CPU.",
        [(f"max by (student) (distilljob_trainer_gpu_memory_bytes{{{JOB}}})", "{{student}}")],
        "bytes",
        width=6,
    ),
    Panel(
        "Rejected calls",
        "Calls that the aggregator answered with an error, by its name. TeacherNotReady, Busy and NotOpen are tried "
        "again, now and then they are normal; Fenced is an attempt that was replaced.",
        [
            (
                f"sum by (reason) (increase(distilljob_rejected_total{{{JOB}}}[{RATE}])) > 0 or on () vector(0)",
                "{{reason}}",
            )
        ],
        "short",
        width=6,
    ),
    Panel(
        "Spool",
        "Uploads on the aggregator's disk.",
        [(f"max(distilljob_spool_bytes{{{JOB}}})", "spool")],
        "bytes",
        width=6,
    ),
)
