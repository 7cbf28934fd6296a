from dataclasses import replace

import pytest
import torch

from distilljob_core.errors import DeviceError
from distilljob_trainer import numerics
from distilljob_trainer.threads import cpu_quota, num_threads

CPU = torch.device("cpu")


@pytest.fixture
def cgroup(tmp_path):
    """Make a control group from files: its membership line and its quota files."""

    def make(line: str, **files: str) -> tuple:
        root, membership = tmp_path / "fs", tmp_path / "cgroup"
        membership.write_text(f"{line}\n")
        for name, content in files.items():
            path = root / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root, membership

    return make


def test_the_quota_of_version_2(cgroup):
    assert cpu_quota(*cgroup("0::/", cpu_max="250000 100000\n")) == 2.5


def test_the_smallest_quota_on_the_way_up_counts(cgroup):
    files = {"cpu_max": "max 100000", "pods__cpu_max": "150000 100000", "pods__one__cpu_max": "400000 100000"}
    assert cpu_quota(*cgroup("0::/pods/one", **files)) == 1.5


def test_the_quota_of_version_1(cgroup):
    files = {"cpu__pod__cpu_cfs_quota_us": "300000", "cpu__pod__cpu_cfs_period_us": "100000"}
    assert cpu_quota(*cgroup("4:cpu,cpuacct:/pod", **files)) == 3.0


@pytest.mark.parametrize(
    ("line", "files"),
    [
        pytest.param("0::/", {"cpu_max": "max 100000"}, id="v2-without-limit"),
        pytest.param("4:cpu:/", {"cpu__cpu_cfs_quota_us": "-1"}, id="v1-without-limit"),
        pytest.param("7:memory:/", {}, id="other-controllers"),
    ],
)
def test_without_a_quota_there_is_none(cgroup, line, files):
    assert cpu_quota(*cgroup(line, **files)) is None


def test_outside_of_linux_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "absent") is None


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
