"""A student's streams against peers that stand still."""

import threading

import pytest

from distilljob_core.errors import Retryable
from distilljob_core.rpc.streams import UploadStream


class DeafCall:
    """A peer that takes nothing and answers nothing until the call is cancelled."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def add_callback(self, callback) -> bool:
        return True

    def __iter__(self):
        return self

    def __next__(self):
        self._cancelled.wait(30)
        raise StopIteration

    def cancel(self) -> None:
        self._cancelled.set()


@pytest.mark.parametrize("last_word", ["send", "finish"])
def test_a_peer_that_takes_nothing_is_given_up_and_may_be_tried_again(last_word):
    stream = UploadStream(lambda _: DeafCall(), lambda: None, 0.05)
    for _ in range(4):
        stream.send(b"frame")
    with pytest.raises(Retryable, match="took nothing"):
        stream.send(b"frame") if last_word == "send" else stream.finish()
    stream.close()
