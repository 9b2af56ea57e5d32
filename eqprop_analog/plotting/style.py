"""The style of all plots, and how they are written."""

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
"""Pixels per inch of a PNG."""

BLUE, RED, GREEN, PURPLE, AMBER = "#0b62a4", "#c8501e", "#1b7f5c", "#8c4a86", "#b07900"
"""Colours for any colour vision, each with a different lightness in greyscale."""
BARS = "#7f9dbb"
"""Fill colour of a histogram."""
NEUTRAL = "0.55"
"""Colour of curves for comparison."""
LOOKS = ((BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"), (AMBER, (0, (5, 1, 1, 1)), "v"))
"""Colour, line style and marker of successive curves."""


FORMATS = (".svg", ".png", ".pdf")


def require_picture(path: Path) -> None:
    """Raise UserError unless ``path`` names a picture that can be written."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{path}: expected the name of a picture, which ends in {', '.join(FORMATS)}; got "
            f"{path.suffix or 'no ending'}"
        )
    require_writable(path)


@contextmanager
def drawing(path: Path | None, size: tuple[float, float], style: Any = STYLE) -> Iterator[Figure]:
    """Make a figure of ``size`` inches; write it to ``path``, if given, at the end. Raises UserError if it cannot be written.

    The style is Matplotlib's default and ``style``, independent of any ``matplotlibrc`` in the current folder.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        figure = Figure(figsize=size)
        yield figure
        if path is None:
            figure.draw_without_rendering()  # in this style, independent of the calling program's
            return
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI)
