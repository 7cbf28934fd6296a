"""What pods read at /etc/distilljob: the snapshot of the job, and wishes that may change while it runs."""

import json

from distilljob_core import names
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.snapshot import snapshot
from distilljob_operator.manifests.objects import Manifest, labels, metadata


def spec_config_map(job: DistillJob) -> Manifest:
    """Keep the job as it is at its first start; nothing changes it afterwards."""
    name = names.spec_config_map(job.metadata.name, job.metadata.uid)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, name, labels(job, names.AGGREGATOR)),
        "immutable": True,
        "data": {names.SPEC_FILE_NAME: json.dumps(snapshot(job, job.metadata.uid))},
    }


def control_config_map(job: DistillJob, control: Control) -> Manifest:
    """Tell the aggregator what is wished now."""
    wishes = {"stopAfterCycle": control.stop_after_cycle, "dropped": list(control.dropped)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(job, names.control_config_map(job.metadata.name), labels(job, names.AGGREGATOR)),
        "data": {names.CONTROL_FILE_NAME: json.dumps(wishes)},
    }
