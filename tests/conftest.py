"""What all tests need."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Whoever starts the tests in a shell's background has SIGINT ignored, and all processes below would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
