"""How students teach each other: the paper's method and its relatives (Gao et al. 2019, Entropy 21(4):357)."""

from typing import Annotated, Literal

from pydantic import Field

from distilljob_core.spec.base import Part

Epochs = Annotated[int, Field(ge=0, le=100_000)]


class Ramp(Part):
    """How the loss L = alpha CE + beta KL moves through a distillation phase."""

    kind: Literal["Linear", "Fixed", "FixedMatched", "Cosine"] = "Linear"
    """Linear: alpha = 1 - r/T_d, beta = 1 + r/T_d. FixedMatched: that line's mean. Fixed: alpha and beta as given."""
    unit: Literal["Epoch", "Step"] = "Epoch"
    """Whether r moves once an epoch (the paper) or along the same line at every step."""
    alpha: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Weight of the cross-entropy; only for kind Fixed."""
    beta: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Weight of the divergence from the teacher; only for kind Fixed."""


class Divergence(Part):
    """The distance between the teacher's and the student's soft labels."""

    direction: Literal["Forward", "Reverse"] = "Forward"
    """Forward: KL(teacher || student). Reverse: KL(student || teacher)."""
    temperature_squared: bool = True
    """Multiply by t^2, so that the gradient keeps its size at any temperature. false is the paper's literal reading."""


class Teacher(Part):
    """How students are combined into their teacher."""

    weights: Literal["Accuracy", "Uniform", "BalancedAccuracy"] = "Accuracy"
    """Accuracy: number correct on the hold-out. Uniform: all alike. BalancedAccuracy: mean recall over the classes."""
    minimum_gain: Annotated[float, Field(ge=-1, le=1)] | None = None
    """A student that the teacher does not beat by this much trains on labels alone in that phase."""


class SoftLabels(Part):
    """How soft labels travel."""

    codec: Literal["Float16", "Log8"] = "Float16"
    """Float16 keeps everything that matters in two bytes a class; Log8 needs one."""


class Stop(Part):
    """When the group has learned enough; decided once, at the aggregator, for everybody."""

    kind: Literal["Cycles", "Plateau"] = "Cycles"
    """Cycles: after `cycles`. Plateau: when the hold-out accuracy no longer rises."""
    metric: Literal["BestStudent", "MeanStudent"] = "MeanStudent"
    """Whose hold-out accuracy a plateau is judged by."""
    minimum_delta: Annotated[float, Field(ge=0, le=1)] = 0.001
    """A rise smaller than this is no rise."""
    patience_cycles: Annotated[int, Field(ge=1, le=1000)] = 2
    """So many cycles without a rise make a plateau."""


class Method(Part):
    """The training cycle: T_in epochs alone, exchange, T_d epochs with the ensemble as teacher."""

    name: Literal["MD", "Independent", "ECDNN"] = "MD"
    """MD: the paper's method. ECDNN: uniform weights, fixed ramp, t = 1. Independent: as many epochs, no teacher."""
    cycles: Annotated[int, Field(ge=1, le=1000)] = 4
    """How often students exchange soft labels."""
    independent_epochs: Epochs = 10
    """T_in: epochs of cross-entropy in each cycle."""
    distill_epochs: Epochs = 30
    """T_d: epochs with the teacher in each cycle."""
    burn_in_epochs: Epochs = 0
    """Extra independent epochs before the first cycle: a teacher made too early caps its students."""
    temperature: Annotated[float, Field(gt=0, le=1000)] = 3.0
    """t in softmax(g / t); larger is softer."""
    ramp: Ramp = Field(default_factory=Ramp)
    """How the teacher's weight rises within a phase."""
    kl: Divergence = Field(default_factory=Divergence)
    """The distance from the teacher."""
    teacher: Teacher = Field(default_factory=Teacher)
    """How the students are combined."""
    soft_labels: SoftLabels = Field(default_factory=SoftLabels)
    """How soft labels travel."""
    stop: Stop = Field(default_factory=Stop)
    """When to stop."""
