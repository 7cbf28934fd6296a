import os
import signal
import subprocess
import sys

from distilljob.local.signals import Signals


def test_signals_are_noted_in_order_and_end_a_wait():
    with Signals().installed() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait(60.0)
        os.kill(os.getpid(), signal.SIGINT)
        signals.wait(60.0)
    assert signals.stops == [signal.SIGTERM, signal.SIGINT]


def test_a_childs_end_cuts_a_wait_short_and_is_no_wish_to_stop():
    with Signals().installed() as signals:
        child = subprocess.Popen([sys.executable, "-c", ""])
        signals.wait(60.0)
        assert signals.stops == []
        assert child.wait() == 0


def test_what_was_ignored_stays_ignored_and_handlers_come_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals().installed() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.stops == []
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert {number: signal.getsignal(number) for number in before} == before
