"""What the operator is told: each setting is a flag and a variable of the environment, and the flag wins."""

import argparse
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from distilljob_core.errors import DistillJobError
from distilljob_operator.manifests.settings import Images, PodDefaults, published_images

PREFIX: Final = "DISTILLJOB_OPERATOR_"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
ProgressSourceName = Literal["Scrape", "Prometheus"]
LogFormat = Literal["Auto", "Text", "Json"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]

PLACES: Final = frozenset({"namespace", "job", "pod", "pod_ip", "service"})
"""What an address of aggregators may leave open."""


class SettingsError(DistillJobError):
    """Settings are wrong; the text names each flag and variable."""


def _namespace(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("must be the name of a namespace: lower case, digits and -, at most 63 characters")
    return text


def _text(text: str) -> str:
    if not text.strip() or text != text.strip():
        raise ValueError("must not be empty, nor begin or end with white space")
    return text


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
    if not 1 <= seconds <= 300:
        raise ValueError("must be a number of seconds from 1 to 300")
    return seconds


def _workers(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 256:
        raise ValueError("must be a whole number from 1 to 256")
    return int(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65_535:
        raise ValueError("must be a port from 0 to 65535; 0 takes any free one")
    return int(text)


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError("must be an address such as http://prometheus.monitoring:9090")
    return text.rstrip("/")


def _aggregator_address(text: str) -> str:
    if text == "proxy":
        return text
    unknown = sorted(set(re.findall(r"\{([^}]*)\}", text)) - PLACES)
    if unknown:
        places = ", ".join(sorted(PLACES))
        raise ValueError(f"knows no {{{unknown[0]}}}; what can be filled in: {places}")
    return _web_address(text)


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


def _switch(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _one_of(words: Any) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in get_args(words):
            raise ValueError(f"must be {' or '.join(get_args(words))}")
        return text

    return parse


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

    namespace: Annotated[tuple[str, ...], Setting(_namespace, "serve this namespace only; may be repeated", "all")] = ()
    kubeconfig: Annotated[
        Path | None, Setting(Path, "how to reach the cluster", "as kubectl; in a pod, its service account")
    ] = None
    context: Annotated[str | None, Setting(_text, "context of that file", "its current one")] = None
    trainer_image: Annotated[
        str | None, Setting(_text, "image of students that bring none", "that of this version")
    ] = None
    aggregator_image: Annotated[
        str | None, Setting(_text, "image of aggregators that bring none", "that of this version")
    ] = None
    image_pull_policy: Annotated[PullPolicy, Setting(_one_of(PullPolicy), "when nodes fetch images")] = "IfNotPresent"
    image_pull_secret: Annotated[
        tuple[str, ...], Setting(_text, "secret of the job's namespace for fetching images; may be repeated", "none")
    ] = ()
    pod_defaults: Annotated[
        PodDefaults | None,
        Setting(
            _pod_defaults, "file with `students` and `aggregator`: fields of a job's `pod`, for jobs without", "none"
        ),
    ] = None
    progress_source: Annotated[
        ProgressSourceName, Setting(_one_of(ProgressSourceName), "where progress is read: Scrape or Prometheus")
    ] = "Scrape"
    prometheus_url: Annotated[str | None, Setting(_web_address, "address of Prometheus' HTTP API", "none")] = None
    aggregator_url: Annotated[
        str,
        Setting(
            _aggregator_address,
            "where aggregators answer, with {namespace}, {job}, {pod}, {pod_ip} and {service} filled in; "
            "or proxy: through the API server",
        ),
    ] = "http://{pod_ip}:8471"
    poll_seconds: Annotated[float, Setting(_seconds, "how often progress is read")] = 10.0
    workers: Annotated[int, Setting(_workers, "jobs that are worked on at the same time")] = 16
    http_bind: Annotated[str, Setting(_text, "address of /metrics, /livez and /readyz")] = "0.0.0.0"  # noqa: S104
    http_port: Annotated[int, Setting(_port, "port of /metrics, /livez and /readyz; 0 = any")] = 8080
    log_format: Annotated[
        LogFormat, Setting(_one_of(LogFormat), "Text, Json, or Auto: text on a terminal, else JSON")
    ] = "Auto"
    lease: Annotated[
        bool, Setting(_switch, "hold a Lease, so that two operators never work at the same time; or --no-lease")
    ] = True
    lease_namespace: Annotated[str | None, Setting(_namespace, "namespace of the Lease", "the pod's own")] = None
    identity: Annotated[
        str | None, Setting(_text, "who holds the Lease; in a pod, its UID", "host name and process")
    ] = None

    def __post_init__(self) -> None:
        if self.progress_source == "Prometheus" and self.prometheus_url is None:
            raise SettingsError(f"{_names('progress_source')} is Prometheus: give {_names('prometheus_url')}, too")

    @property
    def images(self) -> Images:
        """Where programs come from."""
        own = published_images(version("distilljob"))
        return Images(
            trainer=self.trainer_image or own.trainer,
            aggregator=self.aggregator_image or own.aggregator,
            pull_policy=self.image_pull_policy,
            pull_secrets=self.image_pull_secret,
            pods=self.pod_defaults or PodDefaults(),
        )

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
