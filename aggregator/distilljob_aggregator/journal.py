"""The journal: events in the order in which they became durable."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from distilljob_aggregator.rounds.events import Journaled, event_from_json, event_to_json
from distilljob_aggregator.spool import Spool
from distilljob_core.errors import StateLost


class Journal:
    """One file of events; whoever holds the state directory's lock may write it.

    Raises:
        StateLost: the file is damaged; it is left alone.
    """

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path, syncs_each_record=True)

    def replay(self) -> Iterator[Journaled]:
        """Give all durable events, oldest first.

        Raises:
            StateLost: a record is no event of this version.
        """
        for number, record in enumerate(self._spool.replay(), 1):
            try:
                event = event_from_json(record)
            except ValidationError as error:
                raise StateLost(f"{self._spool.path}: record {number} is no event of this version: {error}") from error
            yield event

    def append(self, event: Journaled) -> None:
        """Make one event durable; StorageFull leaves no trace of it."""
        self._spool.append(event_to_json(event))
        self._spool.sync()

    def close(self) -> None:
        """Give the file back."""
        self._spool.close()
