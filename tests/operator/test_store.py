"""What the informers know, against random histories of a server and of a watch that lags behind it."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from distilljob_operator.store import Store

NAMES = st.sampled_from("pqr")
JOBS = st.sampled_from(("one", "two"))


def body(name: str, version: int, job: str = "one", phase: str = "Running") -> dict:
    metadata = {"namespace": "n", "name": name, "labels": {"distilljob.dev/job": job}, "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"phase": phase}}


def project(found: dict) -> tuple[str, str] | None:
    phase = found["status"]["phase"]
    return None if phase == "Foreign" else (found["metadata"]["name"], phase)


def make() -> Store:
    return Store(project)


class Histories(RuleBasedStateMachine):
    """A server that changes, a watch that brings it later, writes of our own, lists that are read page by page."""

    @initialize()
    def begin(self):
        self.store = make()
        self.version = 100
        self.server: dict[str, dict] = {}
        self.history: list[tuple[str, dict]] = []
        self.brought = 0
        self.pages: list[dict] | None = None
        self.answers: list[dict] = []

    @rule(name=NAMES, job=JOBS, phase=st.sampled_from(("Running", "Failed", "Foreign")), is_ours=st.booleans())
    def server_writes(self, name, job, phase, is_ours):
        self.version += 1
        found = body(name, self.version, job, phase)
        self.history.append(("MODIFIED" if name in self.server else "ADDED", found))
        self.server[name] = found
        if is_ours:
            self.answers.append(found)

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answer_arrives(self, data):
        self.store.absorb(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    @rule(name=NAMES)
    def server_deletes(self, name):
        if name in self.server:
            self.version += 1
            found = self.server.pop(name)
            metadata = {**found["metadata"], "resourceVersion": str(self.version)}
            self.history.append(("DELETED", {**found, "metadata": metadata}))

    @precondition(lambda self: self.pages is None)
    @rule()
    def watch_brings_one(self):
        if self.brought < len(self.history):
            kind, found = self.history[self.brought]
            self.brought += 1
            (self.store.remove if kind == "DELETED" else self.store.put)(found)

    @precondition(lambda self: self.pages is None)
    @rule()
    def list_begins(self):
        self.store.begin_list()
        self.has_begun = False
        self.pages = list(self.server.values())
        self.listed, self.listed_version = len(self.history), self.version

    @precondition(lambda self: self.pages is not None)
    @rule()
    def list_goes_on(self):
        if self.pages or not self.has_begun:
            self.has_begun = True
            self.store.page(self.pages[:1], self.listed_version)
            del self.pages[:1]
        else:
            self.store.end_list()
            self.pages, self.brought = None, self.listed

    def teardown(self):
        if not hasattr(self, "store"):
            return
        while self.pages is not None:
            self.list_goes_on()
        while self.brought < len(self.history):
            self.watch_brings_one()
        for job in ("one", "two"):
            there = [
                found for found in self.server.values() if found["metadata"]["labels"]["distilljob.dev/job"] == job
            ]
            assert set(self.store.of(("n", job))) == {project(found) for found in there} - {None}
        assert len(self.store) == sum(project(found) is not None for found in self.server.values())


TestHistories = Histories.TestCase


def test_a_change_that_nobody_needs_wakes_nobody():
    store = make()
    assert store.put(body("p", 1)) == {("n", "one")}
    assert store.put(body("p", 2)) == set()
    assert store.put(body("p", 3, phase="Failed")) == {("n", "one")}


def test_an_object_that_moves_to_another_job_wakes_both():
    store = make()
    store.put(body("p", 1))
    assert store.put(body("p", 2, "two")) == {("n", "one"), ("n", "two")}
    assert store.of(("n", "one")) == ()


def test_an_older_event_does_not_undo_our_own_write():
    store = make()
    store.absorb(body("p", 9, phase="Failed"))
    assert store.put(body("p", 5)) == set()
    assert store.remove(body("p", 7)) == set()
    assert store.of(("n", "one")) == (("p", "Failed"),)


def test_a_list_of_a_restored_server_is_believed_although_its_versions_are_older():
    store = make()
    store.put(body("p", 5_000))
    store.put(body("q", 5_001))
    store.begin_list()
    store.page([body("p", 40, phase="Failed")], 41)
    assert store.end_list() == {("n", "one")}
    assert store.of(("n", "one")) == (("p", "Failed"),)


def test_what_a_list_misses_is_gone_unless_we_made_it_meanwhile():
    store = make()
    store.put(body("p", 5))
    store.begin_list()
    store.absorb(body("q", 12))
    store.page([], 11)
    assert store.end_list() == {("n", "one")}
    assert store.of(("n", "one")) == (("q", "Running"),)


def test_an_answer_that_comes_after_the_watch_brings_nothing_back():
    store = make()
    store.put(body("p", 10))
    store.remove(body("p", 12))
    assert store.absorb(body("p", 10)) == set()
    assert store.of(("n", "one")) == ()
