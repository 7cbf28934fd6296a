"""wishes.json: what the user has asked of a run since it was started. `finish` writes it, the runner only reads it."""

from pydantic import ValidationError

from distilljob.errors import BadInput
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core.results import Record
from distilljob_core.spec.base import Problem


class Wish(Record):
    """To end well after a cycle."""

    stop_after_cycle: int
    instead_of: int | None
    """What the job file said when this was asked for. A file that says something else is the newer wish."""


def write_wish(folder: RunFolder, wish: Wish) -> None:
    """Write it down for good.

    Raises:
        StorageFull: no space left; what was there before is intact.
    """
    write_json(folder.wishes, wish.model_dump(mode="json", by_alias=True))


def read_wish(folder: RunFolder) -> Wish | None:
    """Read it; None where nobody asked for anything.

    Raises:
        BadInput: the file is damaged.
    """
    try:
        return Wish.model_validate_json(folder.wishes.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = f"is not what `distilljob finish` wrote: {error.errors(include_url=False)[0]['msg']}"
        raise BadInput(
            "the run's wishes cannot be read", [Problem(str(folder.wishes), message, "remove the file")]
        ) from None
