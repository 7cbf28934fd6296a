"""The journal: what cannot be replayed is said, with the file's name."""

import pytest

from distilljob_aggregator.journal import Journal
from distilljob_aggregator.rounds.events import Completed, Counted, Started
from distilljob_aggregator.spool import Spool
from distilljob_core.errors import StateLost

EVENTS = [Started("uid", 1.0), Counted(1, 2), Counted(3, 4), Completed()]


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal")
    for event in EVENTS:
        journal.append(event)
    journal.close()
    return tmp_path / "journal"


def test_events_come_back_in_order(path):
    journal = Journal(path)
    assert list(journal.replay()) == EVENTS
    journal.close()


def test_a_flipped_bit_in_the_middle_erases_nothing_and_is_named(path):
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b'"Counted"')] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StateLost, match=f"{path} is damaged at byte"):
        Journal(path)
    assert path.read_bytes() == damaged


def test_a_record_that_is_no_event_is_named(path):
    with Spool(path) as spool:
        spool.append(b'{"kind": "Unheard"}')
        spool.sync()
    journal = Journal(path)
    with pytest.raises(StateLost, match=f"{path}: record 5 is no event of this version"):
        list(journal.replay())
    journal.close()
