"""Prints the pure modules as a pattern for coverage: they do no I/O, so nothing excuses an untested branch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

PURE: Final = (
    "distilljob_core.crd",
    "distilljob_core.lifecycle",
    "distilljob_core.outlook",
    "distilljob_core.plan",
    "distilljob_core.progress",
    "distilljob_core.reference",
    "distilljob_core.restart_wishes",
    "distilljob_core.softlabels",
    "distilljob_core.spec",
    "distilljob_operator.agenda",
    "distilljob_operator.aggregator_seen",
    "distilljob_operator.base",
    "distilljob_operator.children",
    "distilljob_operator.clear",
    "distilljob_operator.manifests",
    "distilljob_operator.memory",
    "distilljob_operator.observe",
    "distilljob_operator.pace",
    "distilljob_operator.progress.look",
    "distilljob_operator.progress.news",
    "distilljob_operator.shown",
    "distilljob_operator.shown_progress",
    "distilljob_operator.shown_rows",
    "distilljob_operator.sightings",
    "distilljob_operator.store",
    "distilljob_operator.valid",
    "distilljob_aggregator.ensemble",
    "distilljob_aggregator.rounds",
    "distilljob_trainer.losses",
    "distilljob_trainer.schedule",
)
"""The same list as the import contract "pure modules touch no clock, network, disk or cluster"; a test compares."""


def patterns() -> list[str]:
    """Give one file pattern a module or package."""
    found = []
    for name in PURE:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{name} is gone: update tools/pure_modules.py")
        path = Path(spec.origin)
        found.append(f"*/{path.parent.name}/*" if path.name == "__init__.py" else f"*/{path.parent.name}/{path.name}")
    return found


if __name__ == "__main__":
    print(",".join(patterns()))
