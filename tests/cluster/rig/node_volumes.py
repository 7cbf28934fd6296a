"""Gives every claim of the rig's storage class a folder of the real node, and removes it after the claim.

The volumes are of the kind `local`: unlike hostPath, the kubelet applies a pod's fsGroup to them. A claim's files are
visible from outside as FOLDER/pvc-UID.
"""

import asyncio
import shutil
import sys
from contextlib import aclosing
from pathlib import Path

from kubernetes.aio.client import ApiException

from rig.api import CLAIMS, VOLUMES, Api, Object
from rig.keys import NODE_NAME
from rig.stages import PROVISIONER, STORAGE_CLASS

ASKED = "volume.kubernetes.io/storage-provisioner"
CONFLICT, NOT_FOUND = 409, 404


async def main() -> None:
    """Take the administrator's kubeconfig and the folder; work until killed."""
    kubeconfig, folder = map(Path, sys.argv[1:])
    folder.mkdir()
    async with Api(kubeconfig) as api, asyncio.TaskGroup() as group:
        group.create_task(provide(api, folder))
        group.create_task(clear(api, folder))


async def provide(api: Api, folder: Path) -> None:
    """Make a volume for each claim that waits for one; the controller manager binds it."""
    async with aclosing(api.states(CLAIMS, {})) as states:
        async for claims in states:
            for claim in claims:
                asked = claim["metadata"].get("annotations", {}).get(ASKED) == PROVISIONER
                if asked and not claim["spec"].get("volumeName"):
                    await make(api, folder, claim)


async def make(api: Api, folder: Path, claim: Object) -> None:
    """Make a claim's folder and volume, if it has none yet."""
    wanted = volume(folder, claim)
    (folder / wanted["metadata"]["name"]).mkdir(exist_ok=True)
    try:
        await api.create(VOLUMES, wanted)
    except ApiException as error:
        if error.status != CONFLICT:
            raise


async def clear(api: Api, folder: Path) -> None:
    """Remove volumes whose claim is gone."""
    async with aclosing(api.states(VOLUMES, {})) as states:
        async for volumes in states:
            for each in volumes:
                is_ours = each["spec"].get("storageClassName") == STORAGE_CLASS
                if is_ours and each["status"].get("phase") == "Released":
                    await remove(api, folder, each["metadata"]["name"])


async def remove(api: Api, folder: Path, name: str) -> None:
    """Remove a volume and its files."""
    await asyncio.to_thread(shutil.rmtree, folder / name, ignore_errors=True)
    try:
        await api.delete(VOLUMES, name)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise


def volume(folder: Path, claim: Object) -> Object:
    """Return the volume of a claim."""
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    owner = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {**owner, **{key: metadata[key] for key in ("name", "namespace", "uid")}},
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


if __name__ == "__main__":
    asyncio.run(main())
