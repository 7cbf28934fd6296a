"""What no restart can cure."""

import os

import pytest

from distilljob_core.exit_codes import ExitCode

TORN = """
def make(num_classes):
    raise ValueError("no layer conv9; there are:\\n    conv1\\n")
"""


@pytest.mark.parametrize(
    ("changes", "options", "code", "text"),
    [
        pytest.param(
            {"students": [{"name": "x", "gpus": 0, "model": {"name": "no_such_net"}}]},
            (),
            ExitCode.SPEC,
            "no built-in model 'no_such_net'",
            id="unknown-model",
        ),
        pytest.param(
            {"dataset": {"name": "cifar10", "options": {}, "download": "Never"}},
            (),
            ExitCode.DATA,
            "data",
            id="no-data",
        ),
        pytest.param(
            {"students": [{"name": "x", "gpus": 1, "model": {"name": "mlp_small"}}]},
            ("--device=cuda",),
            ExitCode.DEVICE,
            "no CUDA device",
            id="no-device",
        ),
        pytest.param(
            {
                "training": {"optimizer": {"learningRate": 999.0}},
                "students": [{"name": "x", "gpus": 0, "model": {"name": "mlp_small"}}],
            },
            (),
            ExitCode.DIVERGED,
            "student x: loss is ",
            id="diverged",
        ),
        pytest.param(
            {"students": [{"name": "x", "gpus": 0, "model": {"name": "torn:make"}}], "forked": False},
            (),
            ExitCode.SPEC,
            "model 'torn:make' with options {'num_classes': 10} raised ValueError: no layer conv9; there are: conv1",
            id="error-of-several-lines",
        ),
    ],
)
def test_what_no_restart_can_cure_has_its_own_exit_code_and_one_readable_line(
    job, tmp_path, monkeypatch, changes, options, code, text
):
    (tmp_path / "torn.py").write_text(TORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    broken = job("broken", **changes)
    process = broken.start(broken.names[0], *options)
    assert process.exit_code() == code
    (line,) = process.errors.read_text().splitlines()
    assert text in line
    assert process.lines[-1]["event"] == "failed"
