"""A monotone table from a monotone curve: the table has more knots where the PCHIP curve bends."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.characterization.curve import Ordered
from eqprop_analog.devices import Tabulated
from eqprop_analog.errors import UserError

Array = np.ndarray

TOLERANCE = 1e-3
"""Largest relative distance between the table and the PCHIP curve."""
DECADES = 1e-9
"""Fraction of the largest current at which the interpolation scale changes from linear to logarithmic."""
LEAST_SCALE = 1e-18
"""Amperes."""
SUBDIVISION = 64
"""Number of points in every interval at which the table is compared with the curve."""
MOST_KNOTS = 5000


@dataclass(frozen=True, eq=False)
class Table:
    """Knots, and how well they represent the points."""

    law: Tabulated
    """The law with its rail at 0 V."""
    at_points: Float[Array, " points"]
    """The table's current at every measured voltage, amperes."""
    largest_residual: float
    """Largest |I_table - I_measured|, amperes."""
    largest_relative: float
    """Largest |I_table/I_measured - 1| where |I_measured| is above the scale."""
    left_out: float
    """Median relative error of interpolation: every second point is left out and predicted by a table of the others."""

    def figures(self) -> dict[str, Any]:
        """Return the quality of the table, for a file."""
        return {
            "knots": len(self.law.voltages),
            "largest_residual_amperes": self.largest_residual,
            "largest_relative_residual": self.largest_relative,
            "median_relative_error_at_points_left_out": self.left_out,
        }


def tabulate(points: Ordered, tolerance: float = TOLERANCE, floor: float = 0.0) -> Table:
    """Make a table through ``points``, within ``tolerance`` (relative) of the monotone curve (PCHIP) through them.

    The curve is PCHIP in asinh(I/I_0), linear in the current below I_0 and logarithmic above, so that exponentials are
    straight lines. I_0 is ``floor`` (A), or 1e-9 of the largest current. Raises UserError for a tolerance that needs
    too many knots.
    """
    if not 1e-6 <= tolerance <= 0.5:
        raise UserError(f"tolerance: expected 1e-6 to 0.5, relative, got {tolerance:g}")
    v, i = points.voltage, points.current
    if i[0] == i[-1]:
        raise UserError(
            f"the current is {i[0]:g} A at every voltage from {v[0]:g} to {v[-1]:g} V; expected a rising current: is "
            "it the right column?"
        )
    scale = max(LEAST_SCALE, floor, DECADES * float(np.abs(i).max()))
    fine, along = _curve(v, i, scale)
    knots = _fewest(fine, along, tolerance * np.maximum(np.abs(along), scale))
    if len(knots) > MOST_KNOTS:
        raise UserError(
            f"tolerance: {tolerance:g} needs {len(knots)} knots, more than {MOST_KNOTS}; use a larger tolerance"
        )
    law = Tabulated(tuple(fine[knots].tolist()), tuple(along[knots].tolist()))
    at_points = -law.current(-v)
    residual = np.abs(at_points - points.measured)
    large = np.abs(points.measured) > max(scale, 10 * floor)
    relative = residual[large] / np.abs(points.measured[large])
    return Table(law, at_points, float(residual.max()), float(relative.max(initial=0)), _left_out(v, i, scale))


def _curve(v: Array, i: Array, scale: float) -> tuple[Array, Array]:
    """Voltages and currents along the monotone curve through the points, at SUBDIVISION points in every interval."""
    from scipy.interpolate import PchipInterpolator

    bends = PchipInterpolator(v, np.arcsinh(i / scale))
    inside = np.linspace(v[:-1], v[1:], SUBDIVISION, endpoint=False).T.ravel()
    fine = np.append(inside, v[-1])
    along = scale * np.sinh(bends(fine))
    along[::SUBDIVISION] = i  # the points themselves, bit for bit
    return fine, np.maximum.accumulate(along)


def _fewest(v: Array, i: Array, allowed: Array) -> list[int]:
    """Indices of knots, each as far from the previous one as a straight line stays within ``allowed`` of the curve."""
    knots, last = [0], len(v) - 1
    while knots[-1] < last:
        begin = knots[-1]

        def fits(end: int, begin: int = begin) -> bool:
            between = slice(begin, end + 1)
            line = i[begin] + (v[between] - v[begin]) * ((i[end] - i[begin]) / (v[end] - v[begin]))
            return bool((np.abs(line - i[between]) <= allowed[between]).all())

        step = 1
        while begin + 2 * step <= last and fits(begin + 2 * step):
            step *= 2
        low, high = begin + step, min(begin + 2 * step, last)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        knots.append(high if high > low and fits(high) else low)
    return knots


def _left_out(v: Array, i: Array, scale: float) -> float:
    """Compute Table.left_out; NaN for fewer than ten points."""
    if len(v) < 10:
        return float("nan")
    from scipy.interpolate import PchipInterpolator

    guessed = scale * np.sinh(PchipInterpolator(v[::2], np.arcsinh(i[::2] / scale))(v[1::2]))
    inside = (v[1::2] < v[::2][-1]) & (np.abs(i[1::2]) > scale)
    error = np.abs(guessed[inside] / i[1::2][inside] - 1)
    return float(np.median(error)) if error.size else float("nan")
