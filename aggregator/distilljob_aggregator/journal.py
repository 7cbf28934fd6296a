"""The journal: events in the order in which they became durable."""

from collections.abc import Iterator
from pathlib import Path

from distilljob_aggregator.rounds.events import Journaled, event_from_json, event_to_json
from distilljob_aggregator.spool import Spool


class Journal:
    """One file of events; whoever holds the state directory's lock may write it."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path)

    def replay(self) -> Iterator[Journaled]:
        """Give all durable events, oldest first."""
        return map(event_from_json, self._spool.replay())

    def append(self, event: Journaled) -> None:
        """Make one event durable; StorageFull leaves no trace of it."""
        self._spool.append(event_to_json(event))
        self._spool.sync()

    def close(self) -> None:
        """Give the file back."""
        self._spool.close()
