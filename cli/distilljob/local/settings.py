"""How this machine's means are given to students: decided at the first start, then kept, so that numbers stay."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distilljob.errors import BadInput
from distilljob.local.host import find_gpus, num_processors, threads_per_student
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.resolve import resolve_students

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What every start of a student is given here."""

    threads: int
    """OMP_NUM_THREADS of each student; part of its numeric identity."""
    device: Device
    data: Path
    gpus: tuple[str, ...]
    """As CUDA_VISIBLE_DEVICES names them; empty = everything runs on the CPU."""


def settle(spec: DistillJobSpec, stored: dict[str, Any], data: Path, device: Device | None) -> Settings:
    """Work out the settings of a run.

    Args:
        spec: says how many students share the processors, whether or not at the same time: the number of threads is
            part of what makes numbers equal, and students that take turns must give those of all at once.
        stored: `to_store` of the first start; empty before it.
        data: stands for /data.
        device: the user's wish; None = as stored, else automatic.

    Raises:
        BadInput: a GPU is demanded and there is none.
    """
    chosen: Device = device or stored.get("device", "auto")
    gpus = () if chosen == "cpu" else find_gpus()
    if chosen == "cuda" and not gpus:
        raise BadInput("--device cuda: there is no NVIDIA GPU here that this process may use; use --device auto or cpu")
    threads = stored.get("threads") or threads_per_student(num_processors(), len(resolve_students(spec)))
    return Settings(threads, chosen, data, gpus)


def to_store(settings: Settings) -> dict[str, Any]:
    """Give what later starts must keep, and the folder of the data for whoever asks how to go on."""
    return {"threads": settings.threads, "device": settings.device, "data": str(settings.data.absolute())}
