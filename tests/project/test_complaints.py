"""The page of complaints names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/explanation/complaints.md"


def test_every_complaint_is_answered_by_tests_that_exist():
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 29))
    named = [set(re.findall(r"`(test_\w+)`", row)) for row in rows]
    assert all(named)
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, functions)}
    assert set().union(*named) - there == set()
