import pytest

from distilljob.local import host


@pytest.mark.parametrize(("processors", "students", "threads"), [(8.0, 3, 2), (1.5, 1, 1), (0.5, 4, 1), (2.0, 1, 2)])
def test_threads_are_shared_out_and_never_none(processors, students, threads):
    assert host.threads_per_student(processors, students) == threads


def test_a_quota_cuts_the_processors_and_never_adds_any(monkeypatch):
    monkeypatch.setattr(host, "cpu_quota", lambda: 0.5)
    assert host.num_processors() == 0.5
    monkeypatch.setattr(host, "cpu_quota", lambda: None)
    without = host.num_processors()
    monkeypatch.setattr(host, "cpu_quota", lambda: 1e6)
    assert host.num_processors() == without >= 1


@pytest.fixture
def nvidia_smi(monkeypatch, tmp_path):
    """A machine whose nvidia-smi lists two GPUs, the first one with a slice."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: X (UUID: GPU-afe1)'\necho '  MIG 1g Device 0: (UUID: MIG-b2)'\n"
        "echo 'GPU 1: X (UUID: GPU-c3)'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("", ()), ("-1", ()), ("1", ("1",)), ("0, GPU-af", ("0", "GPU-af")), ("MIG-b2", ("MIG-b2",)),
        ("2", ()), ("1,7", ("1",)), ("GPU-d4", ()),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("nvidia_smi")
def test_gpus_that_the_user_chose_and_that_are_here_are_the_only_ones(monkeypatch, visible, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert host.find_gpus() == gpus


@pytest.mark.usefixtures("nvidia_smi")
def test_gpus_are_counted_by_nvidia_smi(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert host.find_gpus() == ("0", "1")


def test_a_chosen_gpu_on_a_machine_without_any_is_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(host, "_nvidia_smi", lambda: None)
    monkeypatch.setattr(host, "_driver_listing", lambda: "")
    assert host.find_gpus() == ()


def test_students_go_round_the_gpus():
    assert host.least_used(("0", "1"), []) == "0"
    assert host.least_used(("0", "1"), ["0"]) == "1"
    assert host.least_used(("0", "1"), ["0", "1", "1"]) == "0"
