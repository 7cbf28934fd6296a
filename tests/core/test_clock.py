import pytest

from distilljob_core.clock import SteadyClock


@pytest.mark.parametrize("step_seconds", [-7200.0, 7200.0])
def test_the_clock_begins_with_the_systems_time_and_nobody_sets_it(step_seconds):
    machine = {"steady": 500.0, "system": 1_000_000.0}
    clock = SteadyClock(steady=lambda: machine["steady"], system=lambda: machine["system"])
    assert clock.now() == 1_000_000.0
    machine["system"] += step_seconds
    machine["steady"] += 3.0
    assert clock.now() == 1_000_003.0
