"""A bound in volts on the distance of voltages from a circuit's equilibrium, for any solver.

F(v) = s - K v - i(v) is the residual of Kirchhoff's current law at v, and x = v* - v the distance to the equilibrium.
With the slopes Σ of the diodes between v and v*, (K + Σ) x = F(v). K is an M-matrix (off-diagonals are not positive,
the inverse is not negative), also with a nudge of -β, and Σ >= 0. It follows that |x| <= K⁻¹ |F| and, with the distance
e of every node from its own root, |x| <= K⁻¹ D e. This quick bound needs one linear solve for each network. If it is
too large, a box of ``radius`` around v gives J <= K + Σ <= J + W. If |J⁻¹F| + J⁻¹(W·radius) <= radius, the equilibrium
lies in the box, within the left-hand side (a Krawczyk test). Source: Berman & Plemmons 1994, Nonnegative Matrices,
chapter 6; Krawczyk 1969, Computing 4, 187.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from eqprop_analog.core.equilibrium import Status

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]
P = TypeVar("P", bound="Provable")

ERROR = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}
"""Largest error of a converged voltage by precision, relative to the larger of 1 V and the circuit's largest voltage."""
DOUBLE, LONG = np.dtype(np.float64), np.dtype(np.longdouble)
SLACK = 16.0
"""Safety factor for the rounding of a product in a verified solution."""
ROUNDS = 3
"""Largest number of Newton steps in extended precision to reach that error."""
BOX = 4.0
"""Radius of the second box tried, in Newton steps."""


class Linearised(Protocol):
    """J, a lower bound of the slope of -F in a box around v; volts and siemens."""

    @property
    def spread(self) -> Nodes:
        """W·radius: the range of the slopes above J times the radius of the box, amperes into each node."""
        ...

    def solve(self, currents: Nodes) -> Nodes:
        """Return J⁻¹ ``currents``, in float64."""
        ...

    def left(self, currents: Nodes, step: Nodes) -> Nodes:
        """Return |``currents`` - J ``step``|, amperes, including rounding."""
        ...

    def reach(self, currents: Nodes) -> Nodes:
        """Return a verified bound of |J⁻¹ c| for all |c| <= ``currents``, volts; infinite if there is none."""
        ...

    def unsigned(self, currents: Nodes, rounding: Nodes) -> Float[Array, " batch"]:
        """Return a bound of |x| that holds for all slopes above J, volts."""
        ...


class Provable(Protocol):
    """A circuit's equations at given voltages, as a proof needs them, with all nodes concatenated."""

    @property
    def given(self) -> Nodes:
        """The voltages."""
        ...

    @property
    def scale(self) -> Float[Array, " batch"]:
        """The circuit's largest voltage."""
        ...

    def nodes(self, voltages: Nodes) -> tuple[Array, ...]:
        """Return ``voltages`` in the form of the equations."""
        ...

    def quick(self) -> Float[Array, " batch"]:
        """Return a bound of the error, volts, without a linear solve for each sample; infinite if there is none."""
        ...

    @property
    def precisions(self) -> Sequence[np.dtype[Any]]:
        """Precisions in which F is available, the cheapest first."""
        ...

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """Return the equations of some of the samples."""
        ...

    def currents(self, voltages: Nodes, precision: np.dtype[Any]) -> tuple[Nodes, Nodes]:
        """Return F and a bound of its rounding error, amperes."""
        ...

    def linearised(self, voltages: Nodes, radius: Float[Array, " batch"]) -> Linearised:
        """Return J in the box of ``radius`` (volts) around ``voltages``."""
        ...


def verified(
    solve: Callable[[Nodes], Nodes],
    image: Callable[[Nodes], tuple[Nodes, Nodes]],
    diagonal: Nodes,
    currents: Nodes,
    rounding: float,
) -> Nodes:
    """Return a bound y/s of |M⁻¹ c|, volts, for all |c| <= ``currents`` (A): M y >= s·c, s > 0, M without positive off-diagonals.

    ``solve``: M⁻¹, unverified. ``image``: M y, and the sum of its terms' magnitudes. ``diagonal`` of M, 0 at
    fixed nodes. ``rounding``: relative error of a sum; that of M y is added to the requirement. Infinite if no s is
    found.
    """
    asked = np.where(diagonal > 0, currents, 0.0).astype(np.float64)
    first = np.abs(solve(asked)).max(axis=1, keepdims=True, initial=0.0)
    asked = asked + SLACK * rounding * np.where(diagonal > 0, diagonal, 0.0) * first
    found = np.maximum(solve(asked), 0.0)
    product, terms = image(found)
    share = np.where(asked > 0, (product - rounding * terms) / asked, 1.0)
    least = np.minimum(np.nan_to_num(share, nan=-1.0).min(axis=1, keepdims=True, initial=1.0), 1.0)
    return np.where(least > 0, found / np.where(least > 0, least, 1.0), np.inf)


def allowance(dtype: np.dtype[Any], tolerance: float, scale: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """Return the largest error of a converged voltage, volts; ``scale`` is each circuit's largest voltage."""
    return np.maximum(ERROR[dtype], tolerance) * np.maximum(scale.astype(np.float64), 1.0)


def prove(
    circuit: Provable,
    status: Shaped[Array, " batch"],
    allowed: Float[Array, " batch"],
    *,
    mend: bool = False,
) -> Nodes:
    """Set ``status`` to ILL_CONDITIONED for CONVERGED samples that cannot be proven to be within ``allowed`` volts.

    ``mend``: take Newton steps towards the equilibrium if they help. Returns the voltages, which are ``circuit.given``
    unless they were improved.
    """
    voltages = circuit.given
    open_: Array = np.flatnonzero((status == Status.CONVERGED) & ~(circuit.quick() <= allowed))
    with np.errstate(all="ignore"):
        for precision in circuit.precisions:
            if not open_.size:
                return voltages
            some, v, most = circuit.select(open_), voltages[open_], allowed[open_]
            bound, step = error_bound(some, v, most, precision)
            if mend and precision == circuit.precisions[-1]:
                moved, bound = _mended(some, v, step, bound, most, precision)
                voltages = voltages.copy()
                voltages[open_] = np.where((bound <= most)[:, None], moved, v)
            open_ = open_[~(bound <= most)]
    status[open_] = Status.ILL_CONDITIONED
    return voltages


def _mended(
    circuit: Provable, v: Nodes, step: Nodes, bound: Array, allowed: Array, precision: np.dtype[Any]
) -> tuple[Nodes, Float[Array, " batch"]]:
    for _ in range(ROUNDS):
        moving = np.flatnonzero(~(bound <= allowed) & np.isfinite(step).all(axis=1))
        if not moving.size:
            break
        ahead = (v[moving] + step[moving]).astype(v.dtype)
        left, following = error_bound(circuit.select(moving), ahead, allowed[moving], precision)
        v, step, bound = v.copy(), step.copy(), bound.copy()
        v[moving], step[moving], bound[moving] = ahead, following, left
    return v, bound


def error_bound(
    circuit: Provable, voltages: Nodes, allowed: Float[Array, " batch"], precision: np.dtype[Any]
) -> tuple[Float[Array, " batch"], Nodes]:
    """Return a bound of |v* - v|, volts, infinite if none of at most ``allowed`` is found, and the Newton step towards v*."""
    currents, rounding = circuit.currents(voltages, precision)
    bound, radius = np.full(len(voltages), np.inf), allowed
    best = np.zeros(voltages.shape)
    for _ in range(2):  # a smaller box excludes the kinks of piecewise laws
        linear = circuit.linearised(voltages, radius)
        step = linear.solve(currents)
        left = linear.left(currents, step) + rounding
        signed = (np.abs(step) + linear.reach(left + linear.spread)).max(axis=1, initial=0.0)
        found = np.minimum(np.nan_to_num(signed, nan=np.inf), linear.unsigned(currents, rounding))
        bound = np.where(found <= radius, np.minimum(bound, found), bound)
        best = step
        if (bound <= allowed).all():
            break
        radius = np.minimum(allowed, BOX * (np.abs(step) + linear.reach(left)).max(axis=1, initial=0.0))
    return bound, best
