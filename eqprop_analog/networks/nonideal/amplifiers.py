"""Amplifiers of a chip with their imperfections: forward drives, return currents, and netlist devices."""

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.layered import LayeredNetwork
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
AMPLIFIER = {
    "forward": "forward_factor",
    "back": "return_factor",
    "offset": "offset",
    "swing": "saturation_voltage",
}
"""Parameters of the amplifier subcircuits, and the names of the same quantities in Periphery."""


class AmplifiedNetwork(LayeredNetwork):
    """A layered network with the imperfections of each amplifier given by its periphery."""

    ideal: ResistiveNetwork
    """The ideal network that the chip implements."""
    periphery: Periphery
    """The diodes, amplifiers, sources and nudges around the crossbars."""

    def by_layer(self, values: Float[Array, "*batch hidden"]) -> list[Float[Array, "*batch nodes"]]:
        """Values of all hidden nodes by hidden layer."""
        return np.split(values, np.cumsum(self.layers[1:-2]), axis=-1) if len(self.layers) > 2 else []

    @cached_property
    def at(self) -> tuple[slice, ...]:
        """Slices of the nodes of layers 1..L among all nodes."""
        ends = np.cumsum((0, *self.layers[1:])).tolist()
        return tuple(slice(*pair) for pair in pairwise(ends))

    def own(self, name: str) -> Float[Array, " hidden"]:
        """A quantity of the periphery at all hidden nodes."""
        return self.periphery.hidden(name, self.ideal)

    def amplifier_model(self, layer: int) -> tuple[str, Mapping[str, Any]]:
        """See LayeredNetwork; no parameters for ideal amplifiers."""
        own = {key: self.own(name)[self.at[layer - 1]] for key, name in AMPLIFIER.items()}
        if np.isfinite(own["swing"]).any():
            return "saturating_amplifier", own
        del own["swing"]
        plain = all(np.all(values == (key != "offset")) for key, values in own.items())
        return "amplifier", {} if plain else own

    def amplified(self, layer: int) -> bool:
        """See LayeredNetwork: true for a gain other than 1, or for gain 1 with an imperfection."""
        at, plain = self.at[layer - 1], Periphery()
        return super().amplified(layer) or any(
            (self.own(name)[at] != getattr(plain, name)).any() for name in AMPLIFIER.values()
        )

    def loading(self, layer: int) -> Float[Array, " nodes"]:
        """The amplifiers' input conductances, siemens."""
        return self.own("input_conductance")[self.at[layer - 1]]

    @cached_property
    def gains(self) -> Float[Array, " hidden"]:
        """Forward gain A f of the amplifier of every hidden node."""
        return self._nominal * self.own("forward_factor")

    @cached_property
    def returns(self) -> Float[Array, " hidden"]:
        """Return gain b/A of the amplifier of every hidden node."""
        return self.own("return_factor") / self._nominal

    @property
    def _nominal(self) -> Float[Array, " hidden"]:
        return np.repeat(np.array(self.amplifier_gain, float), np.array(self.layers[1:-1], int))

    @cached_property
    def offset(self) -> Float[Array, " hidden"]:
        """Offset o of the amplifier of every hidden node, volts."""
        return self.own("offset")

    @cached_property
    def saturating(self) -> Int[Array, " some"]:
        """Indices of the hidden nodes with a saturating amplifier."""
        return np.flatnonzero(np.isfinite(self.own("saturation_voltage")))

    @cached_property
    def input_range(self) -> Float[Array, " some"]:
        """S/(A f) of the saturating amplifiers: the input at which they saturate, volts."""
        return self.own("saturation_voltage")[self.saturating] / self.gains[self.saturating]

    def droop(
        self, voltages: Float[Array, "batch nodes"]
    ) -> tuple[Float[Array, "batch some"], Float[Array, "batch some"]]:
        """The droop w = x - S/(A f) tanh(A f x/S), x = v + o, at the inputs of saturating amplifiers, volts; and dw/dv."""
        x = voltages[:, self.saturating] + self.offset[self.saturating]
        bent = np.tanh(x / self.input_range)
        return x - self.input_range * bent, bent * bent

    def drives(self, voltages: Layers) -> Layers:
        """Drives a of layers 1..L-1, volts: the outputs of the amplifiers before their output resistance."""
        if self.depth == 1:
            return ()
        hidden = np.concatenate(voltages[:-1], axis=1)
        behind = hidden + self.offset
        if self.saturating.size:
            behind[:, self.saturating] -= self.droop(hidden)[0]
        return tuple(self.by_layer(self.gains * behind))
