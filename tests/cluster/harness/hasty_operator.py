"""The operator with other patience: its own program, with some of its constants set to what a test can wait for.

Its first argument is `{"call_seconds": 1.5}`; which constants there are, and what is left, stands below.
"""

import json
import sys
from functools import partial

from distilljob_operator import app, informer, lease, no_pod, observe, reconcile, status_writer
from distilljob_operator.api import Api, TimeLimits
from distilljob_operator.main import main as run

LIMITS = ("call_seconds", "silence_seconds")
CONSTANTS = {
    "no_pod_seconds": (observe, "NO_POD_SECONDS"),
    "ask_again_seconds": (no_pod, "AGAIN_SECONDS"),
    "unreachable_seconds": (observe, "UNREACHABLE_SECONDS"),
    "gap_seconds": (informer, "GAP_SECONDS"),
    "status_seconds": (status_writer, "STATUS_SECONDS"),
    "taken_seconds": (reconcile, "TAKEN_SECONDS"),
    "lease_duration_seconds": (lease, "DURATION_SECONDS"),
    "lease_renew_seconds": (lease, "RENEW_SECONDS"),
    "lease_lost_seconds": (lease, "LOST_SECONDS"),
}


def be_hasty(patience: dict[str, float]) -> None:
    """Set constants, by their names here."""
    limits = {name: patience.pop(name) for name in LIMITS if name in patience}
    app.Api = partial(Api, limits=TimeLimits(**limits))
    for name, seconds in patience.items():
        module, constant = CONSTANTS[name]
        setattr(module, constant, seconds)


def main() -> int:
    """Run the operator so."""
    be_hasty(json.loads(sys.argv.pop(1)))
    return run()
