"""How one student descends; the group's defaults and each student's own wishes have the same shape."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from distilljob_core.spec.base import Part

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Optimizer(Part):
    """The step rule."""

    kind: Literal["SGD", "AdamW"] = "SGD"
    """SGD with momentum, or AdamW."""
    learning_rate: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """The learning rate that the schedule multiplies."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """SGD's momentum; AdamW uses its own betas."""
    nesterov: bool = False
    """Nesterov's form of SGD's momentum."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 5.0e-4
    """Pull of all weights towards zero."""


class Schedule(Part):
    """How the learning rate falls over all planned epochs; frozen in absolute epochs at the first start."""

    kind: Literal["MultiStep", "Cosine", "Constant"] = "MultiStep"
    """MultiStep: times gamma at each milestone. Cosine: half a cosine down to zero. Constant: no fall."""
    milestones: Annotated[list[Fraction], Field(max_length=16)] = [0.5, 0.75]
    """Fractions of all planned epochs at which MultiStep falls."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of each fall."""
    warmup_epochs: Annotated[int, Field(ge=0, le=1000)] = 0
    """Epochs over which the learning rate rises in a line from near zero."""


class Training(Part):
    """Defaults for every student; each may override any of them."""

    batch_size: Annotated[int, Field(ge=2, le=1_048_576)] = 128
    """Samples a step, over all GPUs of the student."""
    optimizer: Optimizer = Field(default_factory=Optimizer)
    """The step rule."""
    schedule: Schedule = Field(default_factory=Schedule)
    """How the learning rate falls."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Upper limit of the gradient's norm; null = none."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label spread over all classes, in the cross-entropy only."""
    augmentation: Literal["Default", "Disabled"] = "Default"
    """Default: the dataset's own. Soft labels are always made of un-augmented samples."""
    precision: Literal["Auto", "Float32", "BFloat16"] = "Auto"
    """Auto: BFloat16 on GPUs that have it, else Float32. The resolved value is kept by later attempts."""
    compile: Literal["Disabled", "Default"] = "Disabled"
    """Default: torch.compile the network."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is then used for labels, evaluation and export; null = none."""
    data_loader_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Processes that read samples of a streamed dataset; 0 = the student itself, null = one for each of its CPUs."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Start of every random choice; students of one seed differ by their names."""


def _optional(model: type[Part]) -> Any:
    """Give the same shape with every field optional and no defaults, for patches."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, Part):
            kind = _optional(kind)
        elif field.metadata:
            kind = Annotated[kind, *field.metadata]
        fields[name] = (kind | None, Field(default=None, description=field.description))
    return create_model(f"{model.__name__}Override", __base__=Part, __doc__=model.__doc__, **fields)


if TYPE_CHECKING:
    TrainingOverride = Training
else:
    TrainingOverride = _optional(Training)
