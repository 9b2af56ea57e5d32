"""The fit of one pulse law to readings: law, window and noise of all devices, and the deviations of each device.

The fit minimizes -ln of the filter's likelihood (likelihood.py) plus that of the devices' deviations, which are normal
with the spreads σ_f and σ_w. It uses scoring with the outer products of the steps' gradients. The spreads follow from
the deviations and their uncertainties (MacKay 1992, Neural Computation 4, 415). The deviations of a device affect only
its own readings, so that they are eliminated device by device.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.conductance.fitting.forms import Form
from eqprop_analog.devices.conductance.fitting.likelihood import Candidate, Filtered, densities
from eqprop_analog.devices.conductance.fitting.readings import Readings

Array = np.ndarray
Vector = Float[Array, " parameters"]
Own = Float[Array, "devices three"]

ITERATIONS = 60
ENOUGH = 1e-2
"""Gain of the log-likelihood below which two successive iterations end the fit."""
STEP = 1e-5
"""Step of finite differences, for parameters scaled to about 1."""
LEAST_SPREAD = 1e-3
LARGEST_SPREAD = 1.0
TIGHT = 1e12
"""Prior precision of parameters that are held fixed."""
LAST = 5
"""Number of parameters after those of the law: lowest, highest, ln σ_c, ln σ_r and θ."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """The estimate from the readings under one law."""

    form: Form
    shared: Vector
    covariance: Float[Array, "parameters parameters"]
    own: Own
    """ln f, and relative deviations of the two ends of the window, for every device."""
    own_variance: Own
    """Variances of these deviations."""
    spreads: Float[Array, " two"]
    """(σ_f, σ_w)."""
    spread_errors: Float[Array, " two"]
    loss: float
    """-ln of the probability of the readings, up to a constant."""
    adjusted: int
    """Number of shared parameters and spreads that were fitted."""
    scale: tuple[float, float]
    """(smallest reading, range of readings), siemens."""
    held: Float[Array, " parameters"]
    """1 for parameters that were held fixed, else 0."""

    def value(self, function: Callable[[Vector], float]) -> tuple[float, float]:
        """Return a function of the shared parameters and its standard error."""
        x = self.shared
        slope = np.array([(function(x + e) - function(x - e)) / (2 * STEP) for e in STEP * np.eye(len(x))])
        return function(x), float(np.sqrt(max(slope @ self.covariance @ slope, 0)))

    def candidate(self, shared: Vector | None = None, own: Own | None = None) -> Candidate:
        """Return the law and its devices, at other parameters if given."""
        x = self.shared if shared is None else shared
        u = self.own if own is None else own
        return candidate(self.form, x, u, self.scale)


def ends(x: Vector, scale: tuple[float, float]) -> tuple[float, float]:
    """(G_min, G_max), siemens."""
    low = max(scale[0] + scale[1] * float(x[-LAST]), 0.0)
    return low, max(scale[0] + scale[1] * float(x[1 - LAST]), low + 1e-3 * scale[1])


def cycle_noise(x: Vector) -> float:
    """σ_c, as a fraction of the window."""
    return float(np.exp(x[2 - LAST]))


def reading_noise(x: Vector, scale: tuple[float, float]) -> float:
    """σ_r, siemens."""
    return float(np.exp(x[3 - LAST])) * scale[1]


def candidate(form: Form, x: Vector, own: Own, scale: tuple[float, float]) -> Candidate:
    """Return the candidate with these parameters."""
    low, high = ends(x, scale)
    lowest = np.maximum(low * (1 + own[:, 1]), 0)
    highest = np.maximum(high * (1 + own[:, 2]), lowest + 1e-3 * scale[1])
    law = form.made(x[:-LAST])
    return Candidate(law, np.exp(own[:, 0]), lowest, highest, cycle_noise(x), reading_noise(x, scale), float(x[-1]))


def estimated(
    form: Form,
    begin: tuple[Vector, Own],
    readings: Readings,
    held: Vector,
    prior: Vector,
    near: Estimate | None = None,
) -> Estimate:
    """Find the best parameters, starting from ``begin`` (shared and individual ones).

    ``held``: which shared parameters are fixed. ``prior``: precision of a prior around the initial value of each, 0 for
    none. ``near``: a neighbouring estimate, whose spreads are kept.
    """
    values, _ = readings.every
    scale = float(values.min()), float(np.ptp(values))
    several = len(readings.names) > 1
    x, u = begin[0].copy(), begin[1] * several
    spreads = np.array([0.2, 0.05]) if several else np.zeros(2)
    if near is not None:
        spreads = near.spreads
    precision = prior + TIGHT * held
    problem = _Problem(form, readings, scale, begin[0], precision)
    state = problem.at(x, u, spreads)
    damping = 1e-3
    idle = 0
    for _ in range(ITERATIONS if near is None else ITERATIONS // 15):
        blocks = problem.scored(x, u, spreads, state)
        gained = 0.0
        for _ in range(8):
            dx, du = blocks.step(damping)
            moved = x + np.clip(dx, -2, 2), u + np.clip(du, -1, 1)
            there = problem.at(*moved, spreads)
            if there.loss < state.loss:
                gained, (x, u), state = state.loss - there.loss, moved, there
                damping = max(damping / 10, 1e-9)
                break
            damping = max(damping * 10, 1e-2)
        before = spreads
        if several and near is None:
            spreads = blocks.spreads(u, spreads)
            state = problem.at(x, u, spreads)
        settled = np.abs(np.log(np.maximum(spreads, 1e-9) / np.maximum(before, 1e-9))).max() < 0.02
        idle = idle + 1 if gained < ENOUGH and settled else 0
        if idle == 2:
            break
    blocks = problem.scored(x, u, spreads, state)
    covariance, own_variance = blocks.covariances()
    covariance *= np.outer(held == 0, held == 0)
    count = int((held == 0).sum() + 2 * several)
    return Estimate(
        form, x, covariance, u, own_variance, spreads, blocks.spread_errors(spreads), blocks.evidence(state.loss), count,
        scale, held,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _State:
    found: Filtered
    loss: float


@dataclass(frozen=True, eq=False)
class _Problem:
    form: Form
    readings: Readings
    scale: tuple[float, float]
    centre: Vector
    precision: Vector

    def filtered(self, *points: tuple[Vector, Own]) -> list[Filtered]:
        """Return the filter's results for points that share the parameters of the law."""
        with np.errstate(all="ignore"):
            return densities([candidate(self.form, *point, self.scale) for point in points], self.readings)

    def at(self, x: Vector, u: Own, spreads: Array) -> _State:
        (found,) = self.filtered((x, u))
        loss = -float(found.density[self.readings.there].sum())
        loss += 0.5 * float(np.sum(self.precision * (x - self.centre) ** 2)) + 0.5 * float(
            np.sum(u**2 * _weights(spreads))
        )
        return _State(found, loss if np.isfinite(loss) else np.inf)

    def scored(self, x: Vector, u: Own, spreads: Array, state: _State) -> "_Blocks":
        """Return the gradients of every step's log density, collected by device."""
        there = self.readings.there
        device = np.broadcast_to(self.readings.device[:, None], there.shape)[there]

        of_law = len(x) - LAST
        moved = [(x + e, u) for e in STEP * np.eye(len(x))]
        moved_own = [(x, u + e) for e in STEP * np.eye(3)] if spreads.any() else []
        found = [*(self.filtered(point)[0] for point in moved[:of_law]), *self.filtered(*moved[of_law:], *moved_own)]
        slopes = np.stack([(each.density - state.found.density)[there] / STEP for each in found], axis=-1)
        shared, own = slopes[:, : len(x)], slopes[:, len(x) :]
        pull = self.precision * (x - self.centre)
        low_high = np.array(ends(x, self.scale)) / self.scale[1]
        for end, value in enumerate(low_high):  # to full precision, because both are the same
            if own.size and value > STEP:
                shared[:, len(x) - LAST + end] = own[:, 1 + end] * (1 + u[device, 1 + end]) / value
        at_end, off_end = state.found.at_end[:, there], state.found.off_end[:, there]
        return _Blocks.of((shared, own, device), (low_high, at_end, off_end), u, spreads, self.precision, pull)


def _weights(spreads: Array) -> Array:
    """Return the precisions of a device's three deviations; 0 for a single device, whose deviations are 0."""
    found: Array = np.where(spreads > 0, 1 / np.maximum(spreads, 1e-12) ** 2, 0)[[0, 1, 1]]
    return found


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Normal equations: blocks of shared and individual parameters, and their coupling."""

    shared: Array
    """(m, m)."""
    joining: Array
    """(devices, m, k)."""
    own: Array
    """(devices, k, k), with the weights of the spreads."""
    data: Array
    """Diagonals of ``own`` without the weights."""
    right_shared: Array
    right_own: Array

    @classmethod
    def of(
        cls,
        slopes: tuple[Array, Array, Array],
        at_ends: tuple[Array, Array, Array],
        u: Own,
        spreads: Array,
        precision: Array,
        pull: Array,
    ) -> "_Blocks":
        """``slopes``: gradients of every step by shared and individual parameters, and its device; ``at_ends``: see Filtered.

        Outer products of gradients replace the curvature, except for a reading at an end of the window, whose gradient
        vanishes with its deviation: there it is the information on that end.
        """
        shared, own, device = slopes
        low_high, information, off = at_ends
        devices, k, m = len(u), own.shape[-1], shared.shape[-1]
        right_shared, inner_shared, inner_own = shared.sum(axis=0), shared.copy(), own.copy()
        for end, value in enumerate(low_high):
            inner_shared[:, m - LAST + end] -= off[end] * (1 + u[device, 1 + end])
            if k:
                inner_own[:, 1 + end] -= off[end] * value
        joining, inner, right_own = (np.zeros((devices, *rest)) for rest in ((m, k), (k, k), (k,)))
        for number in range(devices if k else 0):
            rows = device == number
            a, b = inner_shared[rows], inner_own[rows]
            joining[number], inner[number], right_own[number] = a.T @ b, b.T @ b, own[rows].sum(axis=0)
            for end, value in enumerate(low_high):
                known = information[end][rows].sum()
                joining[number, m - LAST + end, 1 + end] += known * value * (1 + u[number, 1 + end])
                inner[number, 1 + end, 1 + end] += known * value**2
        weights = _weights(spreads)[:k]
        data = np.einsum("dkk->dk", inner).copy()
        right_own -= weights * u[:, :k]
        matrix = inner_shared.T @ inner_shared + np.diag(precision + 1e-9)
        for end in range(2):
            matrix[m - LAST + end, m - LAST + end] += (information[end] * (1 + u[device, 1 + end]) ** 2).sum()
        return cls(matrix, joining, inner + np.diag(weights), data, right_shared - pull, right_own)

    def step(self, damping: float) -> tuple[Array, Own]:
        """Return the changes of shared and individual parameters."""
        shared = self.shared + damping * np.diag(np.diag(self.shared))
        own = self.own * (1 + damping * np.eye(self.own.shape[-1]))
        if not own.size:
            return np.linalg.lstsq(shared, self.right_shared)[0], np.zeros((len(self.own), 3))
        folded = self.joining @ np.linalg.inv(own)
        schur = shared - np.einsum("dik,djk->ij", folded, self.joining)
        dx = np.linalg.lstsq(schur, self.right_shared - np.einsum("dik,dk->i", folded, self.right_own))[0]
        du = np.linalg.solve(own, (self.right_own - self.joining.transpose(0, 2, 1) @ dx)[..., None])[..., 0]
        return dx, du

    def covariances(self) -> tuple[Array, Own]:
        """Return the covariances of the shared parameters, and the variances of the individual ones."""
        if not self.own.size:
            return np.linalg.pinv(self.shared, hermitian=True), np.zeros((len(self.own), 3))
        inverse = np.linalg.inv(self.own)
        schur = self.shared - np.einsum("dik,dkl,djl->ij", self.joining, inverse, self.joining)
        return np.linalg.pinv(schur, hermitian=True), np.einsum("dkk->dk", inverse)

    def spreads(self, u: Own, before: Array) -> Array:
        """Return σ_f and σ_w as estimated from the deviations and their uncertainties."""
        variance = self.covariances()[1]
        found = []
        for number, columns in enumerate(([0], [1, 2])):
            known = np.maximum(1 - variance[:, columns] / before[number] ** 2, 1e-6).sum()
            sigma = np.sqrt((u[:, columns] ** 2).sum() / known)
            found.append(np.clip(sigma, max(LEAST_SPREAD, before[number] / 4), min(LARGEST_SPREAD, before[number] * 4)))
        return np.array(found)

    def spread_errors(self, spreads: Array) -> Array:
        """Return standard errors of σ_f and σ_w: û is normal with variance σ² + v, where v is that of a device's readings."""
        if not spreads.any():
            return np.zeros(2)
        errors = []
        for sigma, columns in zip(spreads, ([0], [1, 2]), strict=True):
            own = 1 / np.maximum(self.data[:, columns], 1e-12)
            information = 0.5 * (1 / (sigma**2 + own) ** 2).sum()
            errors.append(1 / np.sqrt(information) / (2 * sigma))
        return np.array(errors)

    def evidence(self, loss: float) -> float:
        """Return ``loss`` with the devices' deviations integrated out."""
        if not self.own.size:
            return loss
        weights = self.own[:, range(3), range(3)] - self.data
        return loss + 0.5 * float(np.linalg.slogdet(self.own)[1].sum() - np.log(weights).sum())
