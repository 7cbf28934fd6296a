"""One Job per attempt of a student. It never tries again by itself: whoever starts attempts also counts them."""

from dataclasses import replace
from typing import Final

from distilljob_core import names
from distilljob_core.plan import Places, Process, student_process
from distilljob_core.spec.cluster import OWN_VOLUMES
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.pod import Pod
from distilljob_core.spec.resolve import ResolvedStudent, resolve_students
from distilljob_operator.manifests import resources
from distilljob_operator.manifests.objects import Manifest, labels, metadata
from distilljob_operator.manifests.patches import student_patch
from distilljob_operator.manifests.pods import Container, Mount, claim_volume, pod_template
from distilljob_operator.manifests.settings import Images

ON_GPU: Final = ("--device=cuda",)
"""In a pod that holds a GPU, training on the CPU would be an expensive mistake."""


def student_job(job: DistillJob, student: str, attempt: int, images: Images) -> Manifest:
    """Make one attempt of one student.

    Args:
        job: has a uid.
        student: its name, replicas expanded.
        attempt: from 1.
        images: the operator's own settings.
    """
    resolved = next(one for one in resolve_students(job.spec) if one.name == student)
    own = labels(job, names.STUDENT, student, attempt)
    template = _template(job, resolved, attempt, images, own)
    name = names.student_attempt(job.metadata.name, student, attempt)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(job, name, own),
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "template": template | {"spec": template["spec"] | {"restartPolicy": "Never"}},
        },
    }


def _template(job: DistillJob, student: ResolvedStudent, attempt: int, images: Images, own: dict[str, str]) -> Manifest:
    address = f"{names.aggregator(job.metadata.name)}:{names.GRPC_PORT}"
    process = student_process(job, student, attempt, "", address, Places())
    patch = student_patch(job.spec, student.name, images.pods.students)
    needs = _resources(student, patch)
    container = Container(
        process=_on_its_device(process, student),
        image=images.trainer,
        resources=needs,
        ports={} if student.command else {"http": names.HTTP_PORT},  # another's trainer need not serve metrics
        mounts=_mounts(job, student.name),
        env={"OMP_NUM_THREADS": str(resources.num_threads(needs))},
    )
    return pod_template(job, container, patch, images, own)


def _on_its_device(process: Process, student: ResolvedStudent) -> Process:
    if student.command or student.gpus == 0:
        return process
    return replace(process, argv=(*process.argv, *ON_GPU))


def _resources(student: ResolvedStudent, patch: Pod) -> Manifest:
    wanted = resources.amounts(patch.resources)
    wanted = resources.with_gpus(wanted, student.gpus, patch.gpu_resource_name or resources.GPU_RESOURCE_NAME)
    defaults = resources.STUDENT_ON_GPU if student.gpus else resources.STUDENT_ON_CPU
    return resources.container_resources({**defaults, **wanted})


def _mounts(job: DistillJob, student: str) -> list[Mount]:
    name, uid = job.metadata.name, job.metadata.uid
    config: Manifest = {"name": f"{OWN_VOLUMES}config", "configMap": {"name": names.spec_config_map(name, uid)}}
    checkpoints = claim_volume("checkpoints", names.checkpoint_claim(name, student, uid))
    mounts = [Mount(config, names.MOUNT_CONFIG, read_only=True), Mount(checkpoints, names.MOUNT_CHECKPOINTS)]
    if job.spec.dataset.volume is not None:
        claim = job.spec.dataset.volume.persistent_volume_claim
        data = claim_volume("data", claim.claim_name, read_only=claim.read_only)
        mounts.append(Mount(data, names.MOUNT_DATA, claim.sub_path, claim.read_only))
    return mounts
