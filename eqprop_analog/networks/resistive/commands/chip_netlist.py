"""The netlist of a network on one chip of a specification."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.nudge import Nudge
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.netlists import phase
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import impedance_scale, onto, scaling_notes
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.whole_chip.network import chip_of
from eqprop_analog.spice.netlist import static_netlist

Array = np.ndarray
WIDTH = 120
"""Number of characters in a line of the header."""


def chip_netlist(
    network: ResistiveNetwork,
    inputs: Float[Array, "1 inputs"],
    nudge: Nudge | None,
    form: str,
    specification: Specification,
    seed: int,
    number: int,
) -> tuple[str, Sequence[str]]:
    """``network`` written into the devices of chip ``number`` of the lot ``seed``, with impedance scaling if specified.

    Returns the netlist, whose header describes this, and sentences on what the scaling changes.
    """
    wanted = onto(network, specification)
    chip = Chip.drawn(specification, wanted, seed, number)
    chip.program(wanted)
    circuit = chip_of(chip.network, chip.periphery, **specification.wiring)
    window, scaled = specification.technology.window, specification.impedance_scaling
    equations = None
    if nudge is not None:
        scale = impedance_scale(network, window) if scaled else 1.0
        equations = phase(circuit, inputs, replace(nudge, beta=scale * nudge.beta))
    compiled = circuit.circuit(inputs, [equations], form)
    notes = scaling_notes(network, window) if scaled else ()
    kept = "Diodes, gains, bias currents and nudge are nominally those of the network." if not notes else ""
    settings = [f"{name} = {value}" for name, value in specification.settings().items()]
    header = [
        f"Chip {chip.number} of specification {specification.label}. {kept}".strip(),
        *notes,
        *textwrap.wrap(f"It sets {', '.join(settings) or 'nothing'}.", WIDTH),
    ]
    return static_netlist(replace(compiled, notes=(*compiled.notes, *header))), notes
