"""Jobs of real trainers; the tests import the helper modules beside them by name, as the chaos driver's do."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attempts import Job


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Make a job; its students start as users start them with `forked=False`."""
    with ExitStack() as stack:
        yield lambda name="job", forked=True, **changes: Job(tmp_path / name, changes, stack, forked=forked)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Two students, all at once, nobody harmed."""
    with ExitStack() as stack:
        whole = Job(tmp_path_factory.mktemp("jobs") / "whole", {}, stack)
        whole.run()
        yield whole
