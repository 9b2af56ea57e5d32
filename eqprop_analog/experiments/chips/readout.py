"""The read-out of a circuit: node voltages as measured by comparators and converters."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Readout:
    """v̂ = LSB·round((v + o + σ ξ)/LSB), limited to ±range;   LSB = 2·range/2^bits, ξ resampled at every reading."""

    offsets: tuple[Float[Array, " nodes"], ...]
    """Offset o of every node of layers 1..L, volts."""
    noise: float = 0.0
    """Standard deviation σ of the noise, volts."""
    bits: int | None = None
    """Resolution of the converter, bits; None is an ideal converter."""
    range: float = 1.0
    """Volts."""

    @property
    def ideal(self) -> bool:
        """Whether readings equal the true voltages."""
        return not (self.noise or self.bits or any(offset.any() for offset in self.offsets))

    def read(self, voltages: Layers, random: np.random.Generator) -> Layers:
        """Return a reading of node voltages (V), in their dtype, with noise drawn from ``random``."""
        if self.ideal:
            return voltages
        return tuple(self._converted(v, offset, random) for v, offset in zip(voltages, self.offsets, strict=True))

    def measured(self, equilibrium: Equilibrium, random: np.random.Generator) -> Equilibrium:
        """Return ``equilibrium`` with read voltages in place of true ones; residual and status remain those of the circuit."""
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
