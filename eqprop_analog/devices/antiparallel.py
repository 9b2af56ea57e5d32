"""Two antiparallel diodes at every node, which limit the node from both sides."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.capabilities import scaled as scaled_law
from eqprop_analog.devices.law import Law, require_law
from eqprop_analog.errors import UserError

Array = np.ndarray

ROUNDINGS = 4 * np.finfo(np.float64).eps
FLOOR = 1e-16
"""Newton step, volts, below which the change is rounding."""
STEPS = 100
"""Largest number of Newton steps; ordinary nodes take three or four."""


@dataclass(frozen=True)
class Antiparallel:
    """i(v) = f(v) - f(-v), with f the current of ``law``: one diode from the rail into the node, one from the node into -rail.

    The law is an odd function, so that all nodes of a layer are equal: each is limited to plus or minus the drop of a
    conducting diode, less the rail. Source: Kendall et al. 2020, arXiv 2006.01981.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> law = ea.Antiparallel(ea.NgspiceDiode(rail=-0.2))  # volts
    >>> [f"{i:.3g}" for i in law.current(np.array([-0.3, 0.0, 0.3]))]  # amperes, out of the node
    ['-4.78e-08', '0', '4.78e-08']
    """

    law: Law
    """The law of each of the two diodes."""

    def __post_init__(self) -> None:
        """Raise UserError for two ideal clamps with no voltage range between them."""
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
        """Return the root v of conductance·v + i(v) = source, volts.

        Newton's iteration starts at the root with only the nearer diode, within 0 ... source/conductance; a step that
        leaves the bracket of the root is replaced by a bisection. It is computed in float64 and rounded once.
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
            with np.errstate(invalid="ignore"):  # the law overflows: bisection
                step = error / stiffness
            moved = v + step
            v = np.where((low <= moved) & (moved <= high), moved, 0.5 * (low + high))
            scale = v + abs(self.rail) + (current + np.abs(farther)) / stiffness
            if not (np.abs(step) > ROUNDINGS * scale + FLOOR).any():
                break
        return np.copysign(v, source).astype(dtype)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """Difference between ``current`` into the node and the pair's current at ``v``, amperes; the nearer diode decides."""
        side = np.where(v < 0, -1, 1).astype(v.dtype)
        nearer, farther = -side * v, self.law.current(side * v)
        return -side * self.law.mismatch(nearer, farther - side * current)

    def in_spice(self) -> "Antiparallel":
        """The pair of the laws that SPICE solves instead."""
        return replace(self, law=self.law.in_spice())

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit and parameters of each of the two diodes."""
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
    """Return the smallest and the largest di/dv of ``law`` between two voltages, siemens; the slope of a diode is monotone in v.

    A law with a non-monotone slope has a method of this name with the two voltages as arguments.
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
    """Return the law, or pair, whose subcircuit is the device from which it was made (devices.capabilities), else None."""
    if isinstance(law, Antiparallel):
        one = own_subcircuit(law.law)
        return None if one is None else replace(law, law=one)
    own = getattr(law, "own_subcircuit", None)
    return None if own is None else own()


def is_own_device(law: Law | None) -> bool:
    """Return whether SPICE uses the device from which the law was made (see ``own_subcircuit``) instead of the law."""
    return bool(getattr(getattr(law, "law", law), "as_device", False))
