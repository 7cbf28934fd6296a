import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import distilljob

PUBLIC = ["BadInput", "JobFailed", "MissingPart", "NotFound", "Result", "Submission", "load", "read", "run", "submit"]


def test_these_are_the_public_names():
    assert sorted(distilljob.__all__) == PUBLIC
    assert dir(distilljob) == PUBLIC
    found: dict[str, object] = {}
    exec("from distilljob import *", found)
    assert set(PUBLIC) <= set(found)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented_and_lives_where_type_checkers_are_told(name):
    assert inspect.getdoc(getattr(distilljob, name))
    tree = ast.parse(Path(distilljob.__file__).read_text())
    told = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            for alias in node.names}  # fmt: skip
    assert getattr(distilljob, name).__module__ == told[name]


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="'distilljob' has no attribute 'download'"):
        _ = distilljob.download
    with pytest.raises(ImportError):
        from distilljob import nothing  # noqa: F401


def test_the_types_are_shipped_with_the_code():
    assert (Path(distilljob.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(
    ("use", "absent"),
    [
        ("pass", "torch pandas rich typer pydantic numpy grpc yaml"),
        ("distilljob.run, distilljob.Result", "torch pandas typer sklearn matplotlib kubernetes distilljob_operator"),
    ],
)
def test_importing_brings_nothing_that_is_not_used_yet(use, absent):
    code = f"import sys, distilljob; {use}; print(*set({absent.split()!r}) & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
