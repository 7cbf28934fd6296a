"""state.json: what the runner must not forget, and what it saw last."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from distilljob.errors import BadInput
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core.lifecycle.model import JobState, state_from_json, state_to_json
from distilljob_core.lifecycle.restarts import cut_message
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.base import Problem


@dataclass(frozen=True, slots=True)
class Memory:
    """The content of the file."""

    state: JobState
    settings: dict[str, Any]
    """As the first start settled them."""
    alive_seconds: float | None = None
    """When the runner wrote this, on its clock: it was alive until then at least."""
    table: RoundTable | None = None
    """The newest round table that it saw; for whoever looks at a run that nobody runs."""


def write_memory(folder: RunFolder, memory: Memory) -> None:
    """Write it down for good.

    Raises:
        StorageFull: no space left; what was there before is intact.
    """
    value: dict[str, Any] = {"settings": memory.settings, "lifecycle": state_to_json(memory.state)}
    if memory.alive_seconds is not None:
        value["aliveSeconds"] = memory.alive_seconds
    if memory.table is not None:
        value["table"] = memory.table.model_dump(mode="json", by_alias=True)
    write_json(folder.state, value)


def read_memory(folder: RunFolder) -> Memory | None:
    """Read what a runner remembered; None before the first start.

    Raises:
        BadInput: it is damaged.
    """
    try:
        stored = json.loads(folder.state.read_bytes())
        state, settings = state_from_json(stored["lifecycle"]), dict(stored["settings"])
        alive_seconds = None if (alive := stored.get("aliveSeconds")) is None else float(alive)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        hint = "begin again with --fresh, or put back a copy of the file"
        message = f"is not what a runner wrote: {cut_message(str(error))}"
        raise BadInput("the run cannot be read", [Problem(str(folder.state), message, hint)]) from None
    return Memory(state, settings, alive_seconds, _table(stored.get("table")))


def _table(stored: Any) -> RoundTable | None:
    """Read the table; one of another version is merely not shown."""
    try:
        return RoundTable.model_validate(stored)
    except ValidationError:
        return None
