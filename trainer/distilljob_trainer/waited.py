"""The seconds that a student has spent, kept while it waits: that can take long, and no checkpoint is saved then."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from distilljob_core.files import write_atomically

_FILE: Final = "seconds.json"
_SECONDS: Final = TypeAdapter(dict[str, float])

log = structlog.get_logger()


def keep(directory: Path, seconds: Mapping[str, float]) -> None:
    """Write them down, by phase.

    Raises:
        StorageFull: no space left.
    """
    write_atomically(directory / _FILE, json.dumps(seconds).encode())


def taken_up(directory: Path, saved: Mapping[str, float]) -> dict[str, float]:
    """Give what a checkpoint and the file say together: seconds only grow, so the larger of both, phase by phase."""
    kept = _read(directory / _FILE)
    return {phase: max(saved.get(phase, 0.0), kept.get(phase, 0.0)) for phase in {**saved, **kept}}


def _read(path: Path) -> dict[str, float]:
    try:
        return _SECONDS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        log.warning("seconds that cannot be read are passed over", path=str(path), error=str(error))
        return {}
