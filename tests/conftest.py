"""What all tests need."""

import os
import signal
from collections.abc import Callable

import pytest
from hypothesis import settings

from distilljob_core.results import HoldoutAccuracy, StudentSummary, TestAccuracy

settings.register_profile("distilljob", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("distilljob")


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Whoever starts the tests in a shell's background has SIGINT ignored, and all processes below would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def uncovered() -> dict[str, str]:
    """Give the environment of a program that is to meet SIGTERM as users' programs do: coverage listens to it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def _summary(name: str, **changes) -> StudentSummary:
    summary = StudentSummary(
        name=name,
        model="small",
        attempt=1,
        num_parameters=10,
        epochs=1,
        steps=1,
        accuracy=TestAccuracy(last=0.9, selected=0.9, optimistic=0.9, independent=0.8),
        holdout=HoldoutAccuracy(last=0.9, selected=0.9),
        nll=0.1,
        ece=0.1,
        seconds={"Waiting": 10.0},
        cycles=[],
        ensemble=None,
        artifacts=[],
        exact=True,
        inexact_reasons=[],
        environment={},
    )
    return summary.model_copy(update=changes)


@pytest.fixture
def summary() -> Callable[..., StudentSummary]:
    """Make a student's terminal record."""
    return _summary
