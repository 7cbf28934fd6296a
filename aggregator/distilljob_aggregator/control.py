"""The control file: wishes that may change while the job runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import Field, ValidationError

from distilljob_aggregator.rounds.due import Wishes
from distilljob_core.results import Record

POLL_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class Control(Record):
    """What the file holds."""

    stop_after_cycle: Annotated[int, Field(ge=1)] | None = None
    dropped: frozenset[str] = frozenset()


def read_wishes(path: Path) -> Wishes | None:
    """Read the control file; no file means no wishes, None that it cannot be understood (yet)."""
    try:
        control = Control.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Wishes()
    except (OSError, ValidationError) as error:
        _log.warning("control file not understood", path=str(path), error=str(error))
        return None
    return Wishes(control.stop_after_cycle, control.dropped)


async def follow_wishes(path: Path, set_wishes: Callable[[Wishes], None]) -> None:
    """Read the file again whenever it has changed. Kubernetes swaps a link above it, so the target is looked at."""
    seen: object = ()
    while True:
        current = _stamp(path)
        if current != seen:
            seen = current
            wishes = read_wishes(path)
            if wishes is not None:
                set_wishes(wishes)
        await asyncio.sleep(POLL_SECONDS)


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
