"""The end of a run: export, publish, the evaluation round, the terminal record."""

import time
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from distilljob_core.artifacts import metrics_file
from distilljob_core.exchange import RoundKey
from distilljob_core.measurements import EnsembleMeasured, ReliabilityMeasured
from distilljob_core.phases import StudentPhase
from distilljob_core.results import (
    Artifact,
    Calibrated,
    EnsembleOutcome,
    HoldoutAccuracy,
    StudentSummary,
    TestAccuracy,
)
from distilljob_core.softlabels.frames import Split
from distilljob_trainer.algorithm import Lesson
from distilljob_trainer.evaluate import Block, calibrated, disagreement, predict, reliability
from distilljob_trainer.export import NetworkFile, export
from distilljob_trainer.run import Run


class Publisher(Protocol):
    """Where artifacts and the terminal record go."""

    def publish(self, path: Path, name: str) -> None:
        """Bring one file."""

    def finish(self, summary: StudentSummary) -> None:
        """Leave the terminal record."""


def finish(run: Run, network: NetworkFile, attempt: int, publisher: Publisher, directory: Path) -> StudentSummary:
    """Bring a trained student home. Every part may be done again by a later attempt, with the same bytes.

    Args:
        run: has trained to its end.
        network: what its weights belong to.
        attempt: number of this attempt.
        publisher: takes files and record.
        directory: where exported files are kept.
    """
    if not run.notes.artifacts:
        run.notes.artifacts = _publish_weights(run, network, publisher, directory)
        run.save()
    test = _predictions(run)
    own_NK, y_N = torch.cat([block.z_BK.softmax(dim=1) for block in test]), run.task.data.test.labels_N
    lesson = run.exchange(RoundKey(run.student.cursor.cycle, Split.EVALUATION), run.predict_holdout(), judged=test)
    ensemble = _ensemble(lesson, own_NK, y_N)
    _note(run, ensemble, own_NK, lesson.p_NK, y_N)
    run.around.progress.enter(StudentPhase.PUBLISHING)
    run.around.journal.sync()
    journal = _publish(publisher, "metrics", run.around.journal.path, metrics_file(network.student))
    summary = _summary(run, network, attempt, calibrated(own_NK, y_N), ensemble, (*run.notes.artifacts, journal))
    publisher.finish(summary)
    return summary


def _publish_weights(run: Run, network: NetworkFile, publisher: Publisher, directory: Path) -> tuple[Artifact, ...]:
    run.around.progress.enter(StudentPhase.PUBLISHING)
    directory.mkdir(exist_ok=True)
    files = export(directory, network, run.student.answering.state_dict(), run.notes.selected_weights)
    return tuple(_publish(publisher, kind, path, path.name) for kind, path in files)


def _publish(
    publisher: Publisher, kind: Literal["last", "selected", "metrics", "config"], path: Path, name: str
) -> Artifact:
    content = path.read_bytes()
    publisher.publish(path, name)
    return Artifact(name=name, size_bytes=len(content), sha256=sha256(content).hexdigest(), kind=kind)


def _predictions(run: Run) -> list[Block]:
    """Predict the test set."""
    run.around.progress.enter(StudentPhase.EVALUATING)
    test = run.task.data.test
    return list(run.watch(predict(run.student.answering, test, torch.arange(test.num_samples))))


def _ensemble(lesson: Lesson, own_NK: Tensor, y_N: Tensor) -> EnsembleOutcome:
    return EnsembleOutcome(
        **calibrated(lesson.p_NK, y_N).model_dump(),
        members=[part.student for part in lesson.record.contributions],
        weights=list(lesson.record.weights_used()),
        disagreement=disagreement(own_NK, lesson.p_NK),
    )


def _note(run: Run, ensemble: EnsembleOutcome, own_NK: Tensor, ensemble_NK: Tensor, y_N: Tensor) -> None:
    run.note(EnsembleMeasured(timestamp_seconds=time.time(), **ensemble.model_dump()))
    own, joint = reliability(own_NK, y_N), reliability(ensemble_NK, y_N)
    journal = run.around.journal
    journal.write(ReliabilityMeasured(timestamp_seconds=time.time(), predictor="student", bins=own))
    journal.write(ReliabilityMeasured(timestamp_seconds=time.time(), predictor="ensemble", bins=joint))


def _summary(
    run: Run,
    network: NetworkFile,
    attempt: int,
    test: Calibrated,
    ensemble: EnsembleOutcome,
    artifacts: tuple[Artifact, ...],
) -> StudentSummary:
    notes, selection = run.notes, run.notes.selection
    assert selection.last is not None, "validated: a job has at least one epoch"
    assert selection.selected is not None, "some epoch is always selected"
    return StudentSummary(
        name=network.student,
        model=network.model,
        attempt=attempt,
        num_parameters=sum(parameter.numel() for parameter in run.student.model.parameters()),
        epochs=run.student.cursor.epochs,
        steps=run.student.cursor.steps,
        test_samples=run.task.data.test.num_samples,
        accuracy=TestAccuracy(
            last=selection.last.test,
            selected=selection.selected.test,
            optimistic=selection.optimistic,
            independent=selection.independent,
        ),
        holdout=HoldoutAccuracy(last=selection.last.holdout, selected=selection.selected.holdout),
        nll=test.nll,
        ece=test.ece,
        seconds=run.around.progress.fold(),
        cycles=list(notes.cycles),
        ensemble=ensemble,
        artifacts=list(artifacts),
        exact=not notes.inexact_reasons,
        inexact_reasons=list(notes.inexact_reasons),
        environment=notes.numerics.environment(),
    )
