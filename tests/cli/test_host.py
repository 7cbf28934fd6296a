import pytest

from distilljob.local import host


def cgroup(tmp_path, membership, files):
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return host.cgroup_quotas(tmp_path / "mount", tmp_path / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "quotas"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/", {"cpu.max": "max 100000\n"}, []),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, [3.0]),
        ("0::/gone", {}, []),
        (
            "4:cpu,cpuacct:/pod\n1:memory:/pod",
            {"cpu/pod/cpu.cfs_quota_us": "50000\n", "cpu/pod/cpu.cfs_period_us": "100000\n"},
            [0.5],
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
    ],
)
def test_quota_is_read_from_the_own_cgroup_and_all_above(tmp_path, membership, files, quotas):
    assert cgroup(tmp_path, membership, files) == quotas


def test_a_machine_without_cgroups_has_no_quota(tmp_path):
    assert host.cgroup_quotas(tmp_path, tmp_path / "none") == []


@pytest.mark.parametrize(("quota", "concurrent", "threads"), [(8.0, 3, 2), (1.5, 1, 1), (0.5, 4, 1), (2.0, 1, 2)])
def test_threads_are_shared_out_and_never_none(quota, concurrent, threads):
    assert host.threads_per_student(quota, concurrent) == threads


def test_quota_is_at_least_something():
    assert host.cpu_quota() > 0


@pytest.mark.parametrize(("visible", "gpus"), [("", ()), ("-1", ()), ("2", ("2",)), ("0, GPU-af", ("0", "GPU-af"))])
def test_gpus_that_the_user_chose_are_the_only_ones(monkeypatch, visible, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert host.find_gpus() == gpus


def test_gpus_are_counted_by_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: X (UUID: a)'\necho '  MIG 1g Device 0: (UUID: b)'\necho 'GPU 1: X'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert host.find_gpus() == ("0", "1")


def test_students_go_round_the_gpus():
    assert host.least_used(("0", "1"), []) == "0"
    assert host.least_used(("0", "1"), ["0"]) == "1"
    assert host.least_used(("0", "1"), ["0", "1", "1"]) == "0"
