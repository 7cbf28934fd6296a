"""What is learned from."""

from typing import Annotated, Literal

from pydantic import Field

from distilljob_core.spec.base import Options, Part, Text


class PersistentVolumeClaim(Part):
    """A claim that already exists in the job's namespace."""

    claim_name: Text
    """Name of the PersistentVolumeClaim."""
    sub_path: Text | None = None
    """Folder inside the volume; null = its root."""
    read_only: bool = False
    """Mount read-only. The dataset must then be complete, or the pod's own cache is used for downloads."""


class DatasetVolume(Part):
    """Where the dataset lies in a cluster; mounted at /data."""

    persistent_volume_claim: PersistentVolumeClaim
    """The claim that holds the dataset."""


class Holdout(Part):
    """The slice of the training set that no gradient step sees.

    It weighs the students and selects the best; the test set is never used for either.
    """

    fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the training set, stratified by class."""
    maximum_samples: Annotated[int, Field(ge=1, le=65536)] = 1000
    """Never more samples than this: 1,000 are enough to weigh students."""


class Dataset(Part):
    """The labeled data of the job; every student must see exactly the same."""

    name: Text
    """digits, fashion_mnist, cifar10, image_folder, or package.module:factory."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the dataset factory; scalars only."""
    download: Literal["IfMissing", "Never"] = "IfMissing"
    """IfMissing fetches a published dataset once, under a lock and checked by checksum. Never: it must be there."""
    volume: DatasetVolume | None = None
    """A volume with the data, mounted at /data. On one machine `--data` stands for it."""
    holdout: Holdout = Field(default_factory=Holdout)
    """The slice of the training set that weighs and selects the students."""
