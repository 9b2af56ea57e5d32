"""A netlist of this package, free and nudged, and functions to edit it."""

import re

import numpy as np

from eqprop_analog import ResistiveNetwork
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.netlist import static_netlist

BY_HAND = ResistiveNetwork.dense([2, 4, 1], 0, amplifier_gain=4.0, bias=1e-8, bias_row=1.5, input_gain=2.0)
for matrix in BY_HAND.conductances:
    np.add(matrix, 1e-8, out=matrix)
FREE = static_netlist(compile_network(BY_HAND, np.array([[-1.0, 1.0]]), form="flat"))
NUDGED = static_netlist(compile_network(BY_HAND, np.array([[-1.0, 1.0]]), [(1e-8, np.array([[1e-8]]))], "flat"))


def edited(old: str, new: str, text: str = FREE) -> str:
    """``text`` with the first match of the pattern ``old`` replaced."""
    changed, count = re.subn(old, new, text, count=1, flags=re.MULTILINE)
    assert count == 1, old
    return changed


def line_of(text: str, part: str) -> int:
    """Number of the first line that holds ``part``."""
    return next(number for number, line in enumerate(text.split("\n"), start=1) if part in line)
