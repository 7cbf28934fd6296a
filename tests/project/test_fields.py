"""A field exists when it changes behavior: one table of all fields and the test that fails when one is ignored."""

import ast
import runpy
from pathlib import Path

import pytest

from distilljob_core.crd import schema
from distilljob_core.spec.unsupported import UNSUPPORTED

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "trainer/test_fields.py::test_a_changed_field_changes_the_weights"
"""Has its own table: the field changes the weights of a small group."""
LIFECYCLE = "core/test_lifecycle_"
MANIFESTS = "operator/manifests/test_objects.py::test_"
PATCHES = runpy.run_path(str(ROOT / "tests/operator/manifests/test_patches.py"))["WISHES"]

TESTS = {
    **dict.fromkeys(runpy.run_path(str(ROOT / "tests/trainer/test_fields.py"))["CHANGES"], WEIGHTS),
    "dataset.name": "trainer/test_data_memory.py::test_a_users_dataset_is_loaded_with_its_options",
    "dataset.download": "trainer/test_data_download.py::test_never_means_never",
    **dict.fromkeys(
        (f"dataset.volume.persistentVolumeClaim.{name}" for name in ("claimName", "subPath", "readOnly")),
        "operator/manifests/test_pods.py::test_a_dataset_volume_is_mounted_for_students_alone",
    ),
    "training.augmentation": "trainer/test_data_memory.py::test_augmentation_is_the_datasets_own_or_none",
    "training.precision": "trainer/test_numerics.py::test_precision_is_resolved_by_the_device",
    "training.dataLoaderWorkers": "trainer/test_data_streaming.py::"
    "test_a_student_has_the_workers_it_asks_for_or_one_for_each_of_its_cpus",
    "students[].model.options": "trainer/test_models.py::test_a_users_factory_gets_classes_and_options",
    "students[].gpus": "trainer/test_numerics.py::test_a_student_gets_a_gpu_only_when_it_asks_for_one",
    "students[].replicas": "core/test_plan.py::test_replicas_become_students_of_their_own",
    "students[].command": "operator/manifests/test_pods.py::test_a_users_own_trainer_gets_the_same_surroundings",
    **dict.fromkeys(
        (f"{part}pod.{field}" for part in ("", "students[].", "aggregator.") for field in PATCHES),
        "operator/manifests/test_patches.py::test_a_field_changes_the_pods_that_it_is_said_of_and_no_others",
    ),
    "aggregator.pod.gpuResourceName": "core/test_spec_cluster.py::test_what_no_cluster_could_run_is_named",
    **dict.fromkeys(
        (
            f"{part}.storage.{field}"
            for part in ("aggregator", "checkpoints", "results")
            for field in ("size", "storageClassName")
        ),
        f"{MANIFESTS}claims_have_the_sizes_and_classes_that_are_asked_for",
    ),
    "results.storage.claimName": f"{MANIFESTS}results_may_go_into_a_folder_of_a_claim_that_exists",
    "checkpoints.retention": f"{MANIFESTS}retention_says_which_claims_outlive_the_job",
    "results.retention": f"{MANIFESTS}retention_says_which_claims_outlive_the_job",
    "security.tls": f"{MANIFESTS}without_tls_nothing_of_it_is_left",
    "security.tlsSecretName": f"{MANIFESTS}each_pod_sees_its_own_certificate_and_nobody_elses",
    "security.networkPolicy": f"{MANIFESTS}a_job_may_want_no_network_policy",
    "aggregator.teacherHistory": "aggregator/test_rounds_admission.py::test_a_teacher_beyond_the_history_is_gone",
    "checkpoints.intervalSeconds": "trainer/test_resume.py::test_a_kill_anywhere_leaves_no_trace",
    "placement.maximumConcurrentStudents": "contract/run/test_run.py::"
    "test_students_that_take_turns_give_the_weights_of_all_at_once",
    "failurePolicy.maxRestartsPerStudent": f"{LIFECYCLE}budget.py::"
    "test_a_student_may_fail_as_often_as_its_budget_says_and_no_more",
    "failurePolicy.maxRestarts": f"{LIFECYCLE}budget.py::test_the_job_has_a_budget_of_its_own",
    "failurePolicy.refillCycles": f"{LIFECYCLE}budget.py::"
    "test_closed_cycles_with_its_labels_refill_a_students_budget_but_never_the_jobs",
    **dict.fromkeys(
        (f"failurePolicy.backoff.{name}Seconds" for name in ("initial", "base", "max")),
        f"{LIFECYCLE}budget.py::test_waits_grow_from_one_failure_to_the_next",
    ),
    "failurePolicy.backoff.factor": f"{LIFECYCLE}budget.py::test_waits_grow_from_one_failure_to_the_next",
    **dict.fromkeys(
        (f"failurePolicy.hang.{name}Seconds" for name in ("startup", "steady", "evaluation", "exchange", "checkpoint")),
        f"{LIFECYCLE}hang.py::test_every_phase_has_its_limit",
    ),
    "failurePolicy.hang.maxRestartsPerStudent": f"{LIFECYCLE}hang.py::test_hangs_have_a_lower_budget_of_their_own",
    "failurePolicy.onDivergence": f"{LIFECYCLE}restarts.py::"
    "test_a_diverged_student_is_dropped_where_the_job_can_spare_it",
    "failurePolicy.onBudgetExhausted": f"{LIFECYCLE}budget.py::"
    "test_a_student_without_restarts_left_leaves_where_the_job_can_spare_it",
    "quorum.minimumStudents": "contract/test_exchange.py::"
    "test_a_round_closes_at_its_deadline_with_the_quorum_and_the_late_student_follows",
    "quorum.cycleDeadlineSeconds": "contract/test_exchange.py::"
    "test_a_round_closes_at_its_deadline_with_the_quorum_and_the_late_student_follows",
    "quorum.onLoss": f"{LIFECYCLE}ends.py::test_a_round_past_its_deadline_without_a_quorum_fails_the_job_that_wants_it",
    "stopAfterCycle": f"{LIFECYCLE}deadlines.py::test_the_wish_to_stop_early_reaches_the_aggregator",
    "startupDeadlineSeconds": f"{LIFECYCLE}deadlines.py::test_the_third_startup_that_fails_ends_the_job",
    "suspend": f"{LIFECYCLE}deadlines.py::"
    "test_a_suspension_ends_all_attempts_then_the_aggregator_and_counts_as_nothing",
    "failurePolicy.nodeLost.forceDeleteAfterSeconds": f"{LIFECYCLE}restarts.py::"
    "test_an_attempt_on_a_lost_node_is_given_up_where_the_user_opted_in",
    "cleanupPolicy": "operator/test_clear.py::test_the_end_of_a_job_takes_what_its_policy_says_and_never_a_claim",
    "ttlSecondsAfterFinished": "cluster/test_operator.py::test_a_finished_job_goes_when_its_time_is_over",
    "activeDeadlineSeconds": f"{LIFECYCLE}deadlines.py::test_a_job_that_is_active_for_too_long_fails",
}


def leaves(node, path=""):
    """Every field that holds a value of its own."""
    below = node.get("properties") or node.get("items", {}).get("properties")
    if below is None:
        yield path.removesuffix("[]")
        return
    prefix = f"{path}[]." if "items" in node else f"{path}."
    for name, child in below.items():
        yield from leaves(child, f"{prefix}{name}".removeprefix("."))


def is_refused(path):
    return any(path == pattern or path.startswith(f"{pattern}.") for pattern in UNSUPPORTED)


BUILT = {
    path.removeprefix("spec.")
    for path in leaves(schema()["properties"]["spec"], "spec")
    if not path.startswith("spec.students[].training.") and not is_refused(path.removeprefix("spec."))
}


def test_every_field_that_is_not_refused_names_the_test_that_needs_it():
    assert BUILT - TESTS.keys() == set()


@pytest.mark.parametrize("test", sorted(set(TESTS.values())))
def test_the_named_test_exists(test):
    file, name = test.split("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in found
