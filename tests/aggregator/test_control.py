"""The control file is read again whenever it changes."""

import asyncio

import pytest

from distilljob_aggregator import control
from distilljob_aggregator.control import follow_wishes, read_wishes
from distilljob_aggregator.rounds.due import Wishes


def test_no_file_is_no_wish(tmp_path):
    assert read_wishes(tmp_path / "control.json") == Wishes()


def test_wishes_are_read(tmp_path):
    path = tmp_path / "control.json"
    path.write_text('{"stopAfterCycle": 3, "dropped": ["a"]}')
    assert read_wishes(path) == Wishes(3, frozenset({"a"}))


@pytest.mark.parametrize("text", ["", "{", '{"stopAfterCycle": 0}', '{"unknown": 1}', '{"dropped": "a"}'])
def test_a_file_that_is_not_understood_changes_nothing(tmp_path, text):
    path = tmp_path / "control.json"
    path.write_text(text)
    assert read_wishes(path) is None


def test_changes_are_followed_and_nonsense_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "POLL_SECONDS", 0)
    folder = tmp_path / "mounted"
    path = folder / "control.json"
    texts = ['{"stopAfterCycle": 1}', "nonsense", '{"stopAfterCycle": 2}']
    heard = []

    async def main():
        following = asyncio.ensure_future(follow_wishes(path, heard.append))
        for number, text in enumerate(texts):
            version = tmp_path / f"version-{number}"
            version.mkdir()
            (version / "control.json").write_text(text)
            link = tmp_path / "link"
            link.symlink_to(version)
            link.replace(folder)  # as Kubernetes updates a ConfigMap
            for _ in range(10):
                await asyncio.sleep(0)
        following.cancel()

    asyncio.run(main())
    assert heard == [Wishes(1), Wishes(2)]
