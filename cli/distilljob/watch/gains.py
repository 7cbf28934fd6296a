"""What each closed cycle's teacher was worth, from what the students have written down so far."""

from distilljob.run_directory.folder import RunFolder
from distilljob.watch.sight import Sight
from distilljob_core.artifacts import METRICS_FILE
from distilljob_core.measurements import CycleMeasured, read_measurements


class Gains:
    """The teachers' gains by cycle; reads again only when a round has closed whose gain is not known yet."""

    def __init__(self) -> None:
        self._known: list[float] = []

    def of(self, sight: Sight) -> list[float]:
        """Give them for the cycles that any student has measured."""
        if sight.result is not None:
            return sight.result.teacher_gain
        num_closed = sum(close.split == "train" for close in sight.table.closes) if sight.table else 0
        if len(self._known) < num_closed:
            measured = (_measured(sight.folder, row.name) for row in sight.picture.rows)
            self._known = max(measured, key=len, default=[])
        return self._known


def _measured(folder: RunFolder, student: str) -> list[float]:
    try:
        content = (folder.root / "checkpoints" / student / METRICS_FILE).read_bytes()
    except FileNotFoundError:
        return []
    return [line.teacher_gain for line in read_measurements(content).known if isinstance(line, CycleMeasured)]
