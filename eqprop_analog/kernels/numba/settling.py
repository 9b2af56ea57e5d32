"""Sweeps of coordinate descent, compiled: source currents of the first layer, and products with crossbars, layer by layer."""
# ruff: noqa: PLR0913, PLR0917, C901, PLR0912 - a compiled function takes arrays and not objects

import math
from typing import Any

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.kernels.numba.jit import BLAS_SAMPLES, NARROW, compiled
from eqprop_analog.kernels.numba.nodes import solve_nodes

Array = np.ndarray


@compiled
def gather_nonzero(
    inputs: Array,
    gain: float,
    rows: Array,
    volts: Array,
    counts: Array,
    samples: Array,
    weights: Array,
    row_counts: Array,
) -> None:
    """Collect the inputs other than 0 V: rows and volts by sample, samples and weights (volts) by row, padded with zeros."""
    batch, size = inputs.shape
    for i in range(size):
        row_counts[i] = 0
    for b in range(batch):
        count = 0
        for i in range(size):
            volt = inputs[b, i] * gain
            here = volt != 0
            rows[b, count], volts[b, count] = i, volt  # without a branch: the next value overwrites a zero
            samples[i, row_counts[i]], weights[i, row_counts[i]] = b, volt
            count += here
            row_counts[i] += here
        counts[b] = count
        for k in range(count, count + 3):
            rows[b, k], volts[b, k] = 0, 0
    for i in range(size):
        for k in range(row_counts[i], row_counts[i] + 3):
            samples[i, k], weights[i, k] = 0, 0


@compiled
def drive(rows: Array, volts: Array, counts: Array, bias_row: float, G: Array, bias: Array, source: Array) -> None:
    """Source current x (G⁺ - G⁻) + b over the nonzero rows, four at a time."""
    half = G.shape[0] // 2
    for b in range(len(source)):
        for j in range(G.shape[1]):
            source[b, j] = bias[j]
        if bias_row != 0:
            for j in range(G.shape[1]):
                source[b, j] += bias_row * G[2 * half, j]
        for k in range(0, counts[b], 4):
            i0, i1, i2, i3 = rows[b, k], rows[b, k + 1], rows[b, k + 2], rows[b, k + 3]
            x0, x1, x2, x3 = volts[b, k], volts[b, k + 1], volts[b, k + 2], volts[b, k + 3]
            for j in range(G.shape[1]):
                source[b, j] += (
                    x0 * (G[i0, j] - G[half + i0, j])
                    + x1 * (G[i1, j] - G[half + i1, j])
                    + x2 * (G[i2, j] - G[half + i2, j])
                    + x3 * (G[i3, j] - G[half + i3, j])
                )


@compiled
def _spread(v: Array, gain: float, G: Array, out: Array) -> None:
    """Add gain · v G to ``out``."""
    samples, rows = v.shape
    if samples >= BLAS_SAMPLES and G.shape[1] >= NARROW and rows >= NARROW:
        out += gain * np.dot(v, G)
        return
    for i in range(0, rows - 3, 4):
        for b in range(0, samples - 1, 2):
            x0, x1, x2, x3 = gain * v[b, i], gain * v[b, i + 1], gain * v[b, i + 2], gain * v[b, i + 3]
            c = b + 1
            y0, y1, y2, y3 = gain * v[c, i], gain * v[c, i + 1], gain * v[c, i + 2], gain * v[c, i + 3]
            for j in range(G.shape[1]):
                g0, g1, g2, g3 = G[i, j], G[i + 1, j], G[i + 2, j], G[i + 3, j]
                out[b, j] += x0 * g0 + x1 * g1 + x2 * g2 + x3 * g3
                out[c, j] += y0 * g0 + y1 * g1 + y2 * g2 + y3 * g3
        if samples % 2:
            b = samples - 1
            x0, x1, x2, x3 = gain * v[b, i], gain * v[b, i + 1], gain * v[b, i + 2], gain * v[b, i + 3]
            for j in range(G.shape[1]):
                out[b, j] += x0 * G[i, j] + x1 * G[i + 1, j] + x2 * G[i + 2, j] + x3 * G[i + 3, j]
    for i in range(rows - rows % 4, rows):
        for b in range(samples):
            x0 = gain * v[b, i]
            for j in range(G.shape[1]):
                out[b, j] += x0 * G[i, j]


@compiled
def _gather(v: Array, gain: float, G: Array, out: Array) -> None:
    """Add gain · v Gᵀ to ``out``."""
    samples, columns = v.shape
    rows = G.shape[0]
    if samples >= BLAS_SAMPLES and columns >= NARROW and rows >= NARROW:
        out += gain * np.dot(v, G.T)
        return
    zero = G.dtype.type(0)
    for i in range(0, rows - 3, 4):
        for b in range(0, samples - 1, 2):
            c = b + 1
            p0, p1, p2, p3, q0, q1, q2, q3 = zero, zero, zero, zero, zero, zero, zero, zero
            for j in range(columns):
                x, y = v[b, j], v[c, j]
                p0 += G[i, j] * x
                p1 += G[i + 1, j] * x
                p2 += G[i + 2, j] * x
                p3 += G[i + 3, j] * x
                q0 += G[i, j] * y
                q1 += G[i + 1, j] * y
                q2 += G[i + 2, j] * y
                q3 += G[i + 3, j] * y
            out[b, i] += gain * p0
            out[b, i + 1] += gain * p1
            out[b, i + 2] += gain * p2
            out[b, i + 3] += gain * p3
            out[c, i] += gain * q0
            out[c, i + 1] += gain * q1
            out[c, i + 2] += gain * q2
            out[c, i + 3] += gain * q3
        if samples % 2:
            b = samples - 1
            p0, p1, p2, p3 = zero, zero, zero, zero
            for j in range(columns):
                x = v[b, j]
                p0 += G[i, j] * x
                p1 += G[i + 1, j] * x
                p2 += G[i + 2, j] * x
                p3 += G[i + 3, j] * x
            out[b, i] += gain * p0
            out[b, i + 1] += gain * p1
            out[b, i + 2] += gain * p2
            out[b, i + 3] += gain * p3
    for i in range(rows - rows % 4, rows):
        for b in range(samples):
            p0 = zero
            for j in range(columns):
                p0 += G[i, j] * v[b, j]
            out[b, i] += gain * p0


@compiled
def settle(
    sweeps: int,
    node: Any,
    polarities: Layers,
    crossbars: Layers,
    transposed: Array,
    gains: Array,
    inverse_gains: Array,
    biases: Layers,
    totals: Layers,
    source: Array,
    nudge: Array,
    current: Array,
    voltages: Layers,
) -> bool:
    """Do sweeps of coordinate descent in place (see networks.resistive.coordinate_descent); return whether outputs are finite."""
    depth = len(voltages)
    for _ in range(sweeps):
        for parity in range(2):
            for l in range(parity, depth, 2):
                v = voltages[l]
                for b in range(len(v)):
                    for j in range(v.shape[1]):
                        v[b, j] = source[b, j] if l == 0 else biases[l][j]
                if l > 0:
                    if transposed[l - 1]:
                        _gather(voltages[l - 1], gains[l], crossbars[l - 1], v)
                    else:
                        _spread(voltages[l - 1], gains[l], crossbars[l - 1], v)
                if l < depth - 1:
                    if transposed[l]:
                        _spread(voltages[l + 1], inverse_gains[l + 1], crossbars[l], v)
                    else:
                        _gather(voltages[l + 1], inverse_gains[l + 1], crossbars[l], v)
                    for b in range(len(v)):
                        solve_nodes(node, polarities[l], totals[l], v[b])
                else:
                    for b in range(len(v)):
                        for j in range(v.shape[1]):
                            v[b, j] = (v[b, j] + current[b, j]) / (totals[l][j] + nudge[b, 0])
    finite = True
    for output in voltages[depth - 1].flat:
        finite &= math.isfinite(output)
    return finite
