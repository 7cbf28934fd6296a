"""A forest of decision trees as a student: a trainer of one's own, without gradients and without checkpoints.

Each cycle's forest is made of the labels and of the teacher of the cycle before. So a new attempt walks through the
closed cycles again and arrives at the same trees.

Shapes: N samples, K classes.
"""

import os
import pickle
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor as Forest

from distilljob_core.errors import DistillJobError
from distilljob_core.exchange import CloseRecord, Directive, Identity, Joined, NeedRows, Offer, Report, RoundKey
from distilljob_core.exchange import SplitShape as Shape
from distilljob_core.phases import StudentPhase
from distilljob_core.results import Artifact, HoldoutAccuracy, StudentSummary, TestAccuracy
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.frames import Split
from distilljob_core.spec.load import load_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_trainer.build import load_data
from distilljob_trainer.data import Data
from distilljob_trainer.evaluate import calibrated

Rows = NDArray[np.floating]

TEACHERS_SHARE = 0.75  # of the target; the labels have the rest, as in the mean of the linear ramp
SMALLEST = 1e-6  # trees say 0 where a network would not

env = os.environ
report = Report(StudentPhase.STARTING)


def main() -> None:
    """Join, learn, and leave the record without which nobody may go."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # nothing to save; 0 would be leaving early
    uid, name, attempt = env["DISTILLJOB_UID"], env["DISTILLJOB_STUDENT"], int(env["DISTILLJOB_ATTEMPT"])
    spec = load_job(Path(env["DISTILLJOB_SPEC_FILE"]).read_text()).spec
    resolved = next(one for one in resolve_students(spec) if one.name == name)
    data = load_data(spec, resolved, Path("/data"))
    tls_dir = Path(env["DISTILLJOB_TLS_DIR"]) if "DISTILLJOB_TLS_DIR" in env else None
    client = AggregatorClient(env["DISTILLJOB_AGGREGATOR"], tls_dir=tls_dir, on_progress=lambda: at(report.phase))
    prints = {Split.TRAIN: data.train_fingerprint, Split.EVALUATION: data.evaluation_fingerprint}
    shapes = {split: Shape(of.num_rows, of.num_classes, of.digest) for split, of in prints.items()}
    joined = client.join(Identity(uid, name, attempt, env["DISTILLJOB_POD_UID"]), shapes)
    threading.Thread(target=beat, args=(client, joined.heartbeat_interval_seconds), daemon=True).start()

    student = Student(client, joined, data, resolved.seed, spec.method.teacher.weights == "Uniform")
    forest = student.learn()
    at(StudentPhase.PUBLISHING)
    artifact = publish(client, f"{name}.pickle", pickle.dumps(forest))
    client.finish(terminal_record(name, attempt, student, forest, artifact))


@dataclass
class Student:
    """One forest in its group."""

    client: AggregatorClient
    joined: Joined
    data: Data
    seed: int
    uniform_weights: bool

    def learn(self) -> Forest:
        """Learn, teach and be taught until the last cycle, then predict the test set; gives the last forest."""
        temperature, y_N = self.joined.temperature, self.data.train.labels_N.numpy()
        labels_NK = target_NK = np.eye(self.data.num_classes)[y_N]
        cycle, is_last = 0, False
        while not is_last:
            cycle += 1
            at(StudentPhase.INDEPENDENT, cycle)
            forest = self.grow(target_NK)
            is_last = self.exchange(RoundKey(cycle), forest).last
            at(StudentPhase.FETCHING)
            teacher_NK = np.concatenate([rows for _, rows in self.client.teacher(RoundKey(cycle))])
            target_NK = (1 - TEACHERS_SHARE) * labels_NK + TEACHERS_SHARE * softened(teacher_NK, 1 / temperature)
        at(StudentPhase.DISTILLING)
        forest = self.grow(target_NK)
        self.exchange(RoundKey(cycle, Split.EVALUATION), forest)
        return forest

    def grow(self, target_NK: Rows) -> Forest:
        """Grow trees on all samples that are not held out."""
        fit = self.data.fit_ids_N.numpy()
        forest = Forest(100, random_state=self.seed)
        return forest.fit(pixels(self.data, Split.TRAIN)[fit], target_NK[fit])

    def exchange(self, key: RoundKey, forest: Forest) -> CloseRecord:
        """Bring soft labels, and wait until everybody's are there."""
        held, is_training = self.data.holdout_ids_N.numpy(), key.split is Split.TRAIN
        p_NK = softened(forest.predict(pixels(self.data, key.split)), self.joined.temperature if is_training else 1.0)
        judged_NK, y_N = (
            (p_NK[held], self.data.train.labels_N[held]) if is_training else (p_NK, self.data.test.labels_N)
        )
        right = self.num_right(forest)
        offer = Offer(
            round=key,
            weight=1 if self.uniform_weights else right,
            num_correct=right,
            holdout_size=len(held),
            codec=self.joined.codec,
            source_digest=sha256(p_NK.tobytes()).hexdigest(),
            cross_entropy=float(-np.log(judged_NK[np.arange(len(y_N)), y_N.numpy()]).mean()),
        )
        answer: CloseRecord | object = NeedRows(0)
        while not isinstance(answer, CloseRecord):
            if isinstance(answer, NeedRows):
                at(StudentPhase.UPLOADING)
                answer = self.client.upload(offer, lambda first_row: iter([p_NK[first_row:]]))
            else:
                at(StudentPhase.WAITING)
                answer = self.client.wait(key)
        return answer

    def num_right(self, forest: Forest) -> int:
        """Count the right answers on the hold-out, which no tree has seen."""
        held = self.data.holdout_ids_N.numpy()
        predicted_N = forest.predict(pixels(self.data, Split.TRAIN)[held]).argmax(axis=1)
        return int((predicted_N == self.data.train.labels_N.numpy()[held]).sum())


def pixels(data: Data, split: Split) -> Rows:
    """Give a split's images as rows of numbers, in the order of their ids."""
    rows = data.train if split is Split.TRAIN else data.test
    images, _ = rows.batch(torch.arange(rows.num_samples))
    assert isinstance(images, torch.Tensor)
    return images.flatten(1).numpy()


def softened(p_NK: Rows, temperature: float) -> Rows:
    """Give p^(1/t), normalized: softmax(g / t) of a student that has no logits g."""
    powers_NK: Rows = np.maximum(p_NK, SMALLEST) ** (1 / temperature)
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True), np.float32)


def at(phase: StudentPhase, cycle: int | None = None) -> None:
    """Note a sign of progress; an attempt that shows none for long enough is taken for hung."""
    global report
    report = replace(report, phase=phase, cycle=cycle or report.cycle, progress=report.progress + 1)


def beat(client: AggregatorClient, interval_seconds: float) -> None:
    """Tell where this student is, and hear when it is another one's turn."""
    while True:
        try:
            directive = client.heartbeat(report)
        except DistillJobError as error:  # such as a newer attempt: this one must stop at once
            os._exit(error.exit_code)
        if directive is Directive.PARK and report.phase is StudentPhase.WAITING:
            os._exit(75)
        time.sleep(interval_seconds)


def publish(client: AggregatorClient, name: str, content: bytes) -> Artifact:
    """Bring a file into the results volume. Of kind "last" it would belong to the ensemble that distilljob loads."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        client.publish(Path(file.name), name)
    return Artifact(name=name, size_bytes=len(content), sha256=sha256(content).hexdigest(), kind="config")


def terminal_record(name: str, attempt: int, student: Student, forest: Forest, artifact: Artifact) -> StudentSummary:
    """Say what became of this student. What only networks have is zero or empty."""
    p_NK = softened(forest.predict(pixels(student.data, Split.EVALUATION)), 1.0)
    test = calibrated(torch.from_numpy(p_NK), student.data.test.labels_N)
    held_out = student.num_right(forest) / len(student.data.holdout_ids_N)
    return StudentSummary(
        name=name,
        model="forest",
        attempt=attempt,
        num_parameters=sum(tree.tree_.node_count for tree in forest.estimators_),
        epochs=report.cycle,
        steps=0,
        test_samples=len(p_NK),
        accuracy=TestAccuracy(last=test.accuracy, selected=test.accuracy, optimistic=test.accuracy, independent=None),
        holdout=HoldoutAccuracy(last=held_out, selected=held_out),
        nll=test.nll,
        ece=test.ece,
        seconds={},
        cycles=[],
        ensemble=None,
        artifacts=[artifact],
        exact=True,
        inexact_reasons=[],
        environment={},
    )


if __name__ == "__main__":
    main()
