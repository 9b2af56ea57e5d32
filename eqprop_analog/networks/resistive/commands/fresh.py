"""Construction of a resistive network from --layers on the command line."""

import argparse
from collections.abc import Sequence
from typing import Any

from eqprop_analog.characterization.device_file import diode_table
from eqprop_analog.cli import options
from eqprop_analog.devices import law_from
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.quantities import option


class FreshResistive:
    """See cli.options.Fresh."""

    what = "resistors and diodes"
    names = ("diode", "amplifier_gain", "input_gain", "bias_row", "outputs", "conductance_window")
    of_netlists = ("input_gain", "outputs", "conductance_window", "diode")

    def add_options(self, group: "argparse._ArgumentGroup") -> None:
        """Add the options for gains, read-outs, conductance window and bias row."""
        options.add_diode(group, "diodes of an untrained network, and of a netlist with your own SPICE device")
        group.add_argument(
            "--amplifier-gain",
            type=float,
            metavar="A",
            help="gain of the amplifiers of an untrained network (default 1: no amplifiers)",
        )
        group.add_argument(
            "--input-gain",
            type=option("V"),
            metavar="VOLTS",
            help="V per unit of input, of an untrained network or of a netlist that does not state it (default 1)",
        )
        group.add_argument(
            "--outputs",
            choices=["single", "pairs"],
            help="read-out of an untrained network: one output node for each class, or the difference of two (default single)",
        )
        group.add_argument(
            "--conductance-window",
            type=option("S"),
            nargs=2,
            metavar=("G_MIN", "G_MAX"),
            help="limits of the conductances in training, S, of an untrained network (default 0 1e-4)",
        )
        group.add_argument(
            "--bias-row",
            type=option("V"),
            metavar="VOLTS",
            help="add a row at this voltage to crossbar 1 of an untrained network",
        )

    def make(self, layers: Sequence[int], seed: int, **given: Any) -> ResistiveNetwork:
        """A network of random conductances."""
        if "diode" in given:
            given["diode"] = law_from(diode_table(given["diode"]))
        return ResistiveNetwork.dense(layers, seed, **given)


FRESH = FreshResistive()
