"""The custom resource on a real API server: what it accepts, refuses and shows; our own checks say the same."""

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from kubernetes.aio.client import ApiException
from pydantic import BaseModel

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import JobState, Restarts, Standing, StudentState, Termination
from distilljob_core.spec.base import merge
from distilljob_core.spec.cluster import CLUSTER_RULES, cluster_problems
from distilljob_core.spec.frozen import FREEZES, FROZEN, FROZEN_POD, FROZEN_WISH, Stage, frozen_changes
from distilljob_core.spec.job import DistillJob, DistillJobSpec
from distilljob_core.spec.load import check_job
from distilljob_core.spec.problems import SpecProblems
from distilljob_core.spec.rules import RULES
from distilljob_core.spec.students import Student
from distilljob_operator.memory import read_state
from distilljob_operator.shown import shown
from rig.api import DISTILLJOBS, Api, Object, path
from rig.build import RigError

pytestmark = pytest.mark.usefixtures("crd")
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*.yaml"))
STUDENTS = [{"name": "a", "model": {"name": "mlp_small"}}, {"name": "b", "model": {"name": "cnn_small"}}]
BASE: Object = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "demo"},
    "spec": {"dataset": {"name": "digits"}, "students": STUDENTS},
}
Kubectl = Callable[..., str]


def with_changes(**changes: object) -> Object:
    """Copy the base; `name` is the job's, all else is laid over its spec."""
    made = deepcopy(BASE)
    made["metadata"]["name"] = changes.pop("name", "demo")
    made["spec"] = merge(made["spec"], changes)
    return made


def student(index: int, **changes: object) -> Object:
    """Change one of the two students."""
    students = deepcopy(STUDENTS)
    students[index] |= changes
    return {"students": students}


async def refusals(api: Api, method: str, where: str, body: Object) -> list[tuple[str, str]]:
    """Ask without doing it; field and message of everything that is refused."""
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await api.request(method, where, body, query=query, content_type=content_type)
    except ApiException as error:
        causes = json.loads(error.body)["details"]["causes"]
        return [(cause["field"], re.sub(r'^Invalid value: ("object": )?', "", cause["message"])) for cause in causes]
    return []


def own_problems(body: Object) -> Iterator[tuple[str, str]]:
    """Tell what our own checks find."""
    try:
        found = list(cluster_problems(check_job(body)))
    except SpecProblems as error:
        found = [*error.problems]
    return ((problem.path, problem.message) for problem in found)


ECDNN = {"name": "ECDNN", "temperature": 1, "ramp": {"kind": "Fixed", "alpha": 1, "beta": 1.5}}
UNIFORM = {"teacher": {"weights": "Uniform"}}
INDEPENDENT = {"name": "Independent"}
DROP = {"onDivergence": "DropStudent"}
SAMPLES = {
    "metadata.name and the student's name": (
        "spec.students",
        {"name": "j" * 30} | student(0, name="s" * 18),
        {"name": "j" * 30} | student(0, name="s" * 19),
    ),
    "student names must be unique": (
        "spec.students",
        {"students": [{**STUDENTS[0], "replicas": 11}, {**STUDENTS[1], "name": "a-11"}]},
        {"students": [{**STUDENTS[0], "replicas": 11}, {**STUDENTS[1], "name": "a-10"}]},
    ),
    "aggregator, ensemble, result": ("spec.students", student(1, name="results"), student(1, name="b-metrics")),
    "more than 64 students": ("spec.students", student(0, replicas=63), student(0, replicas=64)),
    "is larger than the number of students": (
        "spec.quorum.minimumStudents",
        {"quorum": {"minimumStudents": 4}} | student(1, replicas=3),
        {"quorum": {"minimumStudents": 5}} | student(1, replicas=3),
    ),
    "a cycle has no epochs": (
        "spec.method.independentEpochs",
        {"method": {"independentEpochs": 0, "distillEpochs": 1}},
        {"method": {"independentEpochs": 0, "distillEpochs": 0}},
    ),
    "needs a momentum above 0": (
        "spec.training.optimizer.nesterov",
        {"training": {"optimizer": {"nesterov": True}}},
        {"training": {"optimizer": {"nesterov": True, "momentum": 0}}},
    ),
    "kind Fixed needs alpha and beta": (
        "spec.method.ramp.kind",
        {"method": {"ramp": {"kind": "Fixed", "alpha": 0, "beta": 2}}},
        {"method": {"ramp": {"kind": "Fixed", "alpha": 0}}},
    ),
    "ECDNN needs temperature 1": (
        "spec.method.temperature",
        {"method": ECDNN | UNIFORM},
        {"method": ECDNN | UNIFORM | {"temperature": 3}},
    ),
    "ECDNN needs ramp kind Fixed": (
        "spec.method.ramp.kind",
        {"method": ECDNN | UNIFORM},
        {"method": ECDNN | UNIFORM | {"ramp": {}}},
    ),
    "ECDNN needs teacher weights": ("spec.method.teacher.weights", {"method": ECDNN | UNIFORM}, {"method": ECDNN}),
    "Independent has no cycles to stop after": (
        "spec.stopAfterCycle",
        {"stopAfterCycle": 1},
        {"stopAfterCycle": 1, "method": INDEPENDENT},
    ),
    "Independent has no cycles to judge": (
        "spec.method.stop.kind",
        {"method": INDEPENDENT},
        {"method": INDEPENDENT | {"stop": {"kind": "Plateau"}}},
    ),
    "Independent has no cycles that could be late": (
        "spec.quorum.cycleDeadlineSeconds",
        {"quorum": {"cycleDeadlineSeconds": 9}},
        {"quorum": {"cycleDeadlineSeconds": 9}, "method": INDEPENDENT},
    ),
    "is later than the last cycle": ("spec.stopAfterCycle", {"stopAfterCycle": 4}, {"stopAfterCycle": 5}),
    "DropStudent needs quorum.minimumStudents": (
        "spec.quorum.minimumStudents",
        {"failurePolicy": DROP, "quorum": {"minimumStudents": 1}},
        {"failurePolicy": DROP},
    ),
    "is shorter than baseSeconds": (
        "spec.failurePolicy.backoff.maxSeconds",
        {"failurePolicy": {"backoff": {"baseSeconds": 5, "maxSeconds": 5}}},
        {"failurePolicy": {"backoff": {"maxSeconds": 5}}},
    ),
    "tls Secret needs tlsSecretName": (
        "spec.security.tlsSecretName",
        {"security": {"tls": "Secret", "tlsSecretName": "mine"}},
        {"security": {"tlsSecretName": "mine"}},
    ),
    "metadata.name names a Service": ("spec", {"name": "a1"}, {"name": "1a"}),
    "the aggregator uses no GPU": (
        "spec.aggregator.pod.gpuResourceName",
        {"pod": {"gpuResourceName": "amd.com/gpu"}},
        {"aggregator": {"pod": {"gpuResourceName": "amd.com/gpu"}}},
    ),
    "is All or a number of cycles": (
        "spec.aggregator.teacherHistory",
        {"aggregator": {"teacherHistory": 2}},
        {"aggregator": {"teacherHistory": 0}},
    ),
}
"""The beginning of a rule's message -> the field to blame, changes that keep it, changes that break it."""
BY_TYPE = ("is All or a number of cycles",)
"""What our own types say, in words of their own."""


def rule_of(beginning: str) -> str:
    [message] = {rule.message for rule in (*RULES, *CLUSTER_RULES) if rule.message.startswith(beginning)}
    return message


def test_every_rule_has_its_samples() -> None:
    assert {rule_of(beginning) for beginning in SAMPLES} == {rule.message for rule in (*RULES, *CLUSTER_RULES)}


@pytest.mark.parametrize("beginning", SAMPLES)
async def test_a_rule_refuses_what_breaks_it_and_says_what_to_change(api: Api, namespace: str, beginning: str) -> None:
    field, kept, broken = SAMPLES[beginning]
    where, body = path(DISTILLJOBS, namespace), with_changes(**broken)
    assert await refusals(api, "POST", where, with_changes(**kept)) == []
    assert await refusals(api, "POST", where, body) == [(field, rule_of(beginning))]
    paths = {place for place, message in own_problems(body) if beginning in BY_TYPE or message == rule_of(beginning)}
    if beginning == "metadata.name names a Service":
        assert paths == {"metadata.name"}, "rules cannot point outside of spec"
    elif beginning != "Independent has no cycles to judge":  # a plateau is not built yet, and refused before
        assert paths
        assert all(place.startswith(field) for place in paths)


STAGES: dict[Stage | None, Object] = {
    None: {"phase": "Pending"},
    Stage.STARTED: {"startTime": "2030-01-01T00:00:00Z"},
    Stage.SUSPENDED: {
        "startTime": "2030-01-01T00:00:00Z",
        "conditions": [
            {
                "type": "Suspended",
                "status": "True",
                "reason": "SuspendedByUser",
                "lastTransitionTime": "2030-01-01T00:00:00Z",
            }
        ],
    },
    Stage.ENDED: {"startTime": "2030-01-01T00:00:00Z", "completionTime": "2030-01-02T00:00:00Z"},
}
CHANGES: tuple[tuple[str, str, Object], ...] = (
    ("spec.dataset", FROZEN, {"dataset": {"options": {"train_samples": 100}}}),
    ("spec.method", FROZEN, {"method": {"temperature": 2.5}}),
    ("spec.training", FROZEN, {"training": {"clipNorm": 1.0}}),
    ("spec.checkpoints", FROZEN, {"checkpoints": {"intervalSeconds": 60}}),
    ("spec.results", FROZEN, {"results": {"storage": {"size": "1Gi"}}}),
    ("spec.placement", FROZEN, {"placement": {"maximumConcurrentStudents": 1}}),
    ("spec.quorum", FROZEN, {"quorum": {"minimumStudents": 1}}),
    ("spec.startupDeadlineSeconds", FROZEN, {"startupDeadlineSeconds": 60}),
    ("spec.cleanupPolicy", FROZEN, {"cleanupPolicy": "All"}),
    ("spec.security", FROZEN, {"security": {"networkPolicy": False}}),
    ("spec.aggregator.storage", FROZEN, {"aggregator": {"storage": {"storageClassName": "fast"}}}),
    ("spec.aggregator.teacherHistory", FROZEN, {"aggregator": {"teacherHistory": 3}}),
    ("spec.students", FROZEN, {"students": STUDENTS[:1]}),
    ("spec.students", FROZEN, {"students": [*STUDENTS, {"name": "c", "model": {"name": "mlp_small"}}]}),
    ("spec.students", FROZEN, {"students": STUDENTS[::-1]}),
    ("spec.students", FROZEN, student(0, name="c")),
    ("spec.students", FROZEN, student(0, model={"name": "mlp_small", "options": {"width": 8}})),
    ("spec.students", FROZEN, student(0, gpus=0)),
    ("spec.students", FROZEN, student(0, replicas=2)),
    ("spec.students", FROZEN, student(0, command=["mine"])),
    ("spec.students", FROZEN, student(0, initialWeights={"pretrained": "X"})),
    ("spec.students", FROZEN, student(0, training={"batchSize": 64})),
    ("spec.students", FROZEN_POD, student(1, pod={"image": "new"})),
    ("spec.pod", FROZEN_POD, {"pod": {"resources": {"limits": {"memory": "8Gi"}}}}),
    ("spec.pod", FROZEN_POD, {"pod": {"affinity": {"nodeAffinity": {}}}}),
    ("spec.aggregator.pod", FROZEN_POD, {"aggregator": {"pod": {"nodeSelector": {"disk": "fast"}}}}),
    ("spec.suspend", FROZEN_WISH, {"suspend": True}),
    ("spec.stopAfterCycle", FROZEN_WISH, {"stopAfterCycle": 2}),
    ("spec.activeDeadlineSeconds", FROZEN_WISH, {"activeDeadlineSeconds": 60}),
    ("spec.failurePolicy", FROZEN_WISH, {"failurePolicy": {"hang": {"steadySeconds": 60}}}),
    ("spec.ttlSecondsAfterFinished", "", {"ttlSecondsAfterFinished": 60}),
)
"""The field to blame, what is said of it once it is frozen, and the change."""
FROZEN_AT: dict[Stage | None, frozenset[str]] = {
    None: frozenset(),
    Stage.STARTED: frozenset({FROZEN, FROZEN_POD}),
    Stage.SUSPENDED: frozenset({FROZEN}),
    Stage.ENDED: frozenset({FROZEN, FROZEN_POD, FROZEN_WISH}),
}


def test_every_frozen_field_has_its_change() -> None:
    tried = {(f".{field}", message) for field, message, _ in CHANGES if message}
    assert tried == {(freeze.field_path, freeze.message) for freeze in FREEZES}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_field_is_frozen_when_its_time_has_come_and_not_before(
    api: Api, namespace: str, stage: Stage | None
) -> None:
    await api.create(DISTILLJOBS, BASE, namespace)
    await api.patch(DISTILLJOBS, "demo", {"status": STAGES[stage]}, namespace, subresource="status")
    for field, message, change in CHANGES:
        refused = await refusals(api, "PATCH", path(DISTILLJOBS, namespace, "demo"), {"spec": change})
        assert refused == ([(field, message)] if message in FROZEN_AT[stage] else []), change


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(("field", "message", "change"), CHANGES)
def test_our_own_check_freezes_the_same(stage: Stage, field: str, message: str, change: Object) -> None:
    before, now = (DistillJob.model_validate(with_changes(**changed)).spec for changed in ({}, change))
    found = {(problem.path.startswith(field), problem.message) for problem in frozen_changes(before, now, stage)}
    assert found == ({(True, message)} if message in FROZEN_AT[stage] else set())


async def test_defaults_are_those_of_our_own_models_and_can_be_seen(api: Api, namespace: str) -> None:
    made = await api.create(DISTILLJOBS, BASE, namespace)
    assert made["spec"]["method"]["ramp"] == {"kind": "Linear", "unit": "Epoch"}
    assert made["spec"]["failurePolicy"]["hang"]["steadySeconds"] == 600
    assert "training" not in made["spec"]["students"][0]
    assert check_job(made).spec.model_dump() == check_job(BASE).spec.model_dump()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
async def test_an_example_is_accepted_as_it_is(kubectl: Kubectl, namespace: str, file: Path) -> None:
    told = kubectl("apply", "-n", namespace, "--validate=strict", "--dry-run=server", "-f", str(file))
    assert "created (server dry run)" in told


def nulls(model: type[BaseModel]) -> Object:
    """Write null wherever a part of the spec may say so."""
    written: Object = {}
    for name, field in model.model_fields.items():
        if field.default is None:
            written[field.alias or name] = None
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) and field.default_factory:
            written[field.alias or name] = nulls(field.annotation)
    return written


async def test_a_null_that_is_written_out_is_stored_like_nothing(api: Api, namespace: str) -> None:
    body = with_changes(**nulls(DistillJobSpec), students=[one | nulls(Student) for one in STUDENTS])
    assert body["spec"]["quorum"] == {"minimumStudents": None, "cycleDeadlineSeconds": None}
    assert body["spec"]["students"][1]["pod"]["imagePullPolicy"] is None
    spelled = await api.create(DISTILLJOBS, body, namespace)
    body = with_changes(name="other")
    assert spelled["spec"] == (await api.create(DISTILLJOBS, body, namespace))["spec"]


async def test_a_misspelled_field_is_refused(kubectl: Kubectl, namespace: str) -> None:
    text = yaml.safe_dump(with_changes(method={"cycels": 2}))
    with pytest.raises(RigError, match=r'unknown field "spec\.method\.cycels"'):
        kubectl("create", "-n", namespace, "-f", "-", stdin=text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"method": {"temperature": 0}}, "spec.method.temperature", id="open-bound"),
        pytest.param({"method": {"cycles": 1001}}, "spec.method.cycles", id="bound"),
        pytest.param(
            {"dataset": {"holdout": {"maximumSamples": 65537}}}, "spec.dataset.holdout.maximumSamples", id="65536"
        ),
        pytest.param({"method": {"name": "DML"}}, "spec.method.name", id="enum"),
        pytest.param({"training": {"batchSize": "8"}}, "spec.training.batchSize", id="type"),
        pytest.param({"students": []}, "spec.students", id="too-few"),
        pytest.param({"students": [STUDENTS[0], STUDENTS[0]]}, "spec.students[1]", id="twice"),
        pytest.param(student(0, name="A_b"), "spec.students[0].name", id="pattern"),
        pytest.param({"aggregator": {"storage": {"size": "big"}}}, "spec.aggregator.storage.size", id="quantity"),
    ],
)
async def test_a_wrong_value_is_refused_where_it_stands(api: Api, namespace: str, changes: Object, field: str) -> None:
    body = with_changes(**changes)
    assert field in {place for place, _ in await refusals(api, "POST", path(DISTILLJOBS, namespace), body)}
    with pytest.raises(SpecProblems) as caught:
        check_job(body)
    assert any(problem.path.startswith(field) for problem in caught.value.problems)


async def test_spec_and_status_are_written_apart(api: Api, namespace: str) -> None:
    made = await api.create(DISTILLJOBS, with_changes() | {"status": {"phase": "Complete"}}, namespace)
    assert "status" not in made
    both = {"spec": {"suspend": True}, "status": {"phase": "Training"}}
    made = await api.patch(DISTILLJOBS, "demo", both, namespace)
    assert (made["spec"]["suspend"], made.get("status"), made["metadata"]["generation"]) == (True, None, 2)
    both["spec"]["suspend"] = False
    made = await api.patch(DISTILLJOBS, "demo", both, namespace, subresource="status")
    assert (made["spec"]["suspend"], made["status"], made["metadata"]["generation"]) == (True, both["status"], 2)


VALID = Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", 1.9e9)


def status_of(names: str, **students: StudentState) -> Object:
    """Lay out the status of a job that has started."""
    state = JobState("", dict.fromkeys(names, StudentState(Standing.LIVE, 1, "pod")) | students, 1.9e9, 1.9e9)
    return shown(check_job(BASE), state, None, 1.9e9, generation=1, valid=VALID, before=None)


async def test_a_status_is_stored_as_it_was_written(api: Api, namespace: str) -> None:
    end = Termination(3, 137, "OOMKilled", 1.9e9, "it was killed, she said “why?”")
    failed = StudentState(attempt=3, backoff_until_seconds=1.9e9 + 9, restarts=Restarts(crash=2), last_termination=end)
    made = await api.create(DISTILLJOBS, BASE, namespace)
    status = status_of("ab", b=failed)
    made = await api.patch(DISTILLJOBS, "demo", {"status": status}, namespace, subresource="status")
    assert made["status"] == status
    body = {"metadata": {"uid": ""}, "status": made["status"]}
    assert read_state(body).students["b"] == failed


async def test_a_list_shows_the_columns_under_the_short_name_and_the_categories(
    api: Api, kubectl: Kubectl, namespace: str
) -> None:
    await api.create(DISTILLJOBS, BASE, namespace)
    waiting = StudentState(attempt=1, restarts=Restarts(crash=1, hang=1))
    status = status_of("ab", b=waiting) | {"accuracyColumn": "91.2%", "slowestStudent": "b"}
    status["estimatedCompletionTime"] = "2040-01-01T00:00:00Z"
    await api.patch(DISTILLJOBS, "demo", {"status": status}, namespace, subresource="status")
    head, row = kubectl("get", "dj", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "PHASE", "CYCLE", "STUDENTS", "RESTARTS", "ACCURACY", "AGE"]
    assert row.split()[:-1] == ["demo", "Starting", "1/4", "0/2", "2", "91.2%"]
    head, row = kubectl("get", "dj", "-n", namespace, "-o", "wide").splitlines()
    assert head.split() == ["NAME", "PHASE", "CYCLE", "STUDENTS", "RESTARTS", "ACCURACY", "SLOWEST", "ETA", "AGE"]
    assert row.split()[6:8] == ["b", "2040-01-01T00:00:00Z"], "a date to come, not its age"
    for category in ("all", "distill"):
        assert "distilljob.distilljob.dev/demo" in kubectl("get", category, "-n", namespace, "-o", "name")


async def test_a_description_has_one_line_for_the_memory(api: Api, kubectl: Kubectl, namespace: str) -> None:
    await api.create(DISTILLJOBS, BASE, namespace)
    await api.patch(DISTILLJOBS, "demo", {"status": status_of("ab")}, namespace, subresource="status")
    lines = kubectl("describe", "dj", "demo", "-n", namespace).partition("\nStatus:\n")[2].splitlines()
    [memory] = [line for line in lines if '"standing"' in line]
    assert memory.strip().startswith("Memory:")
    assert len(lines) < 45


EXPLAINED = {
    "": ["A group of students that teach each other", "spec\t<Object> -required-", "status\t<Object>"],
    ".spec.students": [
        "The networks of the group, by name.",
        "model\t<Object> -required-",
        "Your own trainer, in any framework, that speaks the gRPC contract; empty = distilljob-trainer.",
        "This student's own training settings, laid over spec.training.",
        "The same network several times with other seeds, named alexnet-0, alexnet-1.",
    ],
    ".spec.method.temperature": ["t in softmax(g / t); larger is softer."],
    ".spec.method.name": ["ENUM: MD Independent ECDNN", "MD: the paper's method."],
    ".spec.failurePolicy.hang": ["Limit between two training steps."],
    ".status.students": ["Its next attempt waits for this time."],
}


@pytest.mark.parametrize("field", EXPLAINED)
def test_kubectl_explains_every_field_in_whole_sentences(kubectl: Kubectl, field: str) -> None:
    told = " ".join(kubectl("explain", f"distilljob{field}").split())
    for sentence in EXPLAINED[field]:
        assert " ".join(sentence.split()) in told


def test_the_definition_is_established_without_complaints(kubectl: Kubectl) -> None:
    found = json.loads(kubectl("get", "crd", "distilljobs.distilljob.dev", "-o", "json"))["status"]["conditions"]
    assert {one["type"]: one["status"] for one in found} == {"NamesAccepted": "True", "Established": "True"}
