"""What the program is called by whoever started it: kubectl runs `kubectl-distill` for `kubectl distill`."""

import sys
from pathlib import Path
from typing import Final

PLUGIN: Final = "kubectl-distill"


def program_name() -> str:
    """Give the name to show in help and advice."""
    return "kubectl distill" if Path(sys.argv[0]).stem == PLUGIN else "distilljob"
