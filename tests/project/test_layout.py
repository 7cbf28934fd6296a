"""The layout traps that break Python or pytest in ways nobody finds quickly."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "core/distilljob_core",
    "operator/distilljob_operator",
    "aggregator/distilljob_aggregator",
    "trainer/distilljob_trainer",
    "cli/distilljob",
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(
    path
    for package in (*PACKAGES, "tools")
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith("_pb2")
)
LONG_FUNCTIONS = {"codistill", "reduce", "Upload", "Publish", "Result"}
"""The training loop, the reducer of rounds and the stream handlers may take 60 lines."""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_operator_folder_does_not_shadow_the_standard_library():
    for folder in ("operator", "tests/operator"):
        assert not (ROOT / folder / "__init__.py").exists()
    code = "import operator; assert operator.itemgetter"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_component_and_test_folders_are_not_packages():
    found = [relative(path) for path in (ROOT / "tests").rglob("__init__.py")]
    found += [folder for package in PACKAGES if (ROOT / (folder := package.split("/")[0]) / "__init__.py").exists()]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_keeps_its_budget_of_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_keep_their_budget_of_40_lines(path):
    tree = ast.parse(path.read_text())
    too_long = {
        node.name: length
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _code_lines(node)) > (60 if node.name in LONG_FUNCTIONS else 40)
    }
    assert too_long == {}


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring: documentation is no reason to cut a function up."""
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize("module", ["distilljob.main", "distilljob_aggregator.main"])
def test_commands_start_without_torch(module):
    code = f"import sys, {module}; assert not {{'torch', 'torchvision', 'sklearn'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_package_inits_hold_nothing_but_a_docstring():
    for path in MODULES:
        if path.name == "__init__.py" and path.parent.name.startswith("distilljob_"):
            assert len(ast.parse(path.read_text()).body) <= 1, relative(path)


def test_pure_modules_of_coverage_are_those_of_the_import_contract():
    pure = runpy.run_path(str(ROOT / "tools/pure_modules.py"))["PURE"]
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    contract = next(contract for contract in contracts if contract["name"].startswith("pure modules"))
    assert set(contract["source_modules"]) == set(pure)


def test_version_stands_in_the_changelog():
    version = PYPROJECT["project"]["version"]
    assert re.search(rf"^## \[?{re.escape(version)}\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_lock_file_pins_with_hashes_and_names_no_download_host():
    text = (ROOT / "requirements/dev.lock").read_text()
    assert "://" not in text
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert pins
    assert all("==" in line and line.endswith("\\") for line in pins)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")) + sorted(ROOT.glob("*.md")), ids=relative)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{relative(page)} links to {target}"
