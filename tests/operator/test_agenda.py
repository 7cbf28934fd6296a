"""The rules of the work queue, against random histories."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from distilljob_operator.agenda import Agenda

KEYS = st.sampled_from("abc")
SECONDS = st.integers(0, 5).map(float)


class Histories(RuleBasedStateMachine):
    """Workers, events, time-outs and servers that want to be left alone, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda: Agenda[str] = Agenda()
        self.now_seconds = 0.0
        self.ready: list[str] = []
        self.working: set[str] = set()
        self.asked_seconds: dict[str, float] = {}
        self.rest_seconds: dict[str, float] = {}

    @rule(key=KEYS, delay_seconds=SECONDS)
    def add(self, key, delay_seconds):
        at_seconds = self.now_seconds + delay_seconds
        self.agenda.add(key, at_seconds)
        at_seconds = max(at_seconds, self.rest_seconds.get(key, 0.0))
        self.asked_seconds[key] = min(at_seconds, self.asked_seconds.get(key, at_seconds))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), delay_seconds=SECONDS)
    def rest(self, data, delay_seconds):
        key = data.draw(st.sampled_from(sorted(self.working)))
        until_seconds = self.now_seconds + delay_seconds
        self.agenda.rest(key, until_seconds)
        self.asked_seconds[key] = self.rest_seconds[key] = until_seconds

    @rule(delay_seconds=SECONDS)
    def time_passes(self, delay_seconds):
        self.now_seconds += delay_seconds

    @rule()
    def release(self):
        released = self.agenda.release(self.now_seconds)
        assert not set(released) & (self.working | set(self.ready)), "a key is handed out once"
        assert len(set(released)) == len(released)
        for key in released:
            assert self.asked_seconds.pop(key) <= self.now_seconds, "nobody is early"
            assert self.rest_seconds.pop(key, 0.0) <= self.now_seconds, "a rest is kept"
        self.ready += released
        for key in self.ready:  # what was asked for before the work begins is done by it
            if self.asked_seconds.get(key, self.now_seconds + 1) <= self.now_seconds:
                del self.asked_seconds[key]
        late = {key for key, at_seconds in self.asked_seconds.items() if at_seconds <= self.now_seconds}
        assert late <= self.working, "nobody is late"

    @precondition(lambda self: self.ready)
    @rule()
    def begin(self):
        key = self.ready.pop(0)
        self.agenda.begin(key)
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def end(self, data):
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.agenda.end(key, self.now_seconds)
        self.working.remove(key)

    @invariant()
    def next_time_is_never_after_what_was_asked(self):
        asked = [at_seconds for key, at_seconds in self.asked_seconds.items() if key not in self.working]
        if asked:
            assert self.agenda.next_seconds is not None
            assert self.agenda.next_seconds <= max(self.now_seconds, min(asked))

    def teardown(self):
        """Whatever was asked for is worked on in the end."""
        self.now_seconds += 100
        for _ in range(3):
            for key in sorted(self.working):
                self.agenda.end(key, self.now_seconds)
                self.working.remove(key)
            self.release()
            while self.ready:
                self.begin()
        assert self.asked_seconds == {}
        assert self.agenda.next_seconds is None


TestHistories = Histories.TestCase


def test_earliest_of_several_times_counts_and_is_used_once():
    agenda: Agenda[str] = Agenda()
    for at_seconds in (7.0, 3.0, 5.0):
        agenda.add("a", at_seconds)
    assert agenda.next_seconds == 3.0
    assert agenda.release(3.0) == ["a"]
    assert agenda.next_seconds is None


def test_keys_come_in_the_order_of_their_times():
    agenda: Agenda[str] = Agenda()
    for at_seconds, key in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (1.0, "z")):
        agenda.add(key, at_seconds)
    assert agenda.release(9.0) == ["a", "z", "b", "c"]


def test_event_does_not_shorten_a_rest():
    agenda: Agenda[str] = Agenda()
    agenda.add("a", 0.0)
    agenda.release(0.0)
    agenda.begin("a")
    agenda.rest("a", 10.0)
    agenda.end("a", 1.0)
    agenda.add("a", 2.0)
    assert agenda.release(9.0) == []
    assert agenda.release(10.0) == ["a"]
