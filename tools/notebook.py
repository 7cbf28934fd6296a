"""Runs the tutorial's notebook from top to bottom and writes it with its outputs; `make notebook` does it in place."""

import hashlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs/tutorial/python.ipynb"


def execute(notebook: nbformat.NotebookNode) -> str:
    """Run every cell in a new kernel and an empty folder; the first error ends it.

    The kernel is reached through sockets in a folder, not through ports.

    Returns:
        The notebook with its outputs, as text; names neither the folder nor versions.
    """
    with TemporaryDirectory() as folder, TemporaryDirectory() as sockets:
        NotebookClient(
            notebook,
            config=Config(ConnectionFileMixin={"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}),
            resources={"metadata": {"path": folder}},
            timeout=600,
            coalesce_streams=True,
            record_timing=False,
        ).execute()
        notebook.metadata = {
            "code_sha256": code_sha256(notebook),
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"file_extension": ".py", "name": "python"},
        }
        return nbformat.writes(notebook).replace(f"{folder}/", "")  # type: ignore[no-any-return, no-untyped-call]


def code_sha256(notebook: dict[str, Any]) -> str:
    """Name the code that the outputs belong to."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def main(arguments: list[str]) -> int:
    """Write the executed notebook to a file, or over the one it was read from."""
    text = execute(nbformat.read(NOTEBOOK, as_version=4))  # type: ignore[no-untyped-call]
    (Path(arguments[0]) if arguments else NOTEBOOK).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
