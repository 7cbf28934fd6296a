"""Completion for `kubectl distill`: kubectl runs `kubectl_complete-distill` with the words typed so far, the last one
being completed, and reads a candidate a line, and at the end what the shell may add of its own."""

import io
import os
import shlex
import sys
from contextlib import redirect_stdout, suppress
from typing import Final

FILES_TOO: Final = ":0"
NOTHING_ELSE: Final = ":4"


def main() -> int:
    """Print what may stand there."""
    from distilljob.commands import app

    words = sys.argv[1:]
    os.environ["_DISTILLJOB_COMPLETE"] = "complete_bash"
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = shlex.join(["distilljob", *words]), str(len(words))
    told = io.StringIO()
    with redirect_stdout(told), suppress(SystemExit):
        app(prog_name="distilljob")
    candidates = told.getvalue().split()
    print("\n".join([*candidates, NOTHING_ELSE if candidates else FILES_TOO]))
    return 0
