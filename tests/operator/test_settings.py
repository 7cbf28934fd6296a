"""Settings: each a flag and a variable, the flag wins, and mistakes name both."""

from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest

from distilljob_operator import settings as module
from distilljob_operator.main import build_parser, main
from distilljob_operator.settings import Settings, SettingsError, read_settings

IMAGES = {"TRAINER_IMAGE": "trainer:1", "AGGREGATOR_IMAGE": "aggregator:1"}
DEFAULTS = Settings(trainer_image="trainer:1", aggregator_image="aggregator:1")


def read(*flags: str, **environment: str) -> Settings:
    variables = {f"DISTILLJOB_OPERATOR_{name}": value for name, value in (IMAGES | environment).items()}
    return read_settings(build_parser().parse_args(["run", *flags]), variables)


def test_images_alone_mean_the_defaults() -> None:
    assert read() == DEFAULTS


def test_an_image_that_is_not_given_is_named_with_its_flag() -> None:
    with pytest.raises(SettingsError) as raised:
        read(TRAINER_IMAGE="", AGGREGATOR_IMAGE="")
    first, second = str(raised.value).splitlines()
    assert first.startswith(
        "--trainer-image (DISTILLJOB_OPERATOR_TRAINER_IMAGE) is missing: name the image of students"
    )
    assert second.startswith("--aggregator-image (DISTILLJOB_OPERATOR_AGGREGATOR_IMAGE) is missing")


def test_a_flag_wins_over_its_variable() -> None:
    assert read("--workers", "3", WORKERS="5").workers == 3
    assert read(WORKERS="5").workers == 5


def test_an_empty_variable_says_nothing() -> None:
    assert read(WORKERS="", NAMESPACE="", LEASE="") == DEFAULTS


def test_lists_are_repeated_flags_or_separated_by_commas() -> None:
    assert read("--namespace", "a", "--namespace", "b").namespace == ("a", "b")
    assert read(NAMESPACE="a, b,").namespace == ("a", "b")
    assert read("--namespace", "c", NAMESPACE="a,b").namespace == ("c",)


def test_a_switch_can_be_set_both_ways() -> None:
    assert not read("--no-lease").lease
    assert not read(LEASE="false").lease
    assert read("--lease", LEASE="false").lease


def test_all_mistakes_are_told_at_once_each_with_flag_and_variable() -> None:
    with pytest.raises(SettingsError) as raised:
        read("--workers", "many", "--namespace", "Upper", HTTP_PORT="99999", AGGREGATOR_URL="http://{node}:1")
    lines = str(raised.value).splitlines()
    assert len(lines) == 4
    assert "--namespace (DISTILLJOB_OPERATOR_NAMESPACE) must be the name of a namespace" in lines[0]
    assert "--aggregator-url (DISTILLJOB_OPERATOR_AGGREGATOR_URL) knows no {node}" in lines[1]
    assert "--workers (DISTILLJOB_OPERATOR_WORKERS) must be a whole number from 1 to 256; it is 'many'" in lines[2]
    assert "--http-port (DISTILLJOB_OPERATOR_HTTP_PORT) must be a port" in lines[3]


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        ("--poll-seconds", "0"),
        ("--poll-seconds", "nan"),
        ("--poll-seconds", "1e9"),
        ("--progress-source", "prometheus"),
        ("--prometheus-url", "prometheus:9090"),
        ("--image-pull-policy", "Sometimes"),
        ("--log-format", "xml"),
        ("--trainer-image", ""),
        ("--lease-namespace", "-a"),
        ("--http-port", "-1"),
        ("--metrics-from", "team=monitoring"),
        ("--metrics-from", "[]"),
        ("--metrics-from", '{"matchLabel": {}}'),
    ],
)
def test_a_value_that_means_nothing_is_refused(flag: str, wrong: str) -> None:
    with pytest.raises(SettingsError, match=flag):
        read(f"{flag}={wrong}")


def test_prometheus_needs_an_address() -> None:
    with pytest.raises(SettingsError, match="--prometheus-url"):
        read("--progress-source", "Prometheus")
    assert read("--progress-source", "Prometheus", PROMETHEUS_URL="http://p:9090/").prometheus_url == "http://p:9090"


def test_an_address_of_prometheus_is_refused_where_nobody_asks_it() -> None:
    with pytest.raises(SettingsError, match=r"--prometheus-url.* is for --progress-source.* Prometheus alone"):
        read("--prometheus-url", "http://p:9090")


def test_images_are_the_given_ones() -> None:
    images = read("--trainer-image", "mine:1", "--image-pull-secret", "a").images
    assert (images.trainer, images.aggregator) == ("mine:1", "aggregator:1")
    assert images.pull_secrets == ("a",)


def test_who_may_read_metrics_is_told_to_an_operator_that_knows_its_own_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring = {"matchLabels": {"team": "monitoring"}}
    told = ("--metrics-from", '{"matchLabels": {"team": "monitoring"}}')
    monkeypatch.setattr(module, "_NAMESPACE_FILE", tmp_path / "namespace")
    assert read(*told).images.readers == ()
    (tmp_path / "namespace").write_text("system")
    assert read(*told).images.readers[0] == {"namespaceSelector": monitoring}
    assert read(METRICS_FROM=told[1]).images.readers == read(*told).images.readers
    assert read().images.readers == ()


def test_whoever_reads_through_the_api_server_cannot_shut_it_out() -> None:
    with pytest.raises(SettingsError, match=r"--metrics-from.* does not go with --aggregator-url.* proxy"):
        read("--aggregator-url", "proxy", METRICS_FROM='{"matchLabels": {"a": "b"}}')


def test_defaults_for_pods_come_from_a_file_and_what_is_wrong_in_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    file.write_text("students: {nodeSelector: {pool: gpu}}")
    assert read("--pod-defaults", str(file)).images.pods.students.node_selector == {"pool": "gpu"}
    assert read().images.pods.students.node_selector is None
    file.write_text("students: {nodeSelectr: {}}\naggregator: {sharedMemory: [1]}")
    with pytest.raises(SettingsError, match=r"--pod-defaults.*students\.nodeSelectr.*aggregator\.sharedMemory"):
        read("--pod-defaults", str(file))
    file.write_text("aggregator: {gpuResourceName: amd.com/gpu, env: [{value: x}]}")
    with pytest.raises(SettingsError, match=r"--pod-defaults.*aggregator\.env\[0\]: needs a name.*gpuResourceName"):
        read("--pod-defaults", str(file))
    file.write_text("students: {volumeMounts: [{name: x, mountPath: /data}]}")
    with pytest.raises(SettingsError, match=r"students\.volumeMounts\[0\]\.mountPath: dataset\.volume is mounted"):
        read("--pod-defaults", str(file))
    file.write_text("- students")
    with pytest.raises(SettingsError, match=r"--pod-defaults.*file: Input should be"):
        read("--pod-defaults", str(file))
    with pytest.raises(SettingsError, match=r"--pod-defaults.*cannot be read"):
        read("--pod-defaults", str(tmp_path / "none.yaml"))


def test_paths_and_identities_are_taken_as_they_are() -> None:
    settings = read("--kubeconfig", "/a/b", "--identity", "uid-1")
    assert settings.kubeconfig == Path("/a/b")
    assert settings.holder == "uid-1"
    assert read().holder != read("--identity", "uid-1").holder


def test_the_help_shows_every_setting_with_variable_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    text = "".join(capsys.readouterr().out.split())
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in text
        assert f"DISTILLJOB_OPERATOR_{setting.name.upper()}]" in text
    assert "[10;DISTILLJOB_OPERATOR_POLL_SECONDS]" in text


def test_wrong_settings_end_the_program_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--workers", "0"]) == 2
    assert "--workers (DISTILLJOB_OPERATOR_WORKERS)" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == version("distilljob")
