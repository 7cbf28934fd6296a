"""Every example on a real API server: taken as a user applies it, and so is all that the operator makes of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from distilljob.render import render
from distilljob_core.spec.load import load_job
from rig.api import NAMESPACES, Api
from rig.build import RigError

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
STRICTLY = ("--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-")


@pytest.fixture
async def restricted(api: Api, namespace: str) -> str:
    """Give a namespace that refuses, and warns of, what the restricted Pod Security Standard does not allow."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    await api.patch(NAMESPACES, namespace, {"metadata": {"labels": labels}})
    return namespace


def pods_of(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the pods that controllers would make: the standard is enforced on them, not on templates."""
    templates = [made["spec"]["template"] for made in objects if "template" in made.get("spec", {})]
    return [
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": template["metadata"] | {"name": f"pod-{index}"}}
        for index, template in enumerate(templates)
    ]


def test_examples_are_numbered_without_a_gap() -> None:
    assert [path.name[:3] for path in EXAMPLES] == [f"{number:02}-" for number in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_takes_an_example_word_for_word(
    kubectl: Callable[..., str], crd: None, namespace: str, path: Path
) -> None:
    text = path.read_text()
    taken = json.loads(kubectl("create", f"--namespace={namespace}", "--output=json", *STRICTLY, stdin=text))
    assert _holds(taken, yaml.safe_load(text)), "something of the file was dropped or changed"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_all_that_the_operator_makes_of_an_example_is_taken_where_pod_security_is_restricted(
    kubectl: Callable[..., str], restricted: str, path: Path
) -> None:
    objects = render(load_job(path.read_text()))
    everything = [*objects, *pods_of(objects)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything})
    said = kubectl("create", f"--namespace={restricted}", *STRICTLY, stdin=listed)
    assert len(said.splitlines()) == len(everything)


def test_a_misspelled_field_of_an_example_is_refused(kubectl: Callable[..., str], crd: None, namespace: str) -> None:
    text = EXAMPLES[0].read_text().replace("distillEpochs", "distilEpochs")
    with pytest.raises(RigError, match=r'unknown field "spec\.method\.distilEpochs"'):
        kubectl("create", f"--namespace={namespace}", *STRICTLY, stdin=text)


def _holds(taken: Any, given: Any) -> bool:
    """Tell whether all that was given is there; the API server adds defaults."""
    if isinstance(given, dict):
        return all(key in taken and _holds(taken[key], value) for key, value in given.items())
    if isinstance(given, list):
        return len(taken) == len(given) and all(map(_holds, taken, given))
    return taken == given or float(taken) == float(given)


def test_the_claim_that_an_example_shows_is_taken(kubectl: Callable[..., str], namespace: str) -> None:
    (pair,) = (path for path in EXAMPLES if path.name == "03-cifar10-pair.yaml")
    shown = pair.read_text().partition("#   apiVersion: v1\n")
    claim = (shown[1] + shown[2].partition("#\n")[0]).replace("#   ", "")
    said = kubectl("create", f"--namespace={namespace}", *STRICTLY, stdin=claim)
    assert "persistentvolumeclaim/cifar10 created" in said
