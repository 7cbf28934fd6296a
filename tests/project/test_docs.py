"""What the pages name exists: commands and their options, values of the chart, reasons, alerts, rights, headings."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from distilljob.commands import app
from distilljob_core.conditions import ConditionType, Reason
from distilljob_operator.settings import described_settings, flag

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHART = ROOT / "deploy/helm/distilljob"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), CHART / "README.md"])
TROUBLESHOOT = DOCS / "how-to/troubleshoot.md"
COMMANDS: Any = typer.main.get_command(app)
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
NAMED_VALUE = re.compile(r"`(?:--set '?)?((?:{})\.[a-zA-Z.]+)(?:=[^`]*)?`".format("|".join(VALUES)))
HELM_COMMANDS = {"install", "upgrade", "uninstall", "rollback", "test", "package", "template"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Give every command line of the pages and the examples that begins with a program, and where it stands."""
    for page in PAGES:
        if page.parent.name == "decisions":
            continue  # they may speak of what is no more, or not yet
        text = page.read_text()
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        yield from _of_program(program, page, [*lines, *(span.replace("\n", " ") for span in spans)])
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        lines = re.findall(r"^#\s+(.*)$", example.read_text(), re.MULTILINE)
        yield from _of_program(program, example, [part for line in lines for part in re.split(r"   +|; ", line)])


def _of_program(program: str, page: Path, lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    for line in lines:
        for part in re.split(r"&&|\|(?!\|)", line):
            words = re.sub(r"^(\.venv/bin/|kubectl )", "", part.strip())
            if words == program or words.startswith(f"{program} "):
                yield relative(page), shlex.split(words, comments=True)[1:]


def test_every_command_and_option_of_distilljob_that_the_pages_name_exists() -> None:
    found = list(commands("distilljob"))
    assert len(found) > 100
    wrong = [(page, words) for page, words in found if words and _wrong_words(words)]
    assert wrong == []


def _wrong_words(words: list[str]) -> bool:
    name, *rest = words
    if name.startswith("-"):
        return name not in {"--version", "--install-completion", "--show-completion", "-h", "--help"}
    if not name.islower():
        return False  # COMMAND
    if name not in COMMANDS.commands:
        return True
    known = {flag for each in COMMANDS.commands[name].params for flag in (*each.opts, *each.secondary_opts)}
    known |= {"-h", "--help"}
    return not {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)} <= known


def test_every_option_of_the_operator_that_the_pages_name_exists() -> None:
    known = {flag(name) for name, _, _ in described_settings()} | {"--no-lease"}
    found = {word for _, words in commands("distilljob-operator") for word in words if word.startswith("--")}
    assert {"--lease-namespace", "--aggregator-url"} <= found
    assert found - known == set()


def test_every_value_of_the_chart_that_the_pages_name_exists() -> None:
    found = list(commands("helm"))
    assert {words[0] for _, words in found if words} <= HELM_COMMANDS
    named = [(page, path.partition("=")[0]) for page, words in found for path in _settings(words)]
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", text, re.DOTALL)
        named += [(relative(page), path) for block in blocks for path in _paths(yaml.safe_load(block))]
        named += [(relative(page), path) for path in NAMED_VALUE.findall(text)]
    assert len(named) > 40
    assert [(page, path) for page, path in named if _value(path) is None] == []


def _settings(words: list[str]) -> list[str]:
    after = [word for before, word in pairwise(words) if before == "--set"]
    return [*after, *(word.removeprefix("--set=") for word in words if word.startswith("--set="))]


def _paths(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values and not (path and _value(path) == {}):
        for key, value in values.items():
            yield from _paths(value, f"{path}.{key}" if path else key)
    else:
        yield path


def _value(path: str) -> Any:
    """Give a value's default; below an empty mapping anything may stand."""
    found: Any = VALUES
    for key in path.split("."):
        if found == {}:
            return {}
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def test_every_target_of_make_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for _, words in commands("make") for word in words if re.fullmatch(r"[a-z][a-z0-9-]*", word)}
    assert {"setup", "demo", "images"} <= named
    assert named - targets == set()


def test_the_page_for_trouble_has_every_reason_once_under_a_condition() -> None:
    text = TROUBLESHOOT.read_text()
    rows = re.findall(r"^\| `([A-Z]\w+)` \| ", text, re.MULTILINE)
    reasons = [row for row in rows if row in set(Reason)]
    assert sorted(reasons) == sorted(Reason)
    assert {each for each in ConditionType if not re.search(rf"^## {each}$", text, re.MULTILINE)} == set()


def test_every_alert_is_explained() -> None:
    groups = yaml.safe_load((CHART / "rules.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert re.findall(r"^\| `(DistillJob\w+)` \|", (DOCS / "how-to/monitor.md").read_text(), re.MULTILINE) == alerts


def test_the_security_page_lists_the_operators_rights_as_they_are() -> None:
    rules = yaml.safe_load((CHART / "files/operator-rules.yaml").read_text())
    text = (DOCS / "explanation/security.md").read_text()
    section = text.split("## What the operator may do")[1].split("\n## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (`.*)$", section, re.MULTILINE)]
    told = [(re.findall(r"`([^`]+)`", resources), verbs.split(", ")) for resources, verbs, _ in rows]
    assert told == [(rule["resources"], rule["verbs"]) for rule in rules]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_to_headings_lead_to_headings(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            there = (page.parent / target).resolve() if target else page
            assert heading in _headings(there), f"{relative(page)} links to {target}#{heading}"


def _headings(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([^)#\s]+)\)", (DOCS / "README.md").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {page for page in pages - listed if not page.startswith(("decisions/", "README"))} == set()
