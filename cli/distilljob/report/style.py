"""One look for all figures. Figures are drawn in placeholder colors; the page says what each of them is, by theme."""

from dataclasses import dataclass
from typing import Any, Final

INK: Final = "#010001"
MUTED: Final = "#010002"
GRID: Final = "#010003"
SHADE: Final = "#010004"
WAIT: Final = "#010005"
BAD: Final = "#010006"
PAPER: Final = "#010007"
WORK: Final = ("#020001", "#020002", "#020003", "#020004", "#020005")
"""What a student's time goes into, from dark to light."""
SERIES: Final = tuple(f"#0300{index:02x}" for index in range(1, 8))
"""The colors of students: seven of Okabe and Ito's eight; the eighth, black, is the ensemble's."""

VARIABLE_OF: Final = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SHADE: "--shade",
    WAIT: "--wait",
    BAD: "--bad",
    PAPER: "--paper",
    **{color: f"--work-{number}" for number, color in enumerate(WORK, start=1)},
    **{color: f"--student-{number}" for number, color in enumerate(SERIES, start=1)},
}
"""CSS variables of the page, by placeholder."""

DASHES: Final[tuple[tuple[float, ...], ...]] = ((), (5, 2), (2, 1.2), (7, 2, 1.5, 2))
"""Line styles in points, on and off: the second channel beside color."""

WIDTH_INCHES: Final = 4.2
HEIGHT_INCHES: Final = 2.8

PARAMETERS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "hatch.linewidth": 0.8,
    "patch.linewidth": 0.0,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}
"""What matplotlib is told for every figure, whatever the user's own matplotlibrc says."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one student, or one run, is drawn."""

    color: str
    dashes: tuple[float, ...] = ()
    is_quiet: bool = False
    """One of many: drawn thin and gray, named in tables only."""

    def line(self) -> dict[str, Any]:
        """Give matplotlib's arguments for a line."""
        if self.is_quiet:
            return {"color": MUTED, "linewidth": 0.6, "alpha": 0.45, "zorder": 1.5}
        return {"color": self.color, "linestyle": (0, self.dashes) if self.dashes else "-", "zorder": 2.5}
