"""Jobs of real trainers; the tests import the helper modules beside them by name, as the chaos driver's do."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attempts import Forks, Job


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Start trainers without the seconds that importing torch costs."""
    with closing(Forks()) as forks:
        yield forks


@pytest.fixture
def job(tmp_path: Path, forks: Forks) -> Iterator[Callable[..., Job]]:
    """Make a job; its students start as users start them with `forks=None`."""
    with ExitStack() as stack:
        yield lambda name="job", forks=forks, **changes: Job(tmp_path / name, changes, forks, stack)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Iterator[Job]:
    """Two students, all at once, nobody harmed."""
    with ExitStack() as stack:
        whole = Job(tmp_path_factory.mktemp("jobs") / "whole", {}, forks, stack)
        whole.run()
        yield whole
