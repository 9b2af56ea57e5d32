"""What is measured of a circuit: its node voltages as comparators and converters give them."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Readout:
    """v̂ = LSB·round((v + o + σ ξ)/LSB), kept between -range and range;   LSB = 2·range/2^bits, ξ anew at every reading."""

    offsets: tuple[Float[Array, " nodes"], ...]
    """o of every node of layers 1..L, volts."""
    noise: float = 0.0
    """σ, volts."""
    bits: int | None = None
    """None resolves everything."""
    range: float = 1.0
    """Volts."""

    @property
    def ideal(self) -> bool:
        """Whether it reads what is there."""
        return not (self.noise or self.bits or any(offset.any() for offset in self.offsets))

    def read(self, voltages: Layers, random: np.random.Generator) -> Layers:
        """One reading of node voltages (V), in their dtype, its noise drawn from ``random``."""
        if self.ideal:
            return voltages
        return tuple(self._converted(v, offset, random) for v, offset in zip(voltages, self.offsets, strict=True))

    def measured(self, equilibrium: Equilibrium, random: np.random.Generator) -> Equilibrium:
        """``equilibrium`` with what is read in place of what is there; residual and status stay those of the circuit."""
        if len(equilibrium.voltages) != len(self.offsets):
            raise UserError(f"read-out: expected {len(self.offsets)} layers, got {len(equilibrium.voltages)}")
        return replace(equilibrium, voltages=self.read(equilibrium.voltages, random))

    def _converted(
        self, v: Float[Array, "batch nodes"], offset: Float[Array, " nodes"], random: np.random.Generator
    ) -> Float[Array, "batch nodes"]:
        seen = v + offset.astype(v.dtype)
        if self.noise:
            seen += v.dtype.type(self.noise) * random.standard_normal(v.shape, np.float64).astype(v.dtype, copy=False)
        if self.bits is None:
            return seen
        step = 2 * self.range / 2**self.bits
        return np.clip(np.rint(seen / step), -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) * v.dtype.type(step)
