"""The short form of `make chaos`: three schedules over real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "drive.py"
SEED = "173"
"""Nine kinds of faults, every process, eight phases; and few that cost three new starts or half a minute of waiting."""


@pytest.mark.timeout(1800)  # a driver's own limit is 15 minutes a run
def test_three_schedules_end_with_the_weights_of_the_undisturbed_run(tmp_path: Path) -> None:
    output = tmp_path / "schedules.jsonl"
    command = [sys.executable, str(DRIVER), "--schedules", "3", "--seed", SEED, "--jobs-dir", str(tmp_path / "runs")]
    driver = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, check=False)
    told = driver.stdout + driver.stderr
    assert driver.returncode == 0, told
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(records) == 3
    for record in records:
        assert record["equal"], told
        assert max(record["attempts"].values()) > 1, told
        kinds = [landing["kind"] for landing in record["landings"] if landing["landed"]]
        assert len(kinds) >= 4, told
        assert "kill" in kinds, told
    assert json.loads(told.splitlines()[-1])["summary"]["equal"] == 3
    assert list((tmp_path / "runs").iterdir()) == []
