"""Every field that shapes training changes the weights of a small group; one that is ignored would not."""

import hashlib

import pytest

BASE = {
    "method": {"cycles": 2, "independentEpochs": 1, "distillEpochs": 2},
    "training": {"batchSize": 32, "optimizer": {"learningRate": 0.05}, "schedule": {"milestones": [0.5, 0.75]}},
    "students": [
        {"name": "one", "gpus": 0, "model": {"name": "drop_bn"}},
        {"name": "two", "gpus": 0, "model": {"name": "mlp_small"}},
    ],
}
FIXED = {"kind": "Fixed", "alpha": 1.0, "beta": 1.0}
ADAMW = {"optimizer": {"kind": "AdamW", "learningRate": 0.01}}

CHANGES = {
    "dataset.options": ({}, {"dataset": {"options": {"train_samples": 110}}}),
    "dataset.holdout.fraction": ({}, {"dataset": {"holdout": {"fraction": 0.3}}}),
    "dataset.holdout.maximumSamples": ({}, {"dataset": {"holdout": {"maximumSamples": 12}}}),
    "method.name": ({}, {"method": {"name": "Independent"}}),
    "method.cycles": ({}, {"method": {"cycles": 1}}),
    "method.independentEpochs": ({}, {"method": {"independentEpochs": 2}}),
    "method.distillEpochs": ({}, {"method": {"distillEpochs": 1}}),
    "method.burnInEpochs": ({}, {"method": {"burnInEpochs": 1}}),
    "method.temperature": ({}, {"method": {"temperature": 2.0}}),
    "method.teacher.weights": ({}, {"method": {"teacher": {"weights": "Uniform"}}}),
    "method.ramp.kind": (
        {"method": {"distillEpochs": 3}},  # with 2 epochs the cosine meets the line
        {"method": {"distillEpochs": 3, "ramp": {"kind": "Cosine"}}},
    ),
    "method.ramp.unit": ({}, {"method": {"ramp": {"unit": "Step"}}}),
    "method.ramp.alpha": ({"method": {"ramp": FIXED}}, {"method": {"ramp": {**FIXED, "alpha": 0.5}}}),
    "method.ramp.beta": ({"method": {"ramp": FIXED}}, {"method": {"ramp": {**FIXED, "beta": 0.5}}}),
    "method.kl.direction": ({}, {"method": {"kl": {"direction": "Reverse"}}}),
    "method.kl.temperatureSquared": ({}, {"method": {"kl": {"temperatureSquared": False}}}),
    "training.batchSize": ({}, {"training": {"batchSize": 16}}),
    "training.optimizer.kind": ({}, {"training": ADAMW}),
    "training.optimizer.learningRate": ({}, {"training": {"optimizer": {"learningRate": 0.04}}}),
    "training.optimizer.momentum": ({}, {"training": {"optimizer": {"momentum": 0.8}}}),
    "training.optimizer.nesterov": ({}, {"training": {"optimizer": {"nesterov": True}}}),
    "training.optimizer.weightDecay": ({}, {"training": {"optimizer": {"weightDecay": 0.01}}}),
    "training.schedule.kind": ({}, {"training": {"schedule": {"kind": "Cosine"}}}),
    "training.schedule.milestones": ({}, {"training": {"schedule": {"milestones": [0.2]}}}),
    "training.schedule.gamma": ({}, {"training": {"schedule": {"gamma": 0.5}}}),
    "training.schedule.warmupEpochs": ({}, {"training": {"schedule": {"warmupEpochs": 1}}}),
    "training.clipNorm": ({}, {"training": {"clipNorm": 0.1}}),
    "training.labelSmoothing": ({}, {"training": {"labelSmoothing": 0.1}}),
    "training.emaDecay": ({}, {"training": {"emaDecay": 0.9}}),  # by way of the teacher, whose labels are the average's
    "training.seed": ({}, {"training": {"seed": 1}}),
    "students[].name": ({}, {"students": [{**BASE["students"][0], "name": "uno"}, BASE["students"][1]]}),
    "students[].model.name": (
        {},
        {"students": [{**BASE["students"][0], "model": {"name": "cnn_small"}}, BASE["students"][1]]},
    ),
    "students[].training": (
        {},
        {"students": [{**BASE["students"][0], "training": {"optimizer": {"momentum": 0.5}}}, BASE["students"][1]]},
    ),
}


@pytest.fixture
def digest(group):
    def make(changes):
        made = group(**{**BASE, **{key: merged(BASE.get(key), value) for key, value in changes.items()}})
        made.events()
        return hashlib.sha256(made.weights()).hexdigest()

    return make


def merged(base, change):
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}
    return change


def test_the_same_settings_give_the_same_weights(digest):
    assert digest({}) == digest({})


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_field_changes_the_weights(digest, before, after):
    assert digest(before) != digest(after)
