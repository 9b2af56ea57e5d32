"""One step of all parameters against the contrast, compiled; one pass updates the conductances and their sums."""
# ruff: noqa: PLR0913, PLR0917 - a compiled function takes arrays and not objects

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.devices.formula import formula
from eqprop_analog.kernels.numba.jit import BLAS_SAMPLES, NARROW, compiled

Array = np.ndarray

ROWS_AT_ONCE = 64
"""Number of crossbar rows whose products are computed together, so that they are still in the cache when they are added."""


@formula
def clip(g: float, low: float, high: float) -> float:
    """Clip ``g`` to its bounds."""
    return min(max(g, low), high)


@compiled
def _own(step: float, v: Array, dv: Array) -> Array:
    """Σ_b v dv, times ``step``."""
    own = np.zeros(v.shape[1], v.dtype)
    for b in range(len(v)):
        for j in range(v.shape[1]):
            own[j] += step * v[b, j] * dv[b, j]
    return own


@compiled
def _product(scale: float, factors: Array, indices: Array, count: int, rows: Array, out: Array) -> None:
    """``out`` = scale · Σ_k factors[k] · rows[indices[k]] over the first ``count``, which are followed by up to three zeros."""
    for k in range(0, count, 4):
        x0, x1, x2, x3 = scale * factors[k], scale * factors[k + 1], scale * factors[k + 2], scale * factors[k + 3]
        b0, b1, b2, b3 = indices[k], indices[k + 1], indices[k + 2], indices[k + 3]
        if k == 0:
            for j in range(len(out)):
                out[j] = x0 * rows[b0, j] + x1 * rows[b1, j] + x2 * rows[b2, j] + x3 * rows[b3, j]
        else:
            for j in range(len(out)):
                out[j] += x0 * rows[b0, j] + x1 * rows[b1, j] + x2 * rows[b2, j] + x3 * rows[b3, j]


@compiled
def descend_inputs(
    samples: Array,
    weights: Array,
    row_counts: Array,
    bias_row: float,
    G: Array,
    v: Array,
    dv: Array,
    step: float,
    low: float,
    high: float,
    sums: Array,
) -> None:
    """G ← clip(G - step·Σ_b(v - a)dv, low, high) of crossbar 1 in one pass, which also computes the new column sums.

    The rows' voltages a are ±x and the bias row's; rows whose inputs are 0 in the whole batch change only by v dv.
    """
    half, columns = G.shape[0] // 2, G.shape[1]
    own = _own(step, v, dv)
    product = np.empty(columns, G.dtype)
    for j in range(columns):
        sums[j] = 0
    for i in range(half):
        if row_counts[i] == 0:
            for j in range(columns):
                p = clip(G[i, j] - own[j], low, high)
                m = clip(G[half + i, j] - own[j], low, high)
                G[i, j], G[half + i, j] = p, m
                sums[j] += p + m
        else:
            _product(step, weights[i], samples[i], int(row_counts[i]), dv, product)
            for j in range(columns):
                p = clip(G[i, j] - own[j] + product[j], low, high)
                m = clip(G[half + i, j] - own[j] - product[j], low, high)
                G[i, j], G[half + i, j] = p, m
                sums[j] += p + m
    if bias_row != 0:
        for j in range(columns):
            product[j] = 0
            for b in range(len(dv)):
                product[j] += step * bias_row * dv[b, j]
            g = clip(G[2 * half, j] - own[j] + product[j], low, high)
            G[2 * half, j] = g
            sums[j] += g


@compiled
def _descend_nodes(
    G: Array,
    row_gain: float,
    row_v: Array,
    row_dv: Array,
    column_gain: float,
    v: Array,
    dv: Array,
    step: float,
    low: float,
    high: float,
    row_sums: Array,
    column_sums: Array,
) -> None:
    """G ← clip(G - step·Σ_b(a - u)(da - du), low, high) of a crossbar between nodes, and its new sums.

    a and u are the voltages of rows and columns, node voltages times their gains.
    """
    batch, columns = v.shape
    rows = len(G)
    levels = _own(step * row_gain * row_gain, row_v, row_dv)
    own = _own(step * column_gain * column_gain, v, dv)
    factor = step * row_gain * column_gain
    terms = (2 * batch + 3) // 4 * 4
    factors = np.zeros((rows, terms), G.dtype)
    slopes = np.zeros((terms, columns), G.dtype)
    for b in range(batch):
        for j in range(columns):
            slopes[b, j], slopes[batch + b, j] = factor * dv[b, j], factor * v[b, j]
        for i in range(rows):
            factors[i, b] = row_v[b, i]
            factors[i, batch + b] = row_dv[b, i]
    order, one = np.arange(terms).astype(np.int32), G.dtype.type(1)
    by_blas = terms >= BLAS_SAMPLES and columns >= NARROW
    products = np.empty((ROWS_AT_ONCE if by_blas else 1, columns), G.dtype)
    for j in range(columns):
        column_sums[j] = 0
    for i in range(rows):
        place = i % len(products)
        if by_blas and place == 0:
            end = min(i + ROWS_AT_ONCE, rows)
            np.dot(factors[i:end], slopes, products[: end - i])
        elif not by_blas:
            _product(one, factors[i], order, terms, slopes, products[0])
        level, product = levels[i], products[place]
        total = G.dtype.type(0)
        for j in range(columns):
            g = clip(G[i, j] - (level + own[j] - product[j]), low, high)
            G[i, j] = g
            column_sums[j] += g
            total += g
        row_sums[i] = total


@compiled
def total(column_sums: Layers, row_sums: Layers, totals: Layers) -> bool:
    """Compute D_l of every layer; return whether every column has a conductance."""
    driven = True
    for l in range(len(totals)):
        columns, total = column_sums[l], totals[l]
        for j in range(len(total)):
            driven &= columns[j] > 0
            total[j] = columns[j]
        if l < len(row_sums):
            rows = row_sums[l]
            for j in range(len(total)):
                total[j] += rows[j]
    return driven


@compiled
def descend(
    conductances: Layers,
    crossbars: Layers,
    transposed: Array,
    gains: Array,
    biases: Layers,
    mean: Layers,
    slope: Layers,
    steps: Array,
    bias_steps: Array,
    window: tuple[float, float],
    column_sums: Layers,
    row_sums: Layers,
    totals: Layers,
) -> bool:
    """Do one step of all parameters except those of the first crossbar, and compute the new sums (see total)."""
    low, high = window
    one = steps.dtype.type(1)
    for l in range(len(mean)):
        v, dv = mean[l], slope[l]
        for b in range(len(v)):
            for j in range(v.shape[1]):
                biases[l][j] += bias_steps[l] * dv[b, j]
        if l == 0:
            continue
        if transposed[l - 1]:
            G, matrix = conductances[l - 1], crossbars[l - 1]
            sums = column_sums[l], row_sums[l - 1]
            _descend_nodes(matrix, one, v, dv, gains[l], mean[l - 1], slope[l - 1], steps[l], low, high, *sums)
            for i in range(G.shape[0]):
                for j in range(G.shape[1]):
                    G[i, j] = matrix[j, i]
        else:
            G = conductances[l - 1]
            sums = row_sums[l - 1], column_sums[l]
            _descend_nodes(G, gains[l], mean[l - 1], slope[l - 1], one, v, dv, steps[l], low, high, *sums)
    return total(column_sums, row_sums, totals)
