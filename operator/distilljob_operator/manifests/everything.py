"""All objects that a job has before its first attempt."""

from collections.abc import Mapping

from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.job import DistillJob
from distilljob_operator.manifests.aggregator import aggregator_deployment
from distilljob_operator.manifests.config import control_config_map, spec_config_map
from distilljob_operator.manifests.network import aggregator_service, network_policy
from distilljob_operator.manifests.objects import Manifest
from distilljob_operator.manifests.secrets import tls_secret
from distilljob_operator.manifests.settings import Images
from distilljob_operator.manifests.storage import claims


def everything(job: DistillJob, images: Images, certificates: Mapping[str, bytes], control: Control) -> list[Manifest]:
    """Make them in the order of their creation; each needs only what stands before it.

    Args:
        job: has a uid.
        images: the operator's own settings.
        certificates: of the job's own authority, see `tls_secret`; not used where the job does not want them.
        control: what the aggregator is told.
    """
    security = job.spec.security
    return [
        *([tls_secret(job, certificates)] if security.tls == "OperatorManaged" else []),
        spec_config_map(job),
        control_config_map(job, control),
        *claims(job),
        aggregator_service(job),
        *([network_policy(job, images)] if security.network_policy else []),
        aggregator_deployment(job, images),
    ]
