"""A circuit as a picture: its schematic if it is small, otherwise its crossbars as maps."""

from pathlib import Path

from eqprop_analog.errors import UserError
from eqprop_analog.plotting.crossbars import crossbar_maps
from eqprop_analog.plotting.schematic import drawable, schematic
from eqprop_analog.plotting.style import require_picture
from eqprop_analog.spice.circuit import Circuit


def draw_circuit(circuit: Circuit, path: Path) -> str:
    """Draw ``circuit`` to ``path``; return a description.

    Raises UserError if the circuit cannot be drawn or the file written.
    """
    require_picture(path)
    if drawable(circuit):
        return schematic(circuit, path).caption.rpartition("\n")[2]
    count = crossbar_maps(circuit, path)
    if not count:
        raise UserError(f"{path}: {circuit.title} has no crossbar to draw, and is too large for a schematic")
    return f"{count} crossbars as maps of conductances, because the circuit is too large for a schematic"
