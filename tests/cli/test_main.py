import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from distilljob import console
from distilljob.console import Output
from distilljob.local.view import open_view
from distilljob.main import main
from distilljob_core.crd import crd

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def test_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"distilljob {version('distilljob')}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["validate"], ["render"], ["schema"]])
def test_help_shows_how_to_begin(capsys, command):
    assert main([*command, "--help"]) == 0
    assert "distilljob" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["run"]])
def test_help_lists_the_exit_codes(capsys, command):
    main([*command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for code in ("0 done", "1 the job failed", "2 bad input", "3 not found", "143 ended by SIGTERM"):
        assert code in shown


def test_schema_is_the_crd_as_yaml(capsys):
    assert main(["schema"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == crd()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(file, capsys):
    assert main(["validate", str(file)]) == 0
    assert capsys.readouterr().out.startswith("valid: ")


@pytest.mark.parametrize("arguments", [["nonsense"], ["validate"], ["run", "x", "--device", "tpu"]])
def test_wrong_usage_is_bad_input(arguments, capsys):
    assert main(arguments) == 2
    assert "Usage: distilljob" in capsys.readouterr().err


def test_an_error_is_one_block_with_every_problem_and_its_fix(job_file, capsys):
    assert main(["validate", str(job_file), "--set", "method.cylces=2", "--set", "method.temperature=0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "is not a valid DistillJob: 2 problems" in " ".join(lines)
    assert "  spec.method.cylces" in lines
    assert "      fix: did you mean cycles?" in [line.rstrip() for line in lines]
    assert "  spec.method.temperature" in lines


def test_json_errors_are_json(job_file, capsys):
    assert main(["validate", str(job_file), "--json", "--set", "method.cylces=2"]) == 2
    shown = yaml.safe_load(capsys.readouterr().out)
    assert not shown["valid"]
    assert shown["problems"] == [
        {"path": "spec.method.cylces", "message": "unknown field", "hint": "did you mean cycles?"}
    ]


def test_a_missing_file_is_not_found(tmp_path, capsys):
    assert main(["validate", str(tmp_path / "none.yaml")]) == 3
    assert "no such file" in " ".join(capsys.readouterr().err.split())


IMPORTING = """
import signal, sys
from distilljob.main import main

class Interrupt:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            signal.raise_signal(signal.{number})

sys.meta_path.insert(0, Interrupt())
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["typer", "distilljob.commands", "distilljob.local.run"])
def test_a_signal_while_it_still_imports_is_a_clean_end(job_file, module, number, uncovered):
    code = IMPORTING.format(module=module, number=number, arguments=["run", str(job_file)])
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=uncovered)
    assert (ended.returncode, ended.stderr) == (143, "")


def test_the_program_itself_imports_little_before_it_listens():
    code = "import sys, distilljob.main; print({'typer', 'rich', 'pydantic'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_a_reader_that_leaves_early_changes_no_exit_code():
    program = subprocess.Popen(
        [sys.executable, "-m", "distilljob.main", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    program.stdout.close()
    with program.stderr:
        assert (program.stderr.read(), program.wait()) == ("", 0)


def test_lines_after_a_reader_has_left_go_nowhere():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        gone = Output(file=file)
        console.print_text("first", gone)
        view = open_view(gone)
        view.tell("second", elapsed_seconds=1.0)
        view.close()
        assert gone.quiet
