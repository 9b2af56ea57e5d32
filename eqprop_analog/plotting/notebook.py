"""The display of an object in a notebook: its facts as a table and, for a network, a small map of its parameters."""

import base64
import io
from html import escape
from typing import cast

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eqprop_analog.core.network import Network
from eqprop_analog.core.shown import Shown
from eqprop_analog.plotting.figures import plot_parameters

WIDTH = 480
"""Largest width of the picture on the page, pixels."""
SMALL = (1.7, 1.6)
"""Size of one array's map, inches."""


def html(thing: Shown) -> str:
    """Return a table of ``thing``'s facts, followed by the picture if it is a network."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in thing.facts().items()
    )
    table = f"<table><caption>{escape(type(thing).__name__)}</caption>{rows}</table>"
    return table + (_picture(plot_parameters(cast("Network", thing), size=SMALL)) if hasattr(thing, "family") else "")


def _picture(figure: Figure) -> str:
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="maps of the parameters" style="max-width:{WIDTH}px" src="data:image/png;base64,{encoded}">'
