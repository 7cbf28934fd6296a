"""What the operator is told: each setting is a flag and a variable of the environment, and the flag wins."""

import argparse
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import yaml
from pydantic import ValidationError

from distilljob_core.errors import DistillJobError
from distilljob_operator import setting_values as parse
from distilljob_operator.manifests.network import readers
from distilljob_operator.manifests.settings import Images, PodDefaults

PREFIX: Final = "DISTILLJOB_OPERATOR_"
_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ProgressSourceName = Literal["Scrape", "Prometheus"]
LogFormat = Literal["Auto", "Text", "Json"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class SettingsError(DistillJobError):
    """Settings are wrong; the text names each flag and variable."""


def _pod_defaults(text: str) -> PodDefaults:
    try:
        tree = yaml.safe_load(Path(text).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    try:
        defaults = PodDefaults.model_validate(tree)
        wrong = [str(problem) for problem in defaults.problems()]
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()]
    if wrong:
        raise ValueError(f"holds what no pod of a job may have: {'; '.join(wrong)}")
    return defaults


@dataclass(frozen=True, slots=True)
class Setting:
    """How one setting is read and explained."""

    parse: Callable[[str], Any]
    meaning: str
    shown: str | None = None
    """What the help shows where the default itself says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can be told. A tuple is given by repeating the flag, or separated by commas."""

    namespace: Annotated[
        tuple[str, ...], Setting(parse.namespace, "serve this namespace only; may be repeated", "all")
    ] = ()
    kubeconfig: Annotated[
        Path | None, Setting(Path, "how to reach the cluster", "as kubectl; in a pod, its service account")
    ] = None
    context: Annotated[str | None, Setting(parse.text, "context of that file", "its current one")] = None
    trainer_image: Annotated[str, Setting(parse.text, "image of students that bring none", "required")]
    aggregator_image: Annotated[str, Setting(parse.text, "image of aggregators that bring none", "required")]
    image_pull_policy: Annotated[PullPolicy, Setting(parse.one_of(PullPolicy), "when nodes fetch images")] = (
        "IfNotPresent"
    )
    image_pull_secret: Annotated[
        tuple[str, ...],
        Setting(parse.text, "secret of the job's namespace for fetching images; may be repeated", "none"),
    ] = ()
    pod_defaults: Annotated[
        PodDefaults | None,
        Setting(
            _pod_defaults, "file with `students` and `aggregator`: fields of a job's `pod`, for jobs without", "none"
        ),
    ] = None
    progress_source: Annotated[
        ProgressSourceName, Setting(parse.one_of(ProgressSourceName), "where progress is read: Scrape or Prometheus")
    ] = "Scrape"
    prometheus_url: Annotated[str | None, Setting(parse.web_address, "address of Prometheus' HTTP API", "none")] = None
    aggregator_url: Annotated[
        str,
        Setting(
            parse.aggregator_address,
            "where aggregators answer, with {namespace}, {job}, {pod}, {pod_ip} and {service} filled in; "
            "or proxy: through the API server",
        ),
    ] = "http://{pod_ip}:8471"
    metrics_from: Annotated[
        dict[str, Any] | None,
        Setting(
            parse.selector,
            "label selector, as JSON, of the namespaces that may read metrics and round tables of jobs; "
            "in a pod, its own may always",
            "all",
        ),
    ] = None
    poll_seconds: Annotated[float, Setting(parse.seconds, "how often progress is read")] = 10.0
    workers: Annotated[int, Setting(parse.workers, "jobs that are worked on at the same time")] = 16
    http_bind: Annotated[str, Setting(parse.text, "address of /metrics, /livez and /readyz")] = "0.0.0.0"  # noqa: S104
    http_port: Annotated[int, Setting(parse.port, "port of /metrics, /livez and /readyz; 0 = any")] = 8080
    log_format: Annotated[
        LogFormat, Setting(parse.one_of(LogFormat), "Text, Json, or Auto: text on a terminal, else JSON")
    ] = "Auto"
    lease: Annotated[
        bool, Setting(parse.switch, "hold a Lease, so that two operators never work at the same time; or --no-lease")
    ] = True
    lease_namespace: Annotated[str | None, Setting(parse.namespace, "namespace of the Lease", "the pod's own")] = None
    identity: Annotated[
        str | None, Setting(parse.text, "who holds the Lease; in a pod, its UID", "host name and process")
    ] = None

    def __post_init__(self) -> None:
        if self.progress_source == "Prometheus" and self.prometheus_url is None:
            raise SettingsError(f"{_names('progress_source')} is Prometheus: give {_names('prometheus_url')}, too")
        if self.progress_source != "Prometheus" and self.prometheus_url is not None:
            raise SettingsError(f"{_names('prometheus_url')} is for {_names('progress_source')} Prometheus alone")
        if self.metrics_from and self.aggregator_url == "proxy":
            raise SettingsError(
                f"{_names('metrics_from')} shuts out the API server, which is in no namespace: "
                f"it does not go with {_names('aggregator_url')} proxy"
            )

    @property
    def images(self) -> Images:
        """Where programs come from."""
        return Images(
            trainer=self.trainer_image,
            aggregator=self.aggregator_image,
            pull_policy=self.image_pull_policy,
            pull_secrets=self.image_pull_secret,
            pods=self.pod_defaults or PodDefaults(),
            readers=readers(self.metrics_from, self.own_namespace),
        )

    @property
    def own_namespace(self) -> str | None:
        """The namespace of this pod; None outside of one."""
        try:
            return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        except OSError:
            return None

    @property
    def holder(self) -> str:
        """Who holds the lease."""
        return self.identity or f"{socket.gethostname()}-{os.getpid()}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Describe every setting; their defaults are in the text alone, so that flags that were not given show."""
    for name, setting, default in _settings():
        text = f"{setting.meaning} [{setting.shown or _shown(default)}; {variable(name)}]"
        if isinstance(default, bool):
            parser.add_argument(flag(name), action=_Switch, default=None, help=text)
        else:
            action = "append" if isinstance(default, tuple) else "store"
            parser.add_argument(flag(name), action=action, default=None, metavar=_metavar(name), help=text)


def read_settings(flags: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Put flags over the environment over defaults.

    Raises:
        SettingsError: values that mean nothing; all of them are named.
    """
    values: dict[str, Any] = {}
    problems = []
    for name, setting, default in _settings():
        texts = _texts(getattr(flags, name), environment.get(variable(name)), is_list=isinstance(default, tuple))
        if not texts:
            if default is MISSING:
                problems.append(f"{_names(name)} is missing: name the {setting.meaning}")
            continue
        try:
            parsed = tuple(setting.parse(text) for text in texts)
        except ValueError as error:
            problems.append(f"{_names(name)} {error}; it is {', '.join(texts)!r}")
        else:
            values[name] = parsed if isinstance(default, tuple) else parsed[0]
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def described_settings() -> Iterator[tuple[str, str, str]]:
    """Give name, meaning and shown default of every setting."""
    for name, setting, default in _settings():
        yield name, setting.meaning, setting.shown or _shown(default)


def _texts(given: str | list[str] | None, ambient: str | None, *, is_list: bool) -> list[str]:
    """Give the words of the flag, or else those of the variable; an empty variable says nothing."""
    if given is not None:
        return given if isinstance(given, list) else [given]
    words = (ambient or "").split(",") if is_list else [ambient or ""]
    return [word.strip() for word in words if word.strip()]


def _settings() -> Iterator[tuple[str, Setting, Any]]:
    hints = get_type_hints(Settings, include_extras=True)
    for each in fields(Settings):
        yield each.name, hints[each.name].__metadata__[0], each.default


class _Switch(argparse.BooleanOptionalAction):
    """`--lease` and `--no-lease`, kept as text so that flags and variables are read in one way."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, "false" if (option_string or "").startswith("--no-") else "true")


def flag(name: str) -> str:
    """Name a setting's flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Name a setting's variable of the environment."""
    return PREFIX + name.upper()


def _names(name: str) -> str:
    return f"{flag(name)} ({variable(name)})"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(name: str) -> str:
    last = name.rpartition("_")[2]
    return {"workers": "N", "kubeconfig": "FILE", "bind": "ADDRESS", "context": "NAME", "defaults": "FILE"}.get(
        last, last.upper()
    )
