"""What a job has as a whole: made when it is missing, brought up to date when it was made of something else."""

import pytest

from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.job import DistillJob
from distilljob_operator.base import base_of
from distilljob_operator.children import (
    CLAIMS,
    CONFIG_MAPS,
    NETWORK_POLICIES,
    SERVICES,
    DeploymentChild,
    JobChildren,
    OtherChild,
)
from distilljob_operator.manifests.settings import Images

IMAGES = Images("trainer:1", "aggregator:1")
KINDS = {
    "ConfigMap": CONFIG_MAPS,
    "Service": SERVICES,
    "NetworkPolicy": NETWORK_POLICIES,
    "PersistentVolumeClaim": CLAIMS,
}
SECRET = ("Secret", "demo-tls-01234567")
SNAPSHOT = ("ConfigMap", "demo-spec-01234567")
WISHES = ("ConfigMap", "demo-control")


@pytest.fixture
def job():
    metadata = {"name": "demo", "namespace": "team", "uid": "01234567-89ab"}
    spec = {"dataset": {"name": "digits"}, "students": [{"name": "a", "model": {"name": "mlp"}}]}
    head = {"apiVersion": "distilljob.dev/v1alpha1", "kind": "DistillJob"}
    return DistillJob.model_validate({**head, "metadata": metadata, "spec": spec})


def there(base, *absent):
    """All children of a base but those."""
    common = {"namespace": "team", "uid": "u", "owner_uid": "o", "job": "demo", "job_uid": "o", "role": "aggregator"}
    common |= {"student": "", "attempt": 0, "is_deleting": False}
    refs = [ref for ref in base.digests if ref not in absent]
    others = {
        watched.name: tuple(
            OtherChild(**common, name=name, digest=base.digests[kind, name]) for kind, name in refs if kind == wanted
        )
        for wanted, watched in KINDS.items()
    }
    deployments = (DeploymentChild(**common, name="demo-aggregator", replicas=1, failure=""),)
    is_up = ("Deployment", "demo-aggregator") in refs
    return JobChildren(deployments=deployments if is_up else (), others=others)


def test_nothing_is_missing_where_all_is_there(job):
    base = base_of(job, IMAGES, Control())
    assert base.missing(there(base)) == set()
    assert base.outdated(there(base)) == {}


@pytest.mark.parametrize(
    "ref", [("Service", "demo-aggregator"), ("Deployment", "demo-aggregator"), ("NetworkPolicy", "demo-network")]
)
def test_what_somebody_deleted_is_missing(job, ref):
    base = base_of(job, IMAGES, Control())
    assert base.missing(there(base, ref)) == {ref}


@pytest.mark.parametrize("ref", [SNAPSHOT, WISHES])
def test_the_secret_nobody_may_read_is_made_again_unless_all_that_stands_around_it_is_there(job, ref):
    base = base_of(job, IMAGES, Control())
    assert base.missing(there(base, ref)) == {ref, SECRET}


def test_a_new_wish_is_brought_to_the_aggregator_and_touches_nothing_else(job):
    before, now = base_of(job, IMAGES, Control()), base_of(job, IMAGES, Control(dropped=("a",)))
    assert now.missing(there(before)) == set()
    assert list(now.outdated(there(before))) == [WISHES]


def test_a_new_image_touches_nothing_of_a_live_job(job):
    before, now = base_of(job, IMAGES, Control()), base_of(job, Images("trainer:2", "aggregator:2"), Control())
    assert now.missing(there(before)) == set()
    assert now.outdated(there(before)) == {}


def test_who_may_read_metrics_is_brought_to_live_jobs_and_touches_nothing_else(job):
    limited = Images("trainer:1", "aggregator:1", readers=({"namespaceSelector": {"matchLabels": {"a": "b"}}},))
    before, now = base_of(job, IMAGES, Control()), base_of(job, limited, Control())
    assert now.missing(there(before)) == set()
    assert list(now.outdated(there(before))) == [("NetworkPolicy", "demo-network")]


def test_what_is_watched_of_everywhere_and_of_one_namespace():
    assert CLAIMS.path() == "/api/v1/persistentvolumeclaims"
    assert CLAIMS.path("team") == "/api/v1/namespaces/team/persistentvolumeclaims"
