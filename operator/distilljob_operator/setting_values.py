"""How the text of a setting is read: each gives the value, or raises a ValueError that says what it must be."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, get_args
from urllib.parse import urlsplit

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PLACES: Final = frozenset({"namespace", "job", "pod", "pod_ip", "service"})
"""What an address of aggregators may leave open."""


def namespace(text: str) -> str:
    """Read the name of a namespace."""
    if not _LABEL.fullmatch(text):
        raise ValueError("must be the name of a namespace: lower case, digits and -, at most 63 characters")
    return text


def text(text: str) -> str:
    """Read what is taken as it is."""
    if not text.strip() or text != text.strip():
        raise ValueError("must not be empty, nor begin or end with white space")
    return text


def seconds(text: str) -> float:
    """Read a number of seconds."""
    number = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
    if not 1 <= number <= 300:
        raise ValueError("must be a number of seconds from 1 to 300")
    return number


def workers(text: str) -> int:
    """Read a number of workers."""
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 256:
        raise ValueError("must be a whole number from 1 to 256")
    return int(text)


def port(text: str) -> int:
    """Read a port."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65_535:
        raise ValueError("must be a port from 0 to 65535; 0 takes any free one")
    return int(text)


def web_address(text: str) -> str:
    """Read an address of HTTP."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError("must be an address such as http://prometheus.monitoring:9090")
    return text.rstrip("/")


def aggregator_address(text: str) -> str:
    """Read an address that leaves places open, or `proxy`."""
    if text == "proxy":
        return text
    unknown = sorted(set(re.findall(r"\{([^}]*)\}", text)) - PLACES)
    if unknown:
        places = ", ".join(sorted(PLACES))
        raise ValueError(f"knows no {{{unknown[0]}}}; what can be filled in: {places}")
    return web_address(text)


def switch(text: str) -> bool:
    """Read a switch."""
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def one_of(words: Any) -> Callable[[str], str]:
    """Read one word of a Literal."""

    def parse(text: str) -> str:
        if text not in get_args(words):
            raise ValueError(f"must be {' or '.join(get_args(words))}")
        return text

    return parse


def selector(text: str) -> dict[str, Any]:
    """Read a label selector of Kubernetes."""
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from None
    if not isinstance(tree, dict) or not tree.keys() <= {"matchLabels", "matchExpressions"}:
        raise ValueError("must be a label selector, an object of matchLabels and matchExpressions")
    return tree
