import pytest

from distilljob_core.cpu_quota import cpu_quota


@pytest.fixture
def granted(tmp_path):
    """Read the quota of a control group made of its membership lines and its files."""

    def read(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return cpu_quota(tmp_path / "mount", tmp_path / "membership")

    return read


V1_POD = {"pod/cpu.cfs_quota_us": "50000\n", "pod/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        pytest.param("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5, id="version 2"),
        pytest.param("0::/", {"cpu.max": "max 100000\n"}, None, id="version 2 without a limit"),
        pytest.param("0::/gone", {}, None, id="a group that cannot be seen"),
        pytest.param(
            "4:cpu,cpuacct:/pod\n1:memory:/pod", {f"cpu/{k}": v for k, v in V1_POD.items()}, 0.5, id="version 1"
        ),
        pytest.param(
            "4:cpu,cpuacct:/pod", {f"cpu,cpuacct/{k}": v for k, v in V1_POD.items()}, 0.5, id="mounted by both names"
        ),
        pytest.param("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n"}, None, id="version 1 without a limit"),
        pytest.param("7:memory:/", {}, None, id="other controllers"),
    ],
)
def test_the_quota_is_that_of_the_control_group(granted, membership, files, quota):
    assert granted(membership, files) == quota


def test_the_smallest_quota_on_the_way_up_counts(granted):
    files = {"cpu.max": "max 100000", "pods/cpu.max": "150000 100000", "pods/one/cpu.max": "400000 100000"}
    assert granted("0::/pods/one", files) == 1.5


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "absent") is None
