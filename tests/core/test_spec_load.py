"""Reading a DistillJob: kubectl's scalars, and every problem at once with its path and hint."""

import json
import random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.errors import SpecError
from distilljob_core.exit_codes import ExitCode
from distilljob_core.spec.kubectl_yaml import MAXIMUM_CHARACTERS, read_yaml, resolve_scalar
from distilljob_core.spec.load import check_job, load_job
from distilljob_core.spec.problems import SpecProblems

BASE = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "demo"},
    "spec": {
        "dataset": {"name": "digits"},
        "students": [{"name": "a", "model": {"name": "mlp_small"}}, {"name": "b", "model": {"name": "cnn_small"}}],
    },
}


def with_changes(changes):
    """Copy the base and set values by dotted path; list items by number."""
    tree = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        node = tree
        for step in parents:
            node = node[step] if isinstance(node, list) else node.setdefault(step, {})
        node[last] = value
    return tree


def problems_of(changes):
    with pytest.raises(SpecProblems) as caught:
        check_job(with_changes(changes))
    return caught.value.problems


# What `kubectl label --local -o json` (1.32) makes of each plain scalar.
KUBECTL = {
    "5e-4": 0.0005,
    "010": 8,
    "0o10": 8,
    "0b11": 3,
    "0x1F": 31,
    "1:30": "1:30",
    "2024-01-01": "2024-01-01",
    "yes": True,
    "y": True,
    "n": False,
    "Off": False,
    "~": None,
    "null": None,
    "1_000": 1000,
    ".5": 0.5,
    "5.": 5,
    "1e3": 1000,
    "-7": -7,
    "+7": 7,
    "0": 0,
    "00": 0,
    "08": 8,
    "1e": "1e",
    "1e400": "1e400",
    "0x": "0x",
    "1_0.5": 10.5,
    "3.0": 3,
    "1E5": 100000,
    "12e03": 12000,
    "+.5": 0.5,
    "0b12": "0b12",
    "TRUE": True,
    "tRUE": "tRUE",
    "_1": "_1",
    "1_": 1,
    "0_7": 7,
}


@pytest.mark.parametrize(("text", "value"), KUBECTL.items())
def test_plain_scalars_mean_what_kubectl_takes_them_for(text, value):
    resolved = resolve_scalar(text)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize("text", ['"5"', "'y'", '"null"', "|\n  12"])
def test_quoted_scalars_stay_text(text):
    assert isinstance(read_yaml(f"a: {text}")["a"], str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_json_writes_is_read_back_as_the_same_number(value):
    assert read_yaml(f"a: {json.dumps(value)}")["a"] == value


def test_merge_keys_and_anchors_work():
    tree = read_yaml("base: &b {p: 1, q: 2}\nuse:\n  <<: *b\n  q: 3\n")
    assert tree["use"] == {"p": 1, "q": 3}


def test_keys_become_text_as_kubectl_writes_them():
    assert read_yaml("{y: 1, 2: 3, 0.5: 4, a: 5}") == {"true": 1, "2": 3, "0.5": 4, "a": 5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [1", "line 1", id="broken"),
        pytest.param("a: 1\na: 2", "the key 'a' stands twice", id="duplicate-key"),
        pytest.param("", "holds 0 documents", id="empty"),
        pytest.param("a: 1\n---\nb: 2", "holds 2 documents", id="two-documents"),
        pytest.param("[1, 2]", "holds no object", id="list"),
        pytest.param("a" * (MAXIMUM_CHARACTERS + 1), "larger than", id="huge"),
        pytest.param("a: !!python/object:os.system x", "could not determine a constructor", id="python-object"),
        pytest.param("a: !!timestamp 2024-01-01", "could not determine a constructor", id="date"),
        pytest.param("a: !!set {b}", "could not determine a constructor", id="set"),
        pytest.param("a: !!bool maybe", "could not determine a constructor", id="no-bool"),
        pytest.param("a: &a [*a]", "is not YAML: Circular reference", id="endless"),
        pytest.param("[" * 5000, "is not YAML", id="deep"),
    ],
)
def test_what_is_no_single_yaml_object_is_refused_with_the_place(text, said):
    with pytest.raises(SpecProblems) as caught:
        read_yaml(text)
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.SPEC


def test_a_good_file_loads_with_defaults():
    job = load_job(yaml.safe_dump(BASE))
    assert job.spec.method.cycles == 4
    assert job.spec.training.optimizer.weight_decay == 5e-4
    assert job.spec.students[1].model.name == "cnn_small"


def test_every_problem_is_reported_at_once_with_its_path():
    found = problems_of(
        {
            "spec.method.cycels": 2,
            "spec.method.temperature": 0,
            "spec.training.batchSize": "32",
            "spec.students.1.name": "a",
            "spec.quorum.minimumStudents": 9,
            "spec.training.compile": "Default",
            "spec.students.0.model": {},
        }
    )
    assert {problem.path for problem in found} == {
        "spec.method.cycels",
        "spec.method.temperature",
        "spec.training.batchSize",
        "spec.training.compile",
        "spec.students[0].model.name",
    } | {problem.path for problem in found if problem.path in ("spec.students[1].name", "spec.quorum.minimumStudents")}


def test_rules_are_checked_beside_wrong_fields_when_only_optional_fields_are_wrong():
    found = {problem.path for problem in problems_of({"spec.method.cycles": "x", "spec.quorum.minimumStudents": 3})}
    assert found == {"spec.method.cycles", "spec.quorum.minimumStudents"}


def test_rules_never_blame_the_neighbor_of_a_wrong_list_item():
    student = BASE["spec"]["students"][0]
    found = problems_of({"spec.students": [student, "oops", {**student, "name": "b"}, {**student, "name": "b"}]})
    assert {problem.path for problem in found} == {"spec.students[1]"}


def test_a_field_is_reported_once_even_where_a_rule_minds_it_too():
    found = problems_of({"spec.method.ramp": {"kind": "Wrong", "alpha": 1.0}})
    assert [problem.path for problem in found].count("spec.method.ramp.kind") == 1


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        pytest.param({"spec.method.cycels": 2}, "spec.method.cycels", "did you mean cycles?", id="misspelled"),
        pytest.param({"spec.extra": 2}, "spec.extra", "known here: dataset", id="unknown-field"),
        pytest.param({"spec.students.0.traning": {}}, "spec.students[0].traning", "training", id="in-a-list"),
        pytest.param({"spec.method.independent_epochs": 1}, "spec.method.independent_epochs", "unknown", id="snake"),
        pytest.param({"spec.method.temperature": 0}, "spec.method.temperature", "greater than 0", id="t-zero"),
        pytest.param({"spec.method.temperature": -1}, "spec.method.temperature", "greater than 0", id="t-negative"),
        pytest.param({"spec.method.cycles": 1.5}, "spec.method.cycles", "integer", id="float-for-integer"),
        pytest.param({"spec.method.cycles": True}, "spec.method.cycles", "integer", id="bool-for-integer"),
        pytest.param({"spec.training.batchSize": "8"}, "spec.training.batchSize", 'not "8"', id="text-for-integer"),
        pytest.param({"spec.method.name": "DML"}, "spec.method.name", "'MD'", id="unknown-method"),
        pytest.param({"spec.students": []}, "spec.students", "at least 1 item", id="no-students"),
        pytest.param({"metadata.name": "A_b"}, "metadata.name", "lower-case", id="bad-name"),
        pytest.param({"kind": "Job"}, "kind", "DistillJob", id="other-kind"),
        pytest.param({"spec.dataset.options": {"a": [1]}}, "spec.dataset.options.a", "", id="option-not-scalar"),
        pytest.param({"spec.aggregator.teacherHistory": "Some"}, "spec.aggregator.teacherHistory", "", id="union"),
        pytest.param({"spec.aggregator.teacherHistory": 0}, "spec.aggregator.teacherHistory", "", id="union-zero"),
        pytest.param({"spec.students.0.name": "x" * 51}, "spec.students[0].name", "at most 50", id="long-name"),
        pytest.param({"spec.dataset.name": "x" * 300}, "spec.dataset.name", "...", id="long-value-is-cut"),
    ],
)
def test_a_wrong_field_says_where_what_and_how(changes, path, said):
    problem = next(problem for problem in problems_of(changes) if problem.path == path)
    assert said in f"{problem.message} {problem.hint}"


RULES_BROKEN = {
    "names-too-long": ({"metadata.name": "j" * 40, "spec.students.0.name": "s" * 20}, "spec.students[0].name"),
    "duplicate-students": ({"spec.students.1.name": "a"}, "spec.students[1].name"),
    "replica-collides": (
        {"spec.students.0.replicas": 2, "spec.students.1.name": "a-1"},
        "spec.students[1].name",
    ),
    "reserved-name": ({"spec.students.1.name": "aggregator"}, "spec.students[1].name"),
    "name-of-a-result": ({"spec.students.1.name": "result"}, "spec.students[1].name"),
    "name-of-a-students-metrics": ({"spec.students.1.name": "a-metrics"}, "spec.students[1].name"),
    "name-of-selected-weights": ({"spec.students.1.name": "a-selected"}, "spec.students[1].name"),
    "nesterov-without-momentum": (
        {"spec.training.optimizer": {"nesterov": True, "momentum": 0}},
        "spec.training.optimizer.nesterov",
    ),
    "nesterov-in-a-student": (
        {"spec.training.optimizer": {"nesterov": True}, "spec.students.1.training": {"optimizer": {"momentum": 0}}},
        "spec.students[1].training.optimizer.nesterov",
    ),
    "too-many-students": ({"spec.students.0.replicas": 64}, "spec.students"),
    "quorum-above-students": ({"spec.quorum.minimumStudents": 3}, "spec.quorum.minimumStudents"),
    "no-epochs": (
        {"spec.method.independentEpochs": 0, "spec.method.distillEpochs": 0},
        "spec.method.independentEpochs",
    ),
    "fixed-without-beta": ({"spec.method.ramp": {"kind": "Fixed", "alpha": 1}}, "spec.method.ramp.kind"),
    "linear-with-alpha": ({"spec.method.ramp": {"alpha": 1}}, "spec.method.ramp.kind"),
    "ecdnn-temperature": ({"spec.method.name": "ECDNN"}, "spec.method.temperature"),
    "ecdnn-ramp": ({"spec.method.name": "ECDNN"}, "spec.method.ramp.kind"),
    "ecdnn-weights": ({"spec.method.name": "ECDNN"}, "spec.method.teacher.weights"),
    "independent-stop": ({"spec.method.name": "Independent", "spec.stopAfterCycle": 1}, "spec.stopAfterCycle"),
    "independent-deadline": (
        {"spec.method.name": "Independent", "spec.quorum.cycleDeadlineSeconds": 9},
        "spec.quorum.cycleDeadlineSeconds",
    ),
    "stop-after-the-end": ({"spec.stopAfterCycle": 5}, "spec.stopAfterCycle"),
    "drop-without-quorum": ({"spec.failurePolicy.onDivergence": "DropStudent"}, "spec.quorum.minimumStudents"),
    "backoff-shrinks": ({"spec.failurePolicy.backoff.maxSeconds": 5}, "spec.failurePolicy.backoff.maxSeconds"),
    "null-override": ({"spec.students.0.training": {"batchSize": None}}, "spec.students[0].training.batchSize"),
}


@pytest.mark.parametrize(("changes", "path"), RULES_BROKEN.values(), ids=RULES_BROKEN.keys())
def test_a_broken_rule_names_the_field_to_change(changes, path):
    assert path in {problem.path for problem in problems_of(changes)}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"spec.students.0.replicas": 2, "spec.students.1.name": "a-2"}, id="replicas-beside"),
        pytest.param({"metadata.name": "j" * 28, "spec.students.0.name": "s" * 20}, id="names-just-fit"),
        pytest.param({"spec.students.0.replicas": 63}, id="64-students"),
        pytest.param({"spec.quorum.minimumStudents": 2}, id="quorum-of-all"),
        pytest.param({"spec.method.ramp": {"kind": "Fixed", "alpha": 1, "beta": 2}}, id="fixed"),
        pytest.param(
            {
                "spec.method": {
                    "name": "ECDNN",
                    "temperature": 1,
                    "ramp": {"kind": "Fixed", "alpha": 1, "beta": 1},
                    "teacher": {"weights": "Uniform"},
                }
            },
            id="ecdnn",
        ),
        pytest.param({"spec.method.name": "Independent"}, id="independent"),
        pytest.param(
            {"spec.failurePolicy.onBudgetExhausted": "DropStudent", "spec.quorum.minimumStudents": 1}, id="drop"
        ),
        pytest.param({"spec.students.0.training": {"clipNorm": None, "optimizer": {"kind": "AdamW"}}}, id="override"),
        pytest.param({"spec.students.0.gpus": 0, "status": {"phase": "Running"}}, id="status-is-ignored"),
        pytest.param({"metadata.labels": {"team": "x"}}, id="labels"),
    ],
)
def test_a_kept_rule_passes(changes):
    check_job(with_changes(changes))


REFUSED = {
    "spec.dataset.name": "imagenet",
    "spec.method.softLabels.codec": "Log8",
    "spec.method.stop.kind": "Plateau",
    "spec.method.teacher.weights": "BalancedAccuracy",
    "spec.training.compile": "Default",
    "spec.students.0.gpus": 2,
    "spec.results.formats": ["Onnx"],
}


@pytest.mark.parametrize(("path", "value"), REFUSED.items(), ids=REFUSED.keys())
def test_what_is_not_built_is_refused_and_never_ignored(path, value):
    found = problems_of({path: value})
    spelled = path.replace(".0.", "[0].")
    assert any(problem.path == spelled and "not supported yet" in problem.message for problem in found)


def test_problems_are_one_error_of_ours():
    with pytest.raises(SpecError, match=r"spec\.students: is required"):
        check_job({**BASE, "spec": {"dataset": {"name": "digits"}}})


def test_spec_that_is_no_object_is_refused():
    assert problems_of({"spec": 3})[0].path == "spec"


def test_nothing_but_our_error_comes_out_of_mutilated_files():
    """Seeded fuzz: replace random nodes of a good file by junk; every outcome is a job or SpecProblems."""
    rng = random.Random(20261123)
    junk = [None, True, -1, 1e400, "", "x" * 300, [], {}, [None], {"a": {"b": []}}, 2**70]
    num_refused = 0
    for _ in range(400):
        tree = with_changes({"spec.method.ramp": {"kind": "Linear"}, "spec.training.optimizer": {"kind": "SGD"}})
        node, key = {"root": tree}, "root"
        while isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        node[key] = rng.choice(junk)
        try:
            load_job(yaml.safe_dump(tree.get("root", tree)))
        except SpecProblems:
            num_refused += 1
    assert 0 < num_refused < 400


@pytest.mark.parametrize("amount", ["7", "1.5Gi", "100m", "500k", "512Ki", "1M"])
def test_an_amount_that_kubernetes_takes_is_taken(amount):
    assert check_job(with_changes({"spec.pod.sharedMemory": amount})).spec.pod.shared_memory == amount


@pytest.mark.parametrize("amount", ["512K", "512ki", "1GB", "1mi"])
def test_an_amount_that_kubernetes_refuses_is_refused(amount):
    (problem,) = problems_of({"spec.pod.sharedMemory": amount})
    assert problem.path == "spec.pod.sharedMemory"
