"""What a job has as a whole, from its first start to its end: which of it is missing, and which is outdated. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from distilljob_core import names
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.job import DistillJob
from distilljob_operator.children import CLAIMS, CONFIG_MAPS, NETWORK_POLICIES, SERVICES, JobChildren, OtherChild
from distilljob_operator.manifests.everything import everything
from distilljob_operator.manifests.objects import Manifest, with_digest
from distilljob_operator.manifests.settings import Images

Ref = tuple[str, str]
"""Kind and name."""

DEPLOYMENT: Final = "Deployment"
SECRET: Final = "Secret"  # noqa: S105 - a kind
_WATCHED: Final = (
    ("ConfigMap", CONFIG_MAPS),
    ("Service", SERVICES),
    ("NetworkPolicy", NETWORK_POLICIES),
    ("PersistentVolumeClaim", CLAIMS),
)
_KEPT_UP_TO_DATE: Final = ("ConfigMap", "Service", "NetworkPolicy")


@dataclass(frozen=True, slots=True)
class Base:
    """What there has to be: kind, name, and the digest of what is kept up to date.

    Services, policies and wishes are brought up to date while a job lives. Everything else stays as it was made:
    claims and the snapshot cannot change, and a Deployment that did would restart a live job's aggregator.
    """

    job: DistillJob
    images: Images
    control: Control
    digests: Mapping[Ref, str]

    def manifests(self) -> dict[Ref, Manifest]:
        """Make them all; the Secret is empty, for nobody keeps what belongs into it."""
        return _manifests(self.job, self.images, self.control)

    @property
    def snapshot(self) -> Ref:
        """Name the snapshot of the spec, which owns the Secret."""
        return "ConfigMap", names.spec_config_map(self.job.metadata.name, self.job.metadata.uid)

    @property
    def wishes(self) -> Ref:
        """Name the wishes for the aggregator. They are made after the Secret: where they are, the Secret has been."""
        return "ConfigMap", names.control_config_map(self.job.metadata.name)

    def missing(self, children: JobChildren) -> set[Ref]:
        """Name what is not there."""
        there = {(kind, child.name) for kind, child in _whole(children)}
        there |= {(DEPLOYMENT, child.name) for child in children.deployments}
        missing = {ref for ref in self.digests if ref not in there}
        if missing.isdisjoint({self.snapshot, self.wishes}):
            missing = {ref for ref in missing if ref[0] != SECRET}
        return missing

    def outdated(self, children: JobChildren) -> dict[Ref, OtherChild]:
        """Find what was made of another manifest."""
        return {
            (kind, child.name): child
            for kind, child in _whole(children)
            if self.digests.get((kind, child.name), "") not in ("", child.digest)
        }


def base_of(job: DistillJob, images: Images, control: Control) -> Base:
    """Work out what there has to be."""
    digests = {ref: _digest(body) for ref, body in _manifests(job, images, control).items()}
    return Base(job, images, control, digests)


def _whole(children: JobChildren) -> list[tuple[str, OtherChild]]:
    return [(name, child) for name, kind in _WATCHED for child in children.others_of(kind)]


def _manifests(job: DistillJob, images: Images, control: Control) -> dict[Ref, Manifest]:
    made = {(body["kind"], body["metadata"]["name"]): body for body in everything(job, images, {}, control)}
    return {ref: with_digest(body) if _is_kept_up_to_date(body) else body for ref, body in made.items()}


def _is_kept_up_to_date(body: Manifest) -> bool:
    return body["kind"] in _KEPT_UP_TO_DATE and not body.get("immutable", False)


def _digest(body: Manifest) -> str:
    digest: str = body["metadata"].get("annotations", {}).get(names.ANNOTATION_DIGEST, "")
    return digest
