"""Stopping a run from outside: a notebook's stop button in a real kernel, and SIGTERM for a script."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

import distilljob


@pytest.fixture
def kernel() -> Iterator[KernelManager]:
    """Start one; it is reached through sockets in a folder whose path is short enough for them."""
    with TemporaryDirectory() as sockets:
        manager = KernelManager(transport="ipc", connection_file=f"{sockets}/kernel.json")
        manager.start_kernel()
        yield manager
        manager.shutdown_kernel(now=True)


@pytest.fixture
def client(kernel) -> Iterator[BlockingKernelClient]:
    """Talk to it."""
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()


def messages(client, asked):
    """Give what a cell says, up to its end."""
    while True:
        message = client.get_iopub_msg(timeout=240)
        if message["parent_header"].get("msg_id") != asked:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return
        yield message["msg_type"], message["content"]


def test_a_notebooks_stop_button_saves_and_the_same_cell_goes_on(kernel, client, alone, tmp_path):
    job = json.dumps(alone)
    cell = f"import distilljob, json; r = distilljob.run(json.loads({job!r}), {str(tmp_path / 'run')!r})"
    said, error = "", None
    for kind, content in messages(client, client.execute(cell)):
        if kind == "stream":
            said += content["text"]
            if "cnn: StudentStarted" in content["text"]:
                kernel.interrupt_kernel()
        elif kind == "error":
            error = content["ename"]
    assert error == "KeyboardInterrupt", said
    assert said.endswith("stopped, everything is saved; the same call goes on from here\n")
    again = list(messages(client, client.execute(cell)))
    assert [content for kind, content in again if kind == "error"] == []
    assert next(content["text"] for kind, content in again if kind == "stream").startswith("go on with tiny")
    assert distilljob.read(tmp_path / "run").cycles == 2
    assert json.loads((tmp_path / "run" / "state.json").read_text())["lifecycle"]["students"]["cnn"]["attempt"] == 2


def test_a_script_that_is_terminated_ends_by_the_signal_and_everything_is_saved(alone, tmp_path):
    script = "import distilljob, sys; distilljob.run(sys.argv[1], sys.argv[2])"
    (tmp_path / "job.yaml").write_text(json.dumps(alone))
    command = [sys.executable, "-uc", script, str(tmp_path / "job.yaml"), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = ""
        for line in process.stdout:
            said += line
            if "cnn: StudentStarted" in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    assert said.endswith("stopped, everything is saved; the same call goes on from here\n")
