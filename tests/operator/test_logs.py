"""Logs: ours and those of libraries, one line each, with the job on it."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from distilljob_operator.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().err.splitlines()[-1])
    return line


def test_a_line_of_ours_is_json_with_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Json")
    with structlog.contextvars.bound_contextvars(job="team/digits"):
        structlog.get_logger("a").info("restarted", student="cnn", attempt=2)
    line = last_line(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "restarted", "job": "team/digits", "student": "cnn", "attempt": 2, "level": "info"}


def test_lines_of_libraries_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Json")
    reference = {"namespace": "team", "name": "digits"}
    logging.getLogger("kopf.objects").warning("something %s", "odd", extra={"k8s_ref": reference})
    line = last_line(capsys)
    assert (line["event"], line["level"], line["job"]) == ("something odd", "warning", "team/digits")
    assert line["logger"] == "kopf.objects"


def test_kopfs_chatter_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Json")
    logging.getLogger("kopf.activities").info("Initial authentication has been initiated.")
    assert capsys.readouterr().err == ""


def test_a_traceback_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Json")
    try:
        raise ZeroDivisionError("by hand")
    except ZeroDivisionError:
        structlog.get_logger("a").exception("failed")
    assert "ZeroDivisionError: by hand" in last_line(capsys)["exception"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Text")
    structlog.get_logger("a").info("restarted", student="cnn")
    assert "restarted" in (text := capsys.readouterr().err)
    assert "student=cnn" in text


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("Auto")
    structlog.get_logger("a").info("restarted")
    assert last_line(capsys)["event"] == "restarted"
