"""The trainer of one's own that stands among the examples, in a group with two of ours."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attempts import Job, said

from distilljob_core.spec.kubectl_yaml import read_yaml

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PROGRAM = EXAMPLES / "07-own-trainer/trainer.py"
SPEC = read_yaml((EXAMPLES / "07-own-trainer.yaml").read_text())["spec"]
SHORTER = {"cycles": 2, "independentEpochs": 2, "distillEpochs": 3}
LARGER = {
    "dataset": SPEC["dataset"] | {"options": {"train_samples": 1000}},
    "method": {"cycles": 2, "independentEpochs": 8, "distillEpochs": 12},
}
LIMIT_SECONDS = 120


@pytest.fixture
def forest() -> Iterator[Callable[[Job], subprocess.Popen[bytes]]]:
    """Start the forest's next attempt as its pod does."""
    with ExitStack() as stack:

        def start(group: Job) -> subprocess.Popen[bytes]:
            _, environment = group.describe("forest")
            variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
            process = subprocess.Popen([sys.executable, str(PROGRAM)], env=variables)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def finish(group: Job, forest: subprocess.Popen[bytes], *networks) -> dict:
    """Wait for everybody's end; gives the result."""
    assert [network.exit_code() for network in networks] == [0, 0]
    assert forest.wait(LIMIT_SECONDS) == 0
    group.wait_until_complete()
    return group.result()


def test_a_forest_and_two_networks_teach_each_other(job, forest):
    group = job("whole", **SPEC | LARGER)
    result = finish(group, forest(group), group.start("mlp"), group.start("cnn"))
    own, mlp, cnn = result["students"]
    assert own["model"] == "forest"
    assert min(one["accuracy"]["last"] for one in (own, mlp, cnn)) > 0.9
    assert result["exact"]
    assert len(result["teacherGain"]) == 2
    assert result["ensemble"]["members"] == ["forest", "mlp", "cnn"]
    assert result["ensemble"]["accuracy"] > own["accuracy"]["last"]
    assert (group.results / "forest.pickle").stat().st_size == own["artifacts"][0]["sizeBytes"]


def test_a_forest_that_was_ended_in_the_second_cycle_grows_the_same_trees(job, forest):
    published = []
    for name in ("whole", "ended"):
        group = job(name, **SPEC | {"method": SHORTER})
        networks, trees = [group.start("mlp"), group.start("cnn")], forest(group)
        if name == "ended":
            group.aggregator.until(said("opened", student="forest", round="cycle 2, train"))
            trees.send_signal(signal.SIGTERM)
            assert trees.wait(LIMIT_SECONDS) == 143
            trees = forest(group)
        result = finish(group, trees, *networks)
        assert [one["attempt"] for one in result["students"]] == [group.attempts[one] for one in group.attempts]
        published.append({one: (group.results / one).read_bytes() for one in ("forest.pickle", "mlp.safetensors")})
    assert published[0] == published[1]
