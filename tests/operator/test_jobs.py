"""The store of DistillJobs: whatever comes in whatever order, the newest stands, and the deleted stay deleted."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distilljob_operator.jobs import Jobs

KEY = ("team", "digits")


def body(uid: str, version: int, **rest: Any) -> dict[str, Any]:
    metadata = {"namespace": KEY[0], "name": KEY[1], "uid": uid, "resourceVersion": str(version), "managedFields": []}
    return {"metadata": metadata, **rest}


def test_the_newest_version_stands_whoever_brings_it() -> None:
    jobs = Jobs()
    assert jobs.update(body("u", 9, status={"cycle": 2}))
    assert not jobs.update(body("u", 8, status={"cycle": 1}))
    assert not jobs.update(body("u", 9, status={"cycle": 3}))
    assert jobs.get(KEY).body["status"] == {"cycle": 2}


def test_versions_are_compared_as_numbers() -> None:
    jobs = Jobs()
    jobs.update(body("u", 9))
    assert jobs.update(body("u", 10))


def test_managed_fields_are_not_kept() -> None:
    jobs = Jobs()
    jobs.update(body("u", 1))
    assert "managedFields" not in jobs.get(KEY).body["metadata"]


def test_a_late_answer_brings_no_deleted_job_back() -> None:
    jobs = Jobs()
    jobs.update(body("u", 1))
    assert jobs.remove(KEY, "u")
    assert not jobs.update(body("u", 2))
    assert jobs.get(KEY) is None


def test_the_end_of_a_job_does_not_touch_the_one_that_has_its_name_now() -> None:
    jobs = Jobs()
    jobs.update(body("new", 5))
    assert not jobs.remove(KEY, "old")
    assert jobs.get(KEY).uid == "new"
    assert jobs.was_removed("old")


@given(st.lists(st.tuples(st.sampled_from(["update", "remove"]), st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_no_order_of_news_brings_back_the_dead_or_the_old(steps: list[tuple[str, int, int]]) -> None:
    """Incarnation n has the versions 10 n to 10 n + 9, as an API server would give them."""
    jobs, removed = Jobs(), set[str]()
    for step, incarnation, offset in steps:
        uid, before = str(incarnation), jobs.get(KEY)
        if step == "remove":
            assert jobs.remove(KEY, uid) == (before is not None and before.uid == uid)
            removed.add(uid)
        else:
            jobs.update(body(uid, 10 * incarnation + offset))
        after = jobs.get(KEY)
        assert after is None or after.uid not in removed
        assert after is None or before is None or after.resource_version >= before.resource_version
        assert uid in removed or after.resource_version >= 10 * incarnation + offset
