"""The device a student computes on, and everything about it that decides the last bits of a result."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Literal

import structlog
import torch

from distilljob_core.errors import DeviceError

log = structlog.get_logger()

Precision = Literal["Float32", "BFloat16"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """Same numerics, same bits. Kept from the first start and imposed on later attempts.

    Threads and precision can be imposed. Device and versions cannot, nor can the CPU's capability: ATEN_CPU_CAPABILITY
    is read when torch is loaded and rules neither oneDNN nor MKL, so with it alone a run would be called exact and not
    be it.
    """

    device: str
    """cpu, or the model of the GPU."""
    precision: Precision
    threads: int
    cpu_capability: str
    torch: str
    cuda: str
    """Version of CUDA; empty without."""

    def environment(self) -> dict[str, str | int | bool]:
        """Give it for a result."""
        return asdict(self)


def choose_device(wanted: Literal["auto", "cpu", "cuda"], gpus: int) -> torch.device:
    """Give the device of a student that asks for so many GPUs; without CUDA, `auto` falls back to the CPU and says so.

    Raises:
        DeviceError: `cuda` is demanded and not there.
    """
    if gpus == 0 or wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise DeviceError(
            f"--device=cuda, but torch {torch.__version__} finds no CUDA device; is its driver new enough, and the GPU "
            f"(docs/how-to/images.md)? Else use --device=auto"
        )
    log.info("no CUDA device: training on the CPU", gpus=gpus)
    return torch.device("cpu")


def choose_precision(wanted: Literal["Auto", "Float32", "BFloat16"], device: torch.device) -> Precision:
    """Resolve `Auto`: BFloat16 on GPUs that have it, else Float32.

    Raises:
        DeviceError: BFloat16 is demanded and the device lacks it.
    """
    if wanted == "Float32" or (wanted == "Auto" and device.type == "cpu"):
        return "Float32"
    if _has_bfloat16(device):
        return "BFloat16"
    if wanted == "BFloat16":
        raise DeviceError(
            f"this device ({_device_name(device)}) has no BFloat16; set training.precision to Float32, or use another"
        )
    return "Float32"


def probe(device: torch.device, precision: Precision) -> Numerics:
    """Describe how this process computes now."""
    return Numerics(
        device=_device_name(device),
        precision=precision,
        threads=torch.get_num_threads(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        torch=torch.__version__,
        cuda=torch.version.cuda or "" if device.type == "cuda" else "",
    )


def impose(kept: Numerics, device: torch.device) -> list[str]:
    """Compute as the first attempt did; gives what cannot be imposed, in words.

    Raises:
        DeviceError: the precision is one that this device lacks.
    """
    torch.set_num_threads(kept.threads)
    now = probe(device, choose_precision(kept.precision, device))
    differing = (field.name for field in fields(Numerics) if getattr(kept, field.name) != getattr(now, field.name))
    return [f"{name} was {getattr(kept, name) or 'none'}, is {getattr(now, name) or 'none'}" for name in differing]


def prepare(device: torch.device, num_threads: int) -> None:
    """Set torch up for reproducible work; before any tensor is made."""
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True, warn_only=True)  # on the CPU too: threads race in gradients of x[index]
    # Filling memory that a kernel overwrites costs time, and no result may depend on it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
        torch.backends.cudnn.benchmark = False


def autocast(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[object]]:
    """Give the context of a forward pass in training; losses are computed outside of it."""
    if precision == "Float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
