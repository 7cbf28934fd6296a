"""What a single field cannot say: rules across fields, each as CEL for the API server and in Python for all else.

The operator checks them again, because an installed CRD may be older than the operator.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import replica_names, resolve_training, student_names
from distilljob_core.spec.training import Optimizer

MAXIMUM_NAME_CHARACTERS: Final = 63
SUFFIX_CHARACTERS: Final = len("--ckpt-12345678")
"""What the longest derived name, a student's checkpoint claim, adds to job and student."""
MAXIMUM_STUDENTS: Final = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it stands in the schema, what it says, and how it is checked on both sides."""

    at: str
    """Node of the schema that carries the CEL rule; its `self`. Empty = the root."""
    cel: str
    field_path: str
    """The field to blame, below `at`."""
    message: str
    broken: Callable[[DistillJob], Iterable[str]]
    """Yields the full path of each offending field; nothing when the rule holds."""


def broken_rules(job: DistillJob) -> Iterator[Problem]:
    """Find every broken rule of a job whose fields are fine one by one."""
    for rule in RULES:
        for path in rule.broken(job):
            yield Problem(path, rule.message)
    yield from _broken_overrides(job)


def _broken_overrides(job: DistillJob) -> Iterator[Problem]:
    """Check each student's merged settings; null cannot take the place of a value that must be there."""
    for index, student in enumerate(job.spec.students):
        try:
            merged = resolve_training(job.spec, student)
            if student.training is not None and _lacks_momentum(merged.optimizer):
                yield Problem(f"spec.students[{index}].training.optimizer.nesterov", _NESTEROV)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                below = ".".join(str(step) for step in detail["loc"])
                yield Problem(f"spec.students[{index}].training.{below}", detail["msg"].lower())


def _when(broken: Callable[[DistillJob], bool], path: str) -> Callable[[DistillJob], Iterable[str]]:
    return lambda job: (path,) if broken(job) else ()


def _each_student(broken: Callable[[DistillJob, int], bool], below: str) -> Callable[[DistillJob], Iterable[str]]:
    return lambda job: (
        f"spec.students[{index}].{below}" for index in range(len(job.spec.students)) if broken(job, index)
    )


def _lacks_momentum(optimizer: Optimizer) -> bool:
    return optimizer.nesterov and optimizer.kind == "SGD" and optimizer.momentum == 0


def _is_too_long(job: DistillJob, index: int) -> bool:
    longest = max(len(name) for name in replica_names(job.spec.students[index]))
    return len(job.metadata.name) + longest + SUFFIX_CHARACTERS > MAXIMUM_NAME_CHARACTERS


def _is_taken(job: DistillJob, index: int) -> bool:
    name = job.spec.students[index].name
    return name in ("aggregator", "ensemble", "result") or name.endswith(("-selected", "-metrics"))


def _is_duplicate(job: DistillJob, index: int) -> bool:
    students = job.spec.students
    own = set(replica_names(students[index]))
    return any(own & set(replica_names(other)) for other in students[:index])


def _drops(job: DistillJob) -> bool:
    policy = job.spec.failure_policy
    return "DropStudent" in (policy.on_divergence, policy.on_budget_exhausted)


_DROP_NEEDS_QUORUM: Final = "DropStudent needs quorum.minimumStudents: say how many students must remain"
_NESTEROV: Final = "needs a momentum above 0: set one, or nesterov to false"
_ECDNN_CEL: Final = "self.name != 'ECDNN' || "

RULES: Final = (
    Rule(
        "",
        f"self.spec.students.all(s, size(self.metadata.name) + size(s.name) + {SUFFIX_CHARACTERS}"
        f" + (s.replicas > 10 ? 3 : s.replicas > 1 ? 2 : 0) <= {MAXIMUM_NAME_CHARACTERS})",
        ".spec.students",
        f"metadata.name and the student's name together are too long: at most "
        f"{MAXIMUM_NAME_CHARACTERS - SUFFIX_CHARACTERS} characters (names made of them must fit into 63)",
        _each_student(_is_too_long, "name"),
    ),
    Rule(
        "spec",
        "self.students.all(s, self.students.exists_one(o, o.name == s.name) && (s.replicas == 1 || self.students.all(o,"
        " o.replicas > 1 || !o.name.startsWith(s.name + '-')"
        " || !o.name.substring(size(s.name) + 1).matches('^(0|[1-9][0-9]?)$')"
        " || int(o.name.substring(size(s.name) + 1)) >= s.replicas)))",
        ".students",
        "student names must be unique, replicas counted: rename one",
        _each_student(_is_duplicate, "name"),
    ),
    Rule(
        "spec",
        "self.students.all(s, !(s.name in ['aggregator', 'ensemble', 'result']) && !s.name.endsWith('-selected')"
        " && !s.name.endsWith('-metrics'))",
        ".students",
        "aggregator, ensemble, result and names ending in -selected or -metrics are taken by files of a run: choose"
        " another",
        _each_student(_is_taken, "name"),
    ),
    Rule(
        "spec",
        f"self.students.map(s, s.replicas).sum() <= {MAXIMUM_STUDENTS}",
        ".students",
        f"more than {MAXIMUM_STUDENTS} students with all replicas: remove some",
        _when(lambda job: len(student_names(job.spec)) > MAXIMUM_STUDENTS, "spec.students"),
    ),
    Rule(
        "spec",
        "!has(self.quorum.minimumStudents) || self.quorum.minimumStudents <= self.students.map(s, s.replicas).sum()",
        ".quorum.minimumStudents",
        "is larger than the number of students: lower it",
        _when(
            lambda job: (job.spec.quorum.minimum_students or 0) > len(student_names(job.spec)),
            "spec.quorum.minimumStudents",
        ),
    ),
    Rule(
        "spec.method",
        "self.independentEpochs + self.distillEpochs > 0",
        ".independentEpochs",
        "a cycle has no epochs: raise independentEpochs or distillEpochs",
        _when(
            lambda job: job.spec.method.independent_epochs + job.spec.method.distill_epochs == 0,
            "spec.method.independentEpochs",
        ),
    ),
    Rule(
        "spec.training.optimizer",
        "!self.nesterov || self.kind != 'SGD' || self.momentum > 0.0",
        ".nesterov",
        _NESTEROV,
        _when(lambda job: _lacks_momentum(job.spec.training.optimizer), "spec.training.optimizer.nesterov"),
    ),
    Rule(
        "spec.method.ramp",
        "self.kind == 'Fixed' ? has(self.alpha) && has(self.beta) : !has(self.alpha) && !has(self.beta)",
        ".kind",
        "kind Fixed needs alpha and beta, and the other kinds take neither",
        _when(
            lambda job: (
                (job.spec.method.ramp.kind == "Fixed", job.spec.method.ramp.kind == "Fixed")
                != (job.spec.method.ramp.alpha is not None, job.spec.method.ramp.beta is not None)
            ),
            "spec.method.ramp.kind",
        ),
    ),
    Rule(
        "spec.method",
        f"{_ECDNN_CEL}self.temperature == 1.0",
        ".temperature",
        "ECDNN needs temperature 1",
        _when(lambda j: j.spec.method.name == "ECDNN" and j.spec.method.temperature != 1, "spec.method.temperature"),
    ),
    Rule(
        "spec.method",
        f"{_ECDNN_CEL}self.ramp.kind == 'Fixed'",
        ".ramp.kind",
        "ECDNN needs ramp kind Fixed",
        _when(lambda j: j.spec.method.name == "ECDNN" and j.spec.method.ramp.kind != "Fixed", "spec.method.ramp.kind"),
    ),
    Rule(
        "spec.method",
        f"{_ECDNN_CEL}self.teacher.weights == 'Uniform'",
        ".teacher.weights",
        "ECDNN needs teacher weights Uniform",
        _when(
            lambda j: j.spec.method.name == "ECDNN" and j.spec.method.teacher.weights != "Uniform",
            "spec.method.teacher.weights",
        ),
    ),
    Rule(
        "spec.aggregator",
        "type(self.teacherHistory) == int ? self.teacherHistory >= 1 : self.teacherHistory == 'All'",
        ".teacherHistory",
        "is All or a number of cycles, at least 1",
        lambda job: (),  # the field's type says it already; a structural schema has no such type
    ),
    Rule(
        "spec",
        "self.method.name != 'Independent' || !has(self.stopAfterCycle)",
        ".stopAfterCycle",
        "Independent has no cycles to stop after: remove it, or lower the epochs",
        _when(
            lambda j: j.spec.method.name == "Independent" and j.spec.stop_after_cycle is not None,
            "spec.stopAfterCycle",
        ),
    ),
    Rule(
        "spec.method",
        "self.name != 'Independent' || self.stop.kind == 'Cycles'",
        ".stop.kind",
        "Independent has no cycles to judge a plateau by: use Cycles",
        _when(
            lambda j: j.spec.method.name == "Independent" and j.spec.method.stop.kind != "Cycles",
            "spec.method.stop.kind",
        ),
    ),
    Rule(
        "spec",
        "self.method.name != 'Independent' || !has(self.quorum.cycleDeadlineSeconds)",
        ".quorum.cycleDeadlineSeconds",
        "Independent has no cycles that could be late: remove it",
        _when(
            lambda j: j.spec.method.name == "Independent" and j.spec.quorum.cycle_deadline_seconds is not None,
            "spec.quorum.cycleDeadlineSeconds",
        ),
    ),
    Rule(
        "spec",
        "!has(self.stopAfterCycle) || self.stopAfterCycle <= self.method.cycles",
        ".stopAfterCycle",
        "is later than the last cycle: lower it or raise method.cycles",
        _when(lambda j: (j.spec.stop_after_cycle or 0) > j.spec.method.cycles, "spec.stopAfterCycle"),
    ),
    Rule(
        "spec",
        "!(self.failurePolicy.onDivergence == 'DropStudent' || self.failurePolicy.onBudgetExhausted == 'DropStudent')"
        " || has(self.quorum.minimumStudents)",
        ".quorum.minimumStudents",
        _DROP_NEEDS_QUORUM,
        _when(lambda j: _drops(j) and j.spec.quorum.minimum_students is None, "spec.quorum.minimumStudents"),
    ),
    Rule(
        "spec.failurePolicy.backoff",
        "self.maxSeconds >= self.baseSeconds",
        ".maxSeconds",
        "is shorter than baseSeconds: raise it",
        _when(
            lambda j: j.spec.failure_policy.backoff.max_seconds < j.spec.failure_policy.backoff.base_seconds,
            "spec.failurePolicy.backoff.maxSeconds",
        ),
    ),
    Rule(
        "spec.security",
        "(self.tls == 'Secret') == has(self.tlsSecretName)",
        ".tlsSecretName",
        "tls Secret needs tlsSecretName, and nothing else takes it",
        _when(
            lambda j: (j.spec.security.tls == "Secret") != (j.spec.security.tls_secret_name is not None),
            "spec.security.tlsSecretName",
        ),
    ),
)
