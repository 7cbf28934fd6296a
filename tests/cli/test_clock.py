import pytest

from distilljob.local.clock import Clock

HOUR = 3600.0


class Machine:
    """A steady clock and one that anybody may set."""

    def __init__(self):
        self.steady = 500.0
        self.system = 1_000_000.0

    def clock(self, patience_seconds=10.0):
        return Clock(patience_seconds, steady=lambda: self.steady, system=lambda: self.system)

    def pass_time(self, seconds):
        self.steady += seconds
        self.system += seconds


@pytest.fixture
def machine():
    return Machine()


def test_the_clock_begins_with_the_systems_time_and_goes_on_steadily(machine):
    clock = machine.clock()
    assert clock.began_seconds == clock.watching_since_seconds == 1_000_000.0
    machine.pass_time(3.0)
    assert clock.tick() == clock.now() == 1_000_003.0
    assert clock.watching_since_seconds == 1_000_000.0


@pytest.mark.parametrize("step_seconds", [7 * HOUR, -7 * HOUR])
def test_setting_the_systems_clock_moves_no_deadline_and_begins_the_watch_anew(machine, step_seconds):
    clock = machine.clock()
    machine.pass_time(5.0)
    machine.system += step_seconds
    assert clock.tick() == 1_000_005.0
    assert clock.watching_since_seconds == 1_000_005.0
    machine.pass_time(5.0)
    clock.tick()
    assert clock.watching_since_seconds == 1_000_005.0


def test_whoever_was_away_has_not_been_watching(machine):
    clock = machine.clock()
    machine.pass_time(10.0)
    clock.tick()
    assert clock.watching_since_seconds == 1_000_000.0
    machine.pass_time(10.5)
    clock.tick()
    assert clock.watching_since_seconds == 1_000_020.5


def test_a_machine_that_slept_shows_it_by_its_system_clock_alone(machine):
    clock = machine.clock()
    machine.system += 8 * HOUR  # the steady clock stands still meanwhile
    machine.pass_time(1.0)
    assert clock.tick() == 1_000_001.0
    assert clock.watching_since_seconds == 1_000_001.0


def test_a_clock_that_is_slewed_is_no_jump(machine):
    clock = machine.clock()
    for _ in range(1000):
        machine.pass_time(1.0)
        machine.system += 0.5
        clock.tick()
    assert clock.watching_since_seconds == 1_000_000.0
