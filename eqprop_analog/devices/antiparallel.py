"""Two diodes at every node, one the other way round: the node is kept between the rails' thresholds from both sides."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.capabilities import scaled as scaled_law
from eqprop_analog.devices.law import Law, require_law
from eqprop_analog.errors import UserError

Array = np.ndarray

ROUNDINGS = 4 * np.finfo(np.float64).eps
FLOOR = 1e-16
"""Volts; steps below are rounding."""
STEPS = 100
"""Newton steps at most; ordinary nodes take three or four."""


@dataclass(frozen=True)
class Antiparallel:
    """i(v) = f(v) - f(-v), f the current of ``law``: a diode from the rail into the node and one from the node into -rail.

    An odd function, so all nodes of a layer are alike: each is kept within ±(drop of a conducting diode - rail).
    Source: Kendall et al. 2020, arXiv 2006.01981.
    """

    law: Law
    """Of each of the two."""

    def __post_init__(self) -> None:
        """Raise UserError for two ideal clamps that leave nothing between them."""
        require_law(self.law, "antiparallel pair")
        if self.rail >= 0 and np.isinf(self.law.slope(np.array(self.rail))).any():
            raise UserError(f"rail: two antiparallel ideal clamps need a rail below 0 V, got {self.rail}")

    @property
    def rail(self) -> float:
        """Voltage of the rail from which the first diode leads into the node, volts; the second leads into -rail."""
        return self.law.rail

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v), amperes."""
        return self.law.current(v) - self.law.current(-v)

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens."""
        return self.law.slope(v) + self.law.slope(-v)

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts."""
        return self.law.cocontent(v) + self.law.cocontent(-v)

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The one root v of conductance·v + i(v) = source, volts.

        Newton's iteration, from the root beside the nearer diode alone, inside 0 ... source/conductance; a step that leaves
        what is known to hold the root becomes a bisection. In float64, rounded once.
        """
        dtype = np.result_type(conductance, source)
        conductance, current = conductance.astype(np.float64), np.abs(source, dtype=np.float64)
        low, high = np.zeros_like(current), current / conductance
        v = np.clip(-self.law.solve(conductance, -current), low, high)
        for _ in range(STEPS):
            farther = self.law.current(v)
            error = -self.law.mismatch(-v, conductance * v + farther - current)
            stiffness = conductance + self.slope(v)
            low, high = np.where(error > 0, v, low), np.where(error < 0, v, high)
            with np.errstate(invalid="ignore"):  # a law that overflows: bisection it is
                step = error / stiffness
            moved = v + step
            v = np.where((low <= moved) & (moved <= high), moved, 0.5 * (low + high))
            scale = v + abs(self.rail) + (current + np.abs(farther)) / stiffness
            if not (np.abs(step) > ROUNDINGS * scale + FLOOR).any():
                break
        return np.copysign(v, source).astype(dtype)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """How far ``current`` into the node is from what the pair can carry at ``v``, amperes; the nearer diode judges."""
        side = np.where(v < 0, -1, 1).astype(v.dtype)
        nearer, farther = -side * v, self.law.current(side * v)
        return -side * self.law.mismatch(nearer, farther - side * current)

    def in_spice(self) -> "Antiparallel":
        """The pair of what stands for the law."""
        return replace(self, law=self.law.in_spice())

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit and parameters of each of the two."""
        return self.law.spice

    @property
    def options(self) -> dict[str, float]:
        """Simulator options that the law needs."""
        return self.law.options

    def scaled(self, k: float) -> "Antiparallel":
        """See devices.capabilities."""
        return replace(self, law=scaled_law(self.law, k))


def slopes_between(
    law: Law, low: Float[Array, "..."], high: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The least and the largest di/dv of ``law`` between two voltages, siemens; the slope of one diode is monotone in v.

    A law of another shape has a method of this name, of the two voltages.
    """
    own = getattr(law, "slopes_between", None)
    if own is not None:
        least, largest = own(low, high)
        return least, largest
    if isinstance(law, Antiparallel):
        (least, largest), (less, more) = slopes_between(law.law, low, high), slopes_between(law.law, -high, -low)
        return least + less, largest + more
    ends = law.slope(low), law.slope(high)
    return np.minimum(*ends), np.maximum(*ends)


def own_subcircuit(law: Law | None) -> Law | None:
    """The law, or pair, whose subcircuit is the device that it was made from (devices.capabilities); None where there is none."""
    if isinstance(law, Antiparallel):
        one = own_subcircuit(law.law)
        return None if one is None else replace(law, law=one)
    own = getattr(law, "own_subcircuit", None)
    return None if own is None else own()


def is_own_device(law: Law | None) -> bool:
    """Whether SPICE has, in place of the law, the device that it was made from (see ``own_subcircuit``)."""
    return bool(getattr(getattr(law, "law", law), "as_device", False))
