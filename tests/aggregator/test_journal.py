"""The journal: what cannot be replayed is named, and what was told is never forgotten in silence."""

import os

import pytest

from distilljob_aggregator.journal import Journal
from distilljob_aggregator.rounds.events import (
    Admitted,
    Closed,
    Completed,
    Counted,
    Dropped,
    Fetched,
    Finished,
    Opened,
    Parked,
    Started,
    TeacherForgotten,
    TeacherStored,
    Unparked,
)
from distilljob_aggregator.spool import MAGIC, Spool
from distilljob_core.errors import StateLost, StorageFull
from distilljob_core.exchange import CloseRecord, Contribution, Offer, RoundKey, SplitShape
from distilljob_core.softlabels.frames import Split

FIRST = RoundKey(1)
SHAPES = {split: SplitShape(7, 3, split.name) for split in Split}
OFFER = Offer(FIRST, 5, 5, 10, "Float16", "digest", 0.5)
RECORD = CloseRecord(FIRST, (Contribution.of("a", OFFER),), 5, False, "Float16", False, ())


@pytest.fixture
def events(summary):
    """One of each kind, in an order in which they may come."""
    return [
        Started("uid", 1.0),
        Admitted("a", 1, "pod", 7, SHAPES),
        Opened("a", 1, OFFER),
        Parked("a", 1, "pod"),
        Unparked("a"),
        Closed(RECORD, {"a": 1.5}),
        TeacherStored(FIRST),
        Fetched("a", FIRST),
        TeacherForgotten(FIRST),
        Dropped("b", True),
        Counted(1, 2, {"a": 2.5}),
        Finished("a", summary("a"), 9.0),
        Completed(),
    ]


@pytest.fixture
def path(tmp_path, events):
    journal = Journal(tmp_path / "journal")
    for event in events:
        journal.append(event)
    journal.close()
    return tmp_path / "journal"


def replayed(path):
    journal = Journal(path)
    try:
        return list(journal.replay())
    finally:
        journal.close()


def test_events_come_back_in_order(path, events):
    assert replayed(path) == events


def test_a_flipped_bit_in_the_middle_erases_nothing_and_is_named(path):
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b'"Counted"')] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StateLost, match=f"{path} is damaged at byte"):
        Journal(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("number", range(13))
def test_damage_in_the_last_event_is_no_torn_tail_whatever_the_event(tmp_path, events, number):
    """Each would be missed: a token, a decision, a terminal record that a student relies on."""
    path = tmp_path / "journal"
    journal = Journal(path)
    for event in events[: number + 1]:
        start = path.stat().st_size
        journal.append(event)
    journal.close()
    content = path.read_bytes()
    assert type(events[number]).__name__.encode() in content[start:]
    left = [content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in range(start, len(content))]
    left += [content[:length] for length in (0, len(MAGIC), start - 1, *range(start, len(content)))]
    left += [content[:start] + bytes(len(content) - start)]
    for damaged in left:
        path.write_bytes(damaged)
        with pytest.raises(StateLost, match=f"{path} is damaged at byte .*, and was durable up to byte {len(content)}"):
            Journal(path)
        assert path.read_bytes() == damaged
    path.unlink()
    with pytest.raises(StateLost, match="was durable up to"):
        Journal(path)


def test_a_tail_that_nobody_was_told_of_is_cut_off(path, events):
    content = path.read_bytes()
    with Spool(path) as spool:
        spool.append(b'{"kind":"Completed"}')
    for length in range(len(content), path.stat().st_size):
        path.write_bytes(path.read_bytes()[: len(content)] + b"x" * (length - len(content)))
        assert replayed(path) == events
        assert path.read_bytes() == content


@pytest.mark.parametrize("durable", [None, b"", b"torn", bytes(16), b"\xff" * 16])
def test_without_a_sound_promise_the_journal_is_read_as_far_as_it_is_sound(path, events, durable):
    promise = path.with_name("journal.durable")
    promise.unlink() if durable is None else promise.write_bytes(durable)
    assert replayed(path) == events
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(StateLost, match="was durable up to"):
        Journal(path)


def test_a_promise_that_the_disk_refuses_costs_no_event(path, events, monkeypatch):
    journal = Journal(path)
    real = os.pwrite

    def refuse(descriptor, content, position):
        if len(content) == 16:
            raise OSError(28, "No space left on device")
        return real(descriptor, content, position)

    monkeypatch.setattr(os, "pwrite", refuse)
    journal.append(Counted(3, 4))
    journal.close()
    monkeypatch.undo()
    assert replayed(path) == [*events, Counted(3, 4)]


def test_a_journal_that_finds_no_room_for_its_files_says_so(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, *options):
        if str(path).endswith(".durable"):
            raise OSError(28, "No space left on device")
        return real(path, *options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageFull, match=r"journal\.durable: No space left on device; enlarge the volume"):
        Journal(tmp_path / "journal")


def test_an_event_that_found_no_room_leaves_no_trace(path, events, monkeypatch):
    journal = Journal(path)

    def fail(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageFull):
            journal.append(Counted(3, 4))
    journal.append(Counted(5, 6))
    journal.close()
    assert replayed(path) == [*events, Counted(5, 6)]


def test_a_record_that_is_no_event_is_named(path):
    with Spool(path) as spool:
        spool.append(b'{"kind": "Unheard"}')
        spool.sync()
    journal = Journal(path)
    with pytest.raises(StateLost, match=f"{path}: record 14 is no event of this version"):
        list(journal.replay())
    journal.close()
