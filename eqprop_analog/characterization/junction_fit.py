"""I_S, n and R_S of a junction from its forward curve, by weighted least squares, with their confidence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.characterization.curve import Curve, Noise, branches
from eqprop_analog.devices import DiodeWithResistance, Law, NgspiceDiode
from eqprop_analog.devices.diode_rs import SERIES_RESISTANCES
from eqprop_analog.devices.exponential import thermal_voltage
from eqprop_analog.devices.law import EMISSIONS, SATURATION_CURRENTS
from eqprop_analog.errors import UserError

Array = np.ndarray

FEWEST = 5
"""Smallest number of forward points."""
LEAST_RELATIVE = 1e-3
"""Smallest relative error of a measured current, which weights the points if no noise is stated."""
USELESS = 0.5
"""Median relative residual above which a fit is refused."""
LARGE = 0.1
"""Median relative residual above which the curve is not that of a junction."""
NEIGHBOURS = 5
"""Number of points over which the difference of two branches is smoothed by its median."""
SCATTERED = 3.0
"""Multiple of the scatter of that difference above which it is hysteresis and not noise."""
OUTLYING = 8.0
"""Multiple of the median relative residual above which a point is reported, if no noise is stated."""
CONFIDENCE = 0.95
NAMES = ("saturation_current", "emission", "series_resistance")
UNITS = {"saturation_current": "A", "emission": "", "series_resistance": "ohm"}


@dataclass(frozen=True, eq=False)
class JunctionFit:
    """The law and how well it fits the forward points."""

    law: Law
    """The law with its rail at 0 V."""
    intervals: dict[str, tuple[float, float]]
    """Confidence interval (95 %) of each parameter, in its unit; from the residuals, Student's t."""
    used: Bool[Array, " points"]
    """Points of the curve that were fitted: V > 0 and I above the noise."""
    model: Float[Array, " points"]
    """The law's current at every point of the curve, amperes."""
    largest_residual: float
    """Largest |I_model - I| of the points used, amperes."""
    median_relative: float
    """Median |I_model/I - 1| of the points used."""
    largest_relative: float
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return the quality of the fit, for a file."""
        return {
            "points": int(self.used.sum()),
            "largest_residual_amperes": self.largest_residual,
            "median_relative_residual": self.median_relative,
            "largest_relative_residual": self.largest_relative,
            "confidence": CONFIDENCE,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
        }


def fit_junction(curve: Curve, noise: Noise, celsius: float) -> JunctionFit:
    """I(V) of devices.diode_rs, or of devices.diode where R_S cannot be told from 0, by least squares of the forward points.

    Each point is weighted by the stated noise, or by 0.1 % of its current if that is larger, so that relative residuals
    count. Raises UserError if there are too few forward points, the fit does not converge, or the branches of a sweep
    up and down differ by more than the stated noise. If no noise is stated, a note says that they differ.
    """
    used = (curve.voltage > 0) & (curve.current > 3 * noise.absolute)
    if used.sum() < FEWEST:
        raise UserError(
            f"{curve.source}: a junction is fitted to points with V > 0 and I > 0 (above three times the noise); "
            f"expected {FEWEST} or more, got {int(used.sum())}. Is the current counted from anode to cathode?"
        )
    v, i = curve.voltage[used], curve.current[used]
    sigma = np.hypot(noise.absolute, max(noise.relative, LEAST_RELATIVE) * i)
    start = _start(v, i, celsius)
    found, covariance = _least_squares(v, i, sigma, start, celsius, resistance=True)
    spread = _t_quantile(len(v) - 3) * np.sqrt(np.diag(covariance))
    notes = []
    if found[2] - spread[2] <= 0:
        most = (found[2] + spread[2]) * v.max() / i.max()
        notes.append(
            f"the series resistance cannot be told from 0 (below {most:.3g} ohm); the law has no series resistance"
        )
        found, covariance = _least_squares(v, i, sigma, found, celsius, resistance=False)
        spread = np.append(_t_quantile(len(v) - 2) * np.sqrt(np.diag(covariance)), 0)
    law = _law(found, v.max() / i.max(), celsius)
    model = -law.current(-curve.voltage)
    residual, relative = np.abs(model[used] - i), np.abs(model[used] / i - 1)
    different = _hysteresis(curve, np.flatnonzero(used), model, noise)
    if different and (noise.absolute or noise.relative):
        raise UserError(
            f"{curve.source}: {different}, which is more than the stated noise ({noise}); keep one branch of the "
            "sweep, measure more slowly, or state the noise by --noise and --relative-noise"
        )
    if different:
        notes.append(
            f"{different}; the fitted law lies between the two. Keep one branch of the sweep, or measure more slowly"
        )
    if np.median(relative) > USELESS:
        raise UserError(
            f"{curve.source}: {different + '; ' if different else ''}this is not the curve of a junction: the best "
            f"fit deviates by {100 * np.median(relative):.0f} % (median over {len(v)} forward points); expected I = "
            "I_S (exp(V/nV_T) - 1) in series with a resistance. `eqprop-analog device table` makes a law of any "
            "monotone curve"
        )
    if np.median(relative) > LARGE:
        notes.append(
            f"the median relative residual is {100 * np.median(relative):.0f} %: this is not the curve of a "
            "junction; `eqprop-analog device table` makes a law of any monotone one"
        )
    if not (noise.absolute or noise.relative) and relative.max() > max(LARGE, OUTLYING * float(np.median(relative))):
        k = int(np.flatnonzero(used)[np.argmax(relative)])
        notes.append(
            f"{curve.at(k)}: the current at {curve.voltage[k]:.3g} V differs from the law by {100 * relative.max():.0f} %; "
            "state the noise of the measurement by --noise, so that points within the noise do not distort the fit"
        )
    return JunctionFit(
        law,
        _intervals(found, spread, v.max() / i.max()),
        used,
        model,
        float(residual.max()),
        float(np.median(relative)),
        float(relative.max()),
        tuple(notes),
    )


def _hysteresis(curve: Curve, used: Int[Array, " some"], model: Float[Array, " points"], noise: Noise) -> str:
    """Describe where the first branch of a sweep and another one differ most; empty if they agree within the noise.

    The residuals of the law are compared, because they can be interpolated.
    """
    off = np.zeros(len(model))
    off[used] = np.log(curve.current[used] / model[used])
    parts = [part for piece in branches(curve.voltage[used]) if len(part := used[piece]) >= NEIGHBOURS]
    worst, found = 0.0, ""
    for part in parts[1:]:
        first, at = np.unique(curve.voltage[parts[0]], return_index=True)
        inside = part[(curve.voltage[part] >= first[0]) & (curve.voltage[part] <= first[-1])]
        if len(inside) < NEIGHBOURS:
            continue
        apart = off[inside] - np.interp(curve.voltage[inside], first, off[parts[0][at]])
        near = np.lib.stride_tricks.sliding_window_view(apart, NEIGHBOURS)
        points, middle = inside[NEIGHBOURS // 2 :][: len(near)], np.median(near, axis=1)
        scatter = np.maximum(np.median(np.abs(near - middle[:, None]), axis=1), np.median(np.abs(np.diff(apart))))
        allowed = 2 * np.maximum(noise.of(curve.current[points]) / curve.current[points], LEAST_RELATIVE)
        beyond = np.abs(middle) - np.maximum(allowed, SCATTERED * scatter)
        k = int(np.argmax(beyond))
        if beyond[k] > worst:
            worst, percent = float(beyond[k]), 100 * float(np.expm1(middle[k]))
            one, other = (f"lines {curve.lines[each[0]]} to {curve.lines[each[-1]]}" for each in (parts[0], part))
            found = (
                f"hysteresis: at {curve.voltage[points[k]]:.3g} V the current is {abs(percent):.2g} % "
                f"{'larger' if percent > 0 else 'smaller'} in {other} than in {one}"
            )
    return found


def _start(v: Array, i: Array, celsius: float) -> Array:
    """(ln I_S, n, R_S in units of the largest voltage over the largest current), from the steepest part of ln I."""
    order = np.argsort(v)
    v, i = v[order], i[order]
    width = max(2, len(v) // 4)
    steepness = (np.log(i[width:]) - np.log(i[:-width])) / np.maximum(v[width:] - v[:-width], 1e-12)
    k = int(np.argmax(steepness))
    n = float(np.clip(1 / (thermal_voltage(celsius) * max(steepness[k], 1e-3)), 0.5, 50))
    middle = k + width // 2
    log_current = np.log(i[middle]) - v[middle] / (n * thermal_voltage(celsius))
    across = n * thermal_voltage(celsius) * (np.log(i[-1]) - log_current)
    return np.array([log_current, n, np.clip((v[-1] - across) / v[-1], 1e-3, 0.9)])


def _law(x: Array, unit: float, celsius: float) -> Law:
    current = float(np.clip(np.exp(x[0]), *SATURATION_CURRENTS))
    resistance = float(x[2] * unit)
    if resistance < SERIES_RESISTANCES[0]:
        return NgspiceDiode(current, float(x[1]), 0.0, celsius)
    return DiodeWithResistance(current, float(x[1]), resistance, 0.0, celsius)


def _least_squares(
    v: Array, i: Array, sigma: Array, start: Array, celsius: float, *, resistance: bool
) -> tuple[Array, Array]:
    """(ln I_S, n, R_S in its unit) and the covariance of the free ones, scaled by the residuals."""
    from scipy.optimize import least_squares

    free = 3 if resistance else 2
    unit = float(v.max() / i.max())
    additive = not np.allclose(sigma / i, sigma[0] / i[0])

    def residuals(x: Array) -> Array:
        law = _law(np.append(x, np.zeros(3 - free)), unit, celsius)
        with np.errstate(all="ignore"):
            current = -law.current(-v)
            # Without additive noise the logarithm is fitted: one point in an unknown noise floor then distorts the fit less.
            off = (current - i) / sigma if additive else np.log(current / i) * i / sigma
            return np.nan_to_num(np.clip(off, -1e9, 1e9), nan=1e9)

    low, high = np.log(SATURATION_CURRENTS)
    bounds = np.array([[low, high], [max(EMISSIONS[0], 0.05), EMISSIONS[1]], [0, 1]])[:free]
    begin = np.clip(start[:free], bounds[:, 0] + 1e-9, bounds[:, 1] - 1e-9)
    found = least_squares(residuals, begin, bounds=bounds.T, x_scale=[1, 0.1, 0.1][:free], loss="linear", max_nfev=2000)
    if not found.success or not np.isfinite(found.x).all():
        raise UserError(
            f"the fit of a junction did not converge ({found.message}); use `device table`, which accepts any "
            "monotone curve"
        )
    scale = 2 * found.cost / max(len(v) - free, 1)
    least = SERIES_RESISTANCES[0] / unit
    if resistance and found.x[2] < least:  # the law has no resistance there, so no residual depends on it
        return np.array([found.x[0], found.x[1], least]), np.diag([0, 0, least**2])
    try:
        covariance = scale * np.linalg.inv(found.jac.T @ found.jac)
    except np.linalg.LinAlgError as error:
        raise UserError(
            "the points do not determine I_S, n and R_S: measure over more decades of current, or use `device table`"
        ) from error
    return np.append(found.x, np.zeros(3 - free)), covariance


def _intervals(x: Array, spread: Array, unit: float) -> dict[str, tuple[float, float]]:
    low, high = x - spread, x + spread
    current = float(np.exp(low[0])), float(np.exp(min(high[0], 700)))
    intervals = {"saturation_current": current, "emission": (float(low[1]), float(high[1]))}
    if x[2] > 0:
        intervals["series_resistance"] = float(max(low[2], 0) * unit), float(high[2] * unit)
    return intervals


def _t_quantile(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, max(freedom, 1)))
