"""The tutorial's notebook: it runs, and what is committed is what it gives."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "tools/notebook.py"
NOTEBOOK = ROOT / "docs/tutorial/python.ipynb"


@pytest.fixture
def notebook() -> dict[str, Any]:
    """What is committed."""
    read: dict[str, Any] = json.loads(NOTEBOOK.read_text())
    return read


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cell):
    return [(output["output_type"], sorted(output.get("data", {}))) for output in cell["outputs"]]


def test_the_notebook_runs_from_top_to_bottom_and_gives_what_is_committed(notebook, tmp_path):
    subprocess.run([sys.executable, TOOL, tmp_path / "out.ipynb"], check=True)
    anew = json.loads((tmp_path / "out.ipynb").read_text())
    assert [cell["source"] for cell in anew["cells"]] == [cell["source"] for cell in notebook["cells"]]
    assert list(map(kinds, code(anew))) == list(map(kinds, code(notebook))), "run `make notebook`"


def test_the_outputs_belong_to_the_code(notebook):
    present = runpy.run_path(str(TOOL))["code_sha256"](notebook)
    assert notebook["metadata"]["code_sha256"] == present, "the code has changed since: run `make notebook`"
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_the_notebook_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text()
    assert len(text.encode()) < 300_000
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert re.findall(r"(?<![\w<.])/(?:tmp|home|root|var|work|usr)\b", without_pictures) == []
    assert "\\u001b" not in text
    assert "warning" not in text.lower()
