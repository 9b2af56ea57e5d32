"""The likelihood of readings under a pulse law with noise: an assumed-density filter along every sequence of readings.

State: the conductance, G ← clip(move(G, n) + σ_c √|n| (G_max - G_min) ξ) as in devices.conductance.pulses.
Reading: G + σ_r ξ.
The density of a reading is exact for a state that was normal before the pulses: a part at each end of the window, and a
normal part between. After the reading, the state is approximated as normal, with the mean and variance of these three
parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, ndtr

from eqprop_analog.devices.conductance.fitting.readings import Readings
from eqprop_analog.devices.conductance.pulses import PulseLaw

Array = np.ndarray
Steps = Float[Array, "pieces steps"]

RESOLUTION = 2e-4
"""Smallest standard deviation of a reading and of a pulse, relative to the range of readings, for numerical reasons."""
CERTAIN = 0.99
_LOG_ROOT = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A law with all parameters of the readings; ``factor``, ``lowest`` and ``highest`` have one entry per device."""

    law: PulseLaw
    factor: Float[Array, " devices"]
    """Factor on the number of pulses of each device."""
    lowest: Float[Array, " devices"]
    """Siemens."""
    highest: Float[Array, " devices"]
    """Siemens."""
    cycle_noise: float
    """σ_c, as a fraction of the window."""
    reading_noise: float
    """σ_r, siemens."""
    width_exponent: float = 1.0
    """θ: a pulse of w times the usual width counts as w^θ pulses."""

    def pulses(self, readings: Readings) -> Steps:
        """Return effective numbers of pulses between two readings."""
        counted = readings.polarity * self.factor[readings.device][:, None]
        return counted * readings.width**self.width_exponent if readings.widths_vary else counted


@dataclass(frozen=True, eq=False)
class Filtered:
    """The filter's results for every step."""

    density: Steps
    """ln of the probability density of the reading, given all previous ones, in units of the range of readings."""
    missed: Steps
    """Reading minus prediction, siemens."""
    variance: Steps
    """Variance of the reading about its prediction, siemens²."""
    at_end: Float[Array, "two pieces steps"]
    """Information on the lower and the upper end of the window: 1 over the variance of a reading if the state is certainly
    (CERTAIN) at that end, else 0."""
    off_end: Float[Array, "two pieces steps"]
    """The corresponding derivative of ``density`` with respect to that end.

    Both are in units of the range of readings.
    """


def filtered(candidate: Candidate, readings: Readings) -> Filtered:
    """Filter all sequences at once, step by step; every sequence begins at its first reading."""
    with np.errstate(all="ignore"):  # far outside the window
        return _filtered([candidate], readings, moments=True)[0]


def densities(candidates: Sequence[Candidate], readings: Readings) -> list[Filtered]:
    """Filter several candidates of one law, without ``missed`` and ``variance``, at little more than the cost of one."""
    return _filtered(candidates, readings, moments=False)


def _filtered(candidates: Sequence[Candidate], readings: Readings, *, moments: bool) -> list[Filtered]:
    """Filter the stacked sequences of all candidates."""
    scale, law, count = float(np.ptp(readings.conductance)), candidates[0].law, len(readings.device)
    pulses = np.concatenate([each.pulses(readings) for each in candidates])
    low = np.concatenate([each.lowest[readings.device] for each in candidates]) / scale
    high = np.concatenate([each.highest[readings.device] for each in candidates]) / scale
    cycle = np.repeat([each.cycle_noise for each in candidates], count)
    noise = (cycle * (high - low))[:, None] ** 2 * np.abs(pulses) + RESOLUTION**2
    read = np.repeat([(each.reading_noise / scale) ** 2 + RESOLUTION**2 for each in candidates], count)
    seen = np.tile(readings.conductance / scale, (len(candidates), 1))
    state, spread = np.clip(seen[:, 0], low, high), read.copy()
    nudge = 1e-4 * (high - low) * np.where(state > (low + high) / 2, -1, 1)
    found = Filtered(*(np.zeros_like(pulses) for _ in range(3)), *(np.empty((2, *pulses.shape)) for _ in range(2)))
    ends = np.stack([low, high])
    both = np.empty((2, len(state)))
    for k in range(pulses.shape[1]):
        both[0], both[1] = state, state + nudge
        law.move(both, np.broadcast_to(pulses[:, k], both.shape), low, high)
        slope = (both[1] - both[0]) / nudge
        ahead, own = both[0], slope * slope * spread + noise[:, k]
        if moments:
            mean, variance = _clipped(ahead, own, low, high)
            found.missed[:, k], found.variance[:, k] = seen[:, k + 1] - mean, variance + read
        found.density[:, k], state, spread, weights = _read(seen[:, k + 1], (ahead, own), read, (low, high))
        certain = (weights > CERTAIN) / read
        found.at_end[:, :, k] = certain
        found.off_end[:, :, k] = weights * (seen[:, k + 1] - ends) * certain
    found.missed[...] *= scale
    found.variance[...] *= scale**2
    parts = [slice(begin, begin + count) for begin in range(0, len(seen), count)]
    return [
        Filtered(
            found.density[part], found.missed[part], found.variance[part], found.at_end[:, part], found.off_end[:, part]
        )
        for part in parts
    ]


def _clipped(mean: Array, variance: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return mean and variance of a normal variable clipped to [low, high]."""
    sigma = np.sqrt(variance)
    a, b = np.clip((low - mean) / sigma, -30, 30), np.clip((high - mean) / sigma, -30, 30)
    below, above = ndtr(a), ndtr(-b)
    at_a, at_b = np.exp(-0.5 * a * a - _LOG_ROOT), np.exp(-0.5 * b * b - _LOG_ROOT)
    first = a * below + b * above + at_a - at_b
    second = a * a * below + b * b * above + (1 - below - above) + a * at_a - b * at_b
    inside = np.clip(mean + sigma * first, low, high)
    return inside, variance * np.maximum(second - first * first, 0)


def _read(
    reading: Array, ahead: tuple[Array, Array], read: Array, ends: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array]:
    """Return (ln of the density of a reading; mean and variance of the state after it; probabilities of both ends).

    ``ahead``: mean and variance of the state before it is clipped to the window; ``read``: variance of the reading
    noise.
    """
    (mean, variance), (low, high) = ahead, ends
    sigma, total = np.sqrt(variance), variance + read
    middle = (mean * read + reading * variance) / total
    width = np.sqrt(variance * read / total)
    a, b = (low - middle) / width, (high - middle) / width
    inside = np.maximum(ndtr(b) - ndtr(a), 1e-300)
    at_a, at_b = np.exp(-0.5 * a * a - _LOG_ROOT) / inside, np.exp(-0.5 * b * b - _LOG_ROOT) / inside
    parts = np.stack(
        [
            log_ndtr((low - mean) / sigma) - 0.5 * ((reading - low) ** 2 / read + np.log(read)),
            log_ndtr((mean - high) / sigma) - 0.5 * ((reading - high) ** 2 / read + np.log(read)),
            np.log(inside) - 0.5 * ((reading - mean) ** 2 / total + np.log(total)),
        ]
    )
    largest = parts.max(axis=0)
    weights = np.exp(parts - largest)
    norm = weights.sum(axis=0)
    weights /= norm
    between = np.clip(middle + width * (at_a - at_b), low, high)
    shape = 1 + a * at_a - b * at_b - (at_a - at_b) ** 2
    centres = np.stack([low, high, between])
    state = (weights * centres).sum(axis=0)
    spread = (weights * (centres - state) ** 2).sum(axis=0) + weights[2] * width**2 * np.clip(shape, 0, 1)
    return largest + np.log(norm) - _LOG_ROOT, state, spread, weights[:2]
