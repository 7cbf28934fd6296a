"""What a schedule showed: one JSON line each, and a table over all of them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faults import Landing
from places import PHASES
from processes import AGGREGATOR, RUNNER


@dataclass(slots=True)
class Record:
    """One schedule."""

    seed: int
    replay: str
    """Arguments that do it again."""
    equal: bool = False
    problem: str = ""
    wall_seconds: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict)
    """Of each student."""
    restarts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of each student, by cause."""
    runner_exit_codes: list[int] = field(default_factory=list)
    peak_mib: dict[str, float] = field(default_factory=dict)
    landings: list[Landing] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Equal weights, and every student had more than one attempt somewhere."""
        return self.equal and not self.problem

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def landing_line(landing: Landing) -> str:
    """Tell one fault."""
    attempt = f" attempt {landing.attempt}" if landing.attempt else ""
    where = f"{landing.seen}{attempt}: {landing.phase}, cycle {landing.cycle}, step {landing.step}"
    mark = "   " if landing.landed else "NOT LANDED "
    return f"  {mark}{landing.kind:<10} {landing.victim:<10} {where:<58} {landing.proof}"


def table(records: Sequence[Record]) -> str:
    """Count landings by what was done to whom, and phase."""
    counts = Counter((f"{landing.kind} {landing.victim}", landing.phase) for landing in _landed(records))
    return _crossed(counts, [phase for phase in PHASES if any(counted == phase for _, counted in counts)])


def edge_table(records: Sequence[Record]) -> str:
    """Count kills by edge and by who was killed."""
    counts = Counter((landing.phase, _relation(landing)) for landing in _landed(records))
    return _crossed(counts, ["the student itself", "another student", AGGREGATOR, RUNNER])


def _landed(records: Sequence[Record]) -> list[Landing]:
    return [landing for record in records for landing in record.landings if landing.landed]


def _relation(landing: Landing) -> str:
    if landing.victim in (AGGREGATOR, RUNNER):
        return landing.victim
    return "the student itself" if landing.victim == landing.seen else "another student"


def _crossed(counts: Counter[tuple[str, str]], columns: Sequence[str]) -> str:
    rows = sorted({name for name, _ in counts})
    width = max(map(len, (*rows, "landed in")), default=0)
    lines = [f"{'landed in':<{width}}  " + "  ".join(columns)]
    for name in rows:
        cells = "  ".join(f"{counts[name, column] or '':>{len(column)}}" for column in columns)
        lines.append(f"{name:<{width}}  {cells}")
    return "\n".join(lines)


def summary(records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """Sum up."""
    landings = [landing for record in records for landing in record.landings]
    peaks = {
        name: max((record.peak_mib.get(name, 0.0) for record in records), default=0.0)
        for name in ("runner", "aggregator")
    }
    most = [max(record.attempts.values(), default=0) for record in records]
    return {
        "schedules": len(records),
        "equal": sum(record.equal for record in records),
        "failed": sum(not record.ok for record in records),
        "faults": len(landings),
        "landed": sum(landing.landed for landing in landings),
        "fewest_attempts": min(most, default=0),  # of the student with the most, in any schedule
        "peak_mib": peaks,
        "seconds": round(seconds, 1),
    }
