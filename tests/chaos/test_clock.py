"""Wall clocks of a run's processes are off by what the driver says; other clocks and start-up hooks are left alone."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job import STARTUP

CALL = """
import concurrent.futures, sys, time, grpc
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
echo = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"echo": echo}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    sys.stdout.buffer.write(channel.unary_unary("/test/echo")(b"answer", timeout=60))
server.stop(None)
"""
PROGRAM = """
import sys, time
for _ in sys.stdin:
    print(time.time(), time.time_ns(), time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("offset_seconds", [3600.0, -86_400.0])
def test_a_running_process_sees_the_step(tmp_path: Path, offset_seconds: float) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("d", 0.0))
    variables = {**os.environ, "PYTHONPATH": str(STARTUP), "CHAOS_CLOCK_FILE": str(clock)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> tuple[float, float, float]:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            wall, wall_ns, monotonic = process.stdout.readline().split()  # type: ignore[union-attr]
            return float(wall) - time.time(), int(wall_ns) / 1e9 - time.time(), float(monotonic) - time.monotonic()

        before = ask()
        with clock.open("r+b") as file:
            file.write(struct.pack("d", offset_seconds))
        after = ask()
        process.stdin.close()
    assert before == pytest.approx((0, 0, 0), abs=30)
    assert after == pytest.approx((offset_seconds, offset_seconds, 0), abs=30)
    assert process.returncode == 0


def test_calls_keep_their_deadlines_when_the_clock_goes_back(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("d", -7200.0))
    variables = {**os.environ, "PYTHONPATH": str(STARTUP), "CHAOS_CLOCK_FILE": str(clock)}
    call = subprocess.run([sys.executable, "-c", CALL], env=variables, capture_output=True, check=True)
    assert call.stdout == b"answer"
