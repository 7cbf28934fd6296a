from dataclasses import replace

import pytest
import torch

from distilljob_core.errors import DeviceError
from distilljob_trainer import numerics
from distilljob_trainer.threads import num_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("omp", "quota", "expected"),
    [("3", 8.0, 3), ("2,1", None, 2), ("", 2.5, 2), ("", 0.3, 1), ("", None, 1)],
)
def test_threads_follow_the_variable_then_the_quota_then_one(monkeypatch, omp, quota, expected):
    monkeypatch.setattr("distilljob_trainer.threads.cpu_quota", lambda: quota)
    assert num_threads({"OMP_NUM_THREADS": omp}) == expected


def test_without_a_gpu_auto_means_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert numerics.choose_device("auto", gpus=1) == CPU
    with pytest.raises(DeviceError, match="--device=auto"):
        numerics.choose_device("cuda", gpus=1)


def test_a_student_gets_a_gpu_only_when_it_asks_for_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert numerics.choose_device("auto", gpus=1).type == "cuda"
    assert numerics.choose_device("cuda", gpus=0) == CPU
    assert numerics.choose_device("cpu", gpus=1) == CPU


def test_precision_is_resolved_by_the_device(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Old GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert numerics.choose_precision("Auto", cuda) == "BFloat16"
    assert numerics.choose_precision("Float32", cuda) == "Float32"
    assert numerics.choose_precision("Auto", CPU) == "Float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert numerics.choose_precision("Auto", cuda) == "Float32"
    with pytest.raises(DeviceError, match="Old GPU"):
        numerics.choose_precision("BFloat16", cuda)


def test_threads_do_not_race_in_the_gradient_of_an_index():
    """Without deterministic algorithms 2 threads gave 11 different gradients in 20 passes."""
    numerics.prepare(CPU, 2)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 64, generator=generator, requires_grad=True)
    index, gradient = (
        torch.randint(0, 7, (20_000,), generator=generator),
        torch.randn(20_000, 64, generator=generator),
    )
    first, *others = (torch.autograd.grad(weight[index], weight, gradient)[0] for _ in range(20))
    assert all(torch.equal(other, first) for other in others)


def test_numerics_of_the_same_machine_can_be_imposed():
    assert numerics.impose(numerics.probe(CPU, "Float32"), CPU) == []


def test_what_cannot_be_imposed_is_said():
    kept = replace(numerics.probe(CPU, "Float32"), device="H100", torch="2.0", threads=2)
    assert numerics.impose(kept, CPU) == ["device was H100, is cpu", f"torch was 2.0, is {torch.__version__}"]
    assert torch.get_num_threads() == 2


def test_autocast_computes_in_bfloat16_and_float32_does_not():
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with numerics.autocast(CPU, "BFloat16")():
        assert layer(x).dtype == torch.bfloat16
    with numerics.autocast(CPU, "Float32")():
        assert layer(x).dtype == torch.float32


def test_a_student_learns_in_bfloat16_with_its_losses_in_float32(group):
    job = group()
    student = job.student
    student.autocast = numerics.autocast(CPU, "BFloat16")
    _, done = next(job.run())
    assert done.loss.dtype == torch.float32
    assert torch.isfinite(done.loss)
    assert all(parameter.dtype == torch.float32 for parameter in student.model.parameters())
