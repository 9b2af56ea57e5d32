"""Construction of a Hopfield network from --layers on the command line."""

import argparse
from collections.abc import Sequence

from eqprop_analog.devices.buffer import BUFFERS, buffer_from
from eqprop_analog.networks.hopfield.network import HopfieldNetwork


class FreshHopfield:
    """See cli.options.Fresh."""

    what = "leaky integrators and saturating buffers"
    names = ("buffer", "untied")
    of_netlists = ()

    def add_options(self, group: "argparse._ArgumentGroup") -> None:
        """Add the options for the buffers' law and for feedback weights."""
        group.add_argument(
            "--buffer",
            metavar="LAW",
            help=f"buffer of a Hopfield network made by --layers: {', '.join(BUFFERS)}, or "
            "your own (default hard-sigmoid)",
        )
        group.add_argument(
            "--untied", action="store_true", help="give a Hopfield network made by --layers separate backward weights"
        )

    def make(
        self, layers: Sequence[int], seed: int, *, buffer: str = "hard-sigmoid", untied: bool = False
    ) -> HopfieldNetwork:
        """Initialize it by "fan-in", which includes biases; otherwise half of all hard sigmoids would rest at a corner."""
        law = buffer_from({"law": buffer})
        return HopfieldNetwork.dense(layers, seed, buffer=law, untied=untied, initial="fan-in")


FRESH = FreshHopfield()
