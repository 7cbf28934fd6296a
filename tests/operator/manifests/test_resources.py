"""Requests, limits and GPUs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_operator.manifests.resources import value


@pytest.mark.parametrize("who", ["mlp", "cnn", None])
def test_every_container_has_requests_and_limits(container_of, who):
    resources = container_of(who)["resources"]
    for side in ("requests", "limits"):
        assert {"cpu", "memory"} <= resources[side].keys()
    for name in resources["requests"]:
        assert value(resources["requests"][name]) <= value(resources["limits"][name])


def test_a_student_asks_for_its_gpus(container_of):
    assert container_of("cnn")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in container_of("mlp")["resources"]["limits"]
    assert "nvidia.com/gpu" not in container_of(None)["resources"]["limits"]


def test_the_gpu_resource_has_the_name_that_is_asked_for(container_of):
    resources = container_of("cnn", {"pod.gpuResourceName": "amd.com/gpu"})["resources"]
    assert resources["limits"]["amd.com/gpu"] == resources["requests"]["amd.com/gpu"] == 1
    assert "nvidia.com/gpu" not in resources["limits"]


def test_an_extended_resource_by_name_wins_over_gpus(container_of):
    resources = container_of("cnn", {"pod.resources": {"limits": {"nvidia.com/mig-1g.5gb": 2}}})["resources"]
    assert resources["limits"]["nvidia.com/mig-1g.5gb"] == resources["requests"]["nvidia.com/mig-1g.5gb"] == 2
    assert "nvidia.com/gpu" not in resources["limits"]
    kept = container_of("cnn", {"pod.resources": {"limits": {"ephemeral-storage": "1Gi"}}})["resources"]
    assert kept["limits"]["nvidia.com/gpu"] == 1


def test_what_is_said_of_one_resource_replaces_all_that_was_said_of_it(container_of):
    changes = {
        "pod.resources": {"requests": {"memory": "32Gi"}, "limits": {"cpu": 8}},
        "students.1.pod.resources": {"limits": {"memory": "1Gi"}},
    }
    mlp, cnn = (container_of(who, changes)["resources"] for who in ("mlp", "cnn"))
    assert mlp == {"requests": {"cpu": 8, "memory": "32Gi"}, "limits": {"cpu": 8, "memory": "32Gi"}}
    assert (cnn["requests"]["memory"], cnn["limits"]["memory"]) == ("1Gi", "1Gi")
    assert cnn["limits"]["cpu"] == 8


def test_both_sides_may_differ(container_of):
    changes = {"pod.resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "3Gi"}}}
    resources = container_of("mlp", changes)["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("1Gi", "3Gi")


def test_the_aggregator_has_resources_of_its_own(container_of):
    changes = {"pod.resources": {"limits": {"memory": "64Gi"}}, "aggregator.pod.resources": {"limits": {"cpu": 3}}}
    resources = container_of(None, changes)["resources"]
    assert resources["limits"] == {"cpu": 3, "memory": "4Gi"}


@pytest.mark.parametrize(
    ("quantity", "number"), [("500m", 0.5), (3, 3), ("1.5", 1.5), ("2k", 2000), ("2Ki", 2048), ("1Gi", 2**30)]
)
def test_quantities_are_read_as_kubernetes_does(quantity, number):
    assert value(quantity) == number


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_a_suffix_multiplies(number, suffix):
    base = 1024 if suffix.endswith("i") else 1000
    assert value(f"{number}{suffix}") == number * base ** " kMGTPE".upper().index(suffix[:1].upper() or " ")
