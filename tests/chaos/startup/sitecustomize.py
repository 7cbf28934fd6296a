"""Python imports this at the start of every process of a run under chaos, because the driver puts its folder first.

Nothing of the product knows of it. Two things happen here: wall clocks read an offset that the driver sets, and every
student writes down its place (phase, cycle, step) where the driver can read it, even after the student's death.
"""

import os
from contextlib import suppress

if path := os.environ.get("CHAOS_CLOCK_FILE"):
    import chaos_clock

    chaos_clock.install(path)
if (folder := os.environ.get("CHAOS_PLACES")) and "DISTILLJOB_STUDENT" in os.environ:
    import chaos_places

    with suppress(OSError):  # a full disk is one of the faults
        chaos_places.install(folder)
