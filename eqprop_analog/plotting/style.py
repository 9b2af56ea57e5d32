"""How every plot looks, and how it is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from eqprop_analog.errors import UserError
from eqprop_analog.files import replacing, require_writable

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

DPI = 150
"""Points an inch of a PNG."""

BLUE, RED, GREEN, PURPLE, AMBER = "#0b62a4", "#c8501e", "#1b7f5c", "#8c4a86", "#b07900"
"""Colours that people with any colour vision tell apart, each of another lightness in grey."""
BARS = "#7f9dbb"
"""Fill of a histogram."""
NEUTRAL = "0.55"
"""Of what is there for comparison."""
LOOKS = ((BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"), (AMBER, (0, (5, 1, 1, 1)), "v"))
"""Colour, line and marker of one curve after the other."""


FORMATS = (".svg", ".png", ".pdf")


def require_picture(path: Path) -> None:
    """Raises UserError unless ``path`` names a picture that can be written."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{path}: expected a picture's name, which ends in {', '.join(FORMATS)}; got {path.suffix or 'no ending'}"
        )
    require_writable(path)


@contextmanager
def drawing(path: Path | None, size: tuple[float, float], style: Any = STYLE) -> Iterator[Figure]:
    """A figure of ``size`` inches to draw on, which is then written to ``path``, if there is one. UserError if it cannot be.

    It looks the same everywhere: Matplotlib's defaults and ``style``, whatever a ``matplotlibrc`` in the current folder says.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        figure = Figure(figsize=size)
        yield figure
        if path is None:
            figure.draw_without_rendering()  # in this style, whatever the program's own is
            return
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI)
