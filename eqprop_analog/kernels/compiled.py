"""The training kernels compiled by numba; plain.py says the same in NumPy.

Sums may be reassociated; NaN and infinity keep their meaning, so that a diverged network is seen.
"""
# ruff: noqa: PLR0913, PLR0917, C901, PLR0912 - a compiled function takes arrays, not objects, and calls cost it nothing less

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from jaxtyping import Float
from numba import njit, types
from numba.extending import overload

from eqprop_analog.devices import Clamp, Law, NgspiceDiode
from eqprop_analog.models import Layers, ResistiveNetwork

Array = np.ndarray
F = TypeVar("F", bound=Callable[..., Any])

BLAS_SAMPLES = 64
"""Rows of the smaller factor from which BLAS's packing of the larger one pays for itself."""
NARROW = 32
"""A crossbar of fewer columns is kept lying: its rows are too short for vector registers."""
SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""What may be done to sums: taken in another order, fused with products; nothing that takes NaN for impossible."""
ROWS_AT_ONCE = 64
"""Rows of a crossbar whose products are computed together, so that they are still in the cache when they are added."""


def _compiled(function: F) -> F:
    """For loops over arrays; anew in every process, because what numba's cache gives back differs in the last bits."""
    return cast("F", njit(error_model="numpy", fastmath=SUMS)(function))


def _formula(function: F) -> F:
    """For scalar formulas whose order of operations makes them accurate; they become part of the loop that calls them."""
    return cast("F", njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(function))


class ClampNode(NamedTuple):
    """An ideal clamp."""

    rail: np.floating[Any]


class DiodeNode(NamedTuple):
    """ngspice's diode."""

    saturation_current: np.floating[Any]
    thermal_voltage: np.floating[Any]
    rail: np.floating[Any]
    gmin: np.floating[Any]


def node_of(law: Law, dtype: np.dtype[Any]) -> ClampNode | DiodeNode | None:
    """The law as ``solve_nodes`` takes it, or None where there is no compiled solution."""
    kind = dtype.type
    if isinstance(law, Clamp) and law.on_resistance == 0:
        return ClampNode(kind(law.rail))
    if isinstance(law, NgspiceDiode):
        return DiodeNode(kind(law.saturation_current), kind(law.thermal_voltage), kind(law.rail), kind(law.gmin))
    return None


def solve_nodes(node: ClampNode | DiodeNode | None, polarity: Array, conductance: Array, v: Array) -> None:
    """In place of the currents ``v``, the roots of conductance·v + i(v) = current of nodes of that polarity (Law.solve).

    For compiled code alone, which takes the loop that fits the kind of node.
    """
    raise NotImplementedError


@overload(solve_nodes, jit_options={"error_model": "numpy"}, strict=False)
def _solve_nodes(node, polarity, conductance, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if node.instance_class is ClampNode:
        return _clamps
    return _diodes_single if v.dtype == types.float32 else _diodes


def _clamps(node: ClampNode, polarity: Array, conductance: Array, v: Array) -> None:
    for j in range(len(v)):
        v[j] = polarity[j] * max(polarity[j] * v[j] / conductance[j], node.rail)


def _diodes(node: DiodeNode, polarity: Array, conductance: Array, v: Array) -> None:
    for j in range(len(v)):
        v[j] = polarity[j] * _diode(node, conductance[j], polarity[j] * v[j])


def _diodes_single(node: DiodeNode, polarity: Array, conductance: Array, v: Array) -> None:
    if conductance.min() * node.thermal_voltage < node.saturation_current:  # one may hang on the reverse current alone
        for j in range(len(v)):
            v[j] = polarity[j] * _diode(node, conductance[j], polarity[j] * v[j])
    else:
        for j in range(len(v)):
            v[j] = polarity[j] * _diode_single(node, conductance[j], polarity[j] * v[j])


@_formula
def _diode(node: DiodeNode, conductance: float, source: float) -> float:
    """NgspiceDiode.solve in float64: ω = e^y with e^y + y = z by Halley's steps, then Newton's on the whole law."""
    i_s, v_t = float(node.saturation_current), float(node.thermal_voltage)
    total = float(conductance) + node.gmin
    current = float(conductance) * node.rail - source
    scale = total * v_t
    log_ratio = math.log(i_s / scale)
    z = (current + i_s) / scale + log_ratio
    y = math.log(z) if z > 1 else min(z, 0.5 * (z - 1))
    for _ in range(3):
        e = math.exp(y)
        error = e + y - z
        y -= 2 * error * (e + 1) / (2 * (e + 1) ** 2 - error * e)
    w = v_t * (y - log_ratio)
    for _ in range(100):
        if w < -3 * v_t:
            cubed = (3 * v_t / (math.e * w)) ** 3
            junction, slope = -i_s * (1 + cubed), 3 * i_s * cubed / w
        else:
            grown = math.exp(w / v_t)
            junction, slope = i_s * (grown - 1), i_s * grown / v_t
        step = (junction + total * w - current) / (slope + total)
        w -= step
        if not abs(step) > 1e-9 * (abs(w) + v_t):
            break
    return float(node.rail - w)


F4 = np.float32
I4 = np.int32


@_formula
def _diode_single(node: DiodeNode, conductance: F4, source: F4) -> F4:
    """The same in float32 without branches: two of Halley's steps, and one of Newton's to the reverse branch."""
    i_s, v_t = node.saturation_current, node.thermal_voltage
    total = conductance + node.gmin
    scale = total * v_t
    level = (conductance * node.rail - source + i_s) / scale
    ratio = i_s / scale
    log_ratio = _log(ratio)
    z = level + log_ratio
    large = z > F4(1)
    y = _log(z if large else F4(1))
    y = y if large else min(z, F4(0.5) * (z - F4(1)))
    y = _halley(_halley(y, z), z)
    omega = _exp(y)
    w = v_t * (y - log_ratio if omega > F4(1) else level - omega)
    deep = min(w, F4(-3) * v_t)
    root = F4(3 / math.e) * v_t / deep
    cubed = root * root * root
    grown = min(omega / ratio, F4(math.exp(-3)))
    w += i_s * (cubed + grown) / (total + F4(3) * i_s * cubed / deep)
    return node.rail - w


@_formula
def _halley(y: F4, z: F4) -> F4:
    """One of Halley's steps on e^y + y = z."""
    e = _exp(y)
    error = e + y - z
    slope = e + F4(1)
    return y - F4(2) * error * slope / (F4(2) * slope * slope - error * e)


@_formula
def _exp(x: F4) -> F4:
    """e^x, to float32's rounding; without a branch, so that loops of it become vector instructions. Source: Cephes, expf."""
    x = min(max(x, F4(-87)), F4(88))
    k = np.floor(x * F4(1.4426950408889634) + F4(0.5))
    r = x - k * F4(0.693359375) - k * F4(-2.12194440e-4)
    y = F4(1.9875691500e-4)
    y = y * r + F4(1.3981999507e-3)
    y = y * r + F4(8.3334519073e-3)
    y = y * r + F4(4.1665795894e-2)
    y = y * r + F4(1.6666665459e-1)
    y = y * r + F4(5.0000001201e-1)
    y = y * r * r + r + F4(1)
    return y * I4((I4(k) + I4(127)) << I4(23)).view(np.float32)


@_formula
def _log(x: F4) -> F4:
    """Natural logarithm of normal positive numbers, to float32's rounding. Source: Cephes, logf."""
    bits = F4(x).view(np.int32)
    exponent = F4(I4((bits >> I4(23)) - I4(127)))
    mantissa = I4((bits & I4(0x7FFFFF)) | I4(0x3F800000)).view(np.float32)
    large = mantissa > F4(1.41421356)
    mantissa = mantissa * F4(0.5) if large else mantissa
    exponent = exponent + F4(1) if large else exponent
    r = mantissa - F4(1)
    y = F4(7.0376836292e-2)
    y = y * r + F4(-1.1514610310e-1)
    y = y * r + F4(1.1676998740e-1)
    y = y * r + F4(-1.2420140846e-1)
    y = y * r + F4(1.4249322787e-1)
    y = y * r + F4(-1.6668057665e-1)
    y = y * r + F4(2.0000714765e-1)
    y = y * r + F4(-2.4999993993e-1)
    y = y * r + F4(3.3333331174e-1)
    y = y * r * (r * r) + exponent * F4(-2.12194440e-4) - F4(0.5) * (r * r)
    return r + y + exponent * F4(0.693359375)


@_formula
def _clip(g: float, low: float, high: float) -> float:
    return min(max(g, low), high)


@_compiled
def _light(
    inputs: Array,
    gain: float,
    rows: Array,
    volts: Array,
    counts: Array,
    samples: Array,
    weights: Array,
    lit: Array,
) -> None:
    """The inputs that are not 0 V: rows and volts by sample, samples and weights (volts) by row, with zeros after them."""
    batch, size = inputs.shape
    for i in range(size):
        lit[i] = 0
    for b in range(batch):
        count = 0
        for i in range(size):
            volt = inputs[b, i] * gain
            here = volt != 0
            rows[b, count], volts[b, count] = i, volt  # without a branch: the next one overwrites what is 0
            samples[i, lit[i]], weights[i, lit[i]] = b, volt
            count += here
            lit[i] += here
        counts[b] = count
        for k in range(count, count + 3):
            rows[b, k], volts[b, k] = 0, 0
    for i in range(size):
        for k in range(lit[i], lit[i] + 3):
            samples[i, k], weights[i, k] = 0, 0


@_compiled
def _drive(rows: Array, volts: Array, counts: Array, bias_row: float, G: Array, bias: Array, source: Array) -> None:
    """Source current x (G⁺ - G⁻) + b over the lit rows alone, four at a time."""
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


@_compiled
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


@_compiled
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


@_compiled
def _settle(
    sweeps: int,
    node: ClampNode | DiodeNode | None,
    polarities: Layers,
    crossbars: Layers,
    lying: Array,
    gains: Array,
    inverse_gains: Array,
    biases: Layers,
    totals: Layers,
    source: Array,
    nudge: Array,
    current: Array,
    voltages: Layers,
) -> bool:
    """Sweeps of coordinate descent in place (see solvers.coordinate_descent); whether all outputs are finite."""
    depth = len(voltages)
    for _ in range(sweeps):
        for parity in range(2):
            for l in range(parity, depth, 2):
                v = voltages[l]
                for b in range(len(v)):
                    for j in range(v.shape[1]):
                        v[b, j] = source[b, j] if l == 0 else biases[l][j]
                if l > 0:
                    if lying[l - 1]:
                        _gather(voltages[l - 1], gains[l], crossbars[l - 1], v)
                    else:
                        _spread(voltages[l - 1], gains[l], crossbars[l - 1], v)
                if l < depth - 1:
                    if lying[l]:
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


@_compiled
def _own(step: float, v: Array, dv: Array) -> Array:
    """Σ_b v dv, times ``step``."""
    own = np.zeros(v.shape[1], v.dtype)
    for b in range(len(v)):
        for j in range(v.shape[1]):
            own[j] += step * v[b, j] * dv[b, j]
    return own


@_compiled
def _product(scale: float, factors: Array, indices: Array, count: int, rows: Array, out: Array) -> None:
    """``out`` = scale · Σ_k factors[k] · rows[indices[k]] over the first ``count``, after which up to three zeros follow."""
    for k in range(0, count, 4):
        x0, x1, x2, x3 = scale * factors[k], scale * factors[k + 1], scale * factors[k + 2], scale * factors[k + 3]
        b0, b1, b2, b3 = indices[k], indices[k + 1], indices[k + 2], indices[k + 3]
        if k == 0:
            for j in range(len(out)):
                out[j] = x0 * rows[b0, j] + x1 * rows[b1, j] + x2 * rows[b2, j] + x3 * rows[b3, j]
        else:
            for j in range(len(out)):
                out[j] += x0 * rows[b0, j] + x1 * rows[b1, j] + x2 * rows[b2, j] + x3 * rows[b3, j]


@_compiled
def _descend_inputs(
    samples: Array,
    weights: Array,
    lit: Array,
    bias_row: float,
    G: Array,
    v: Array,
    dv: Array,
    step: float,
    low: float,
    high: float,
    sums: Array,
) -> None:
    """G ← clip(G - step·Σ_b(v - a)dv, low, high) of crossbar 1 in one pass, which also gives the new column sums.

    The rows' voltages a are ±x and the bias row's; rows of inputs that are 0 in the whole batch move by v dv alone.
    """
    half, columns = G.shape[0] // 2, G.shape[1]
    own = _own(step, v, dv)
    product = np.empty(columns, G.dtype)
    for j in range(columns):
        sums[j] = 0
    for i in range(half):
        if lit[i] == 0:
            for j in range(columns):
                p = _clip(G[i, j] - own[j], low, high)
                m = _clip(G[half + i, j] - own[j], low, high)
                G[i, j], G[half + i, j] = p, m
                sums[j] += p + m
        else:
            _product(step, weights[i], samples[i], int(lit[i]), dv, product)
            for j in range(columns):
                p = _clip(G[i, j] - own[j] + product[j], low, high)
                m = _clip(G[half + i, j] - own[j] - product[j], low, high)
                G[i, j], G[half + i, j] = p, m
                sums[j] += p + m
    if bias_row != 0:
        for j in range(columns):
            product[j] = 0
            for b in range(len(dv)):
                product[j] += step * bias_row * dv[b, j]
            g = _clip(G[2 * half, j] - own[j] + product[j], low, high)
            G[2 * half, j] = g
            sums[j] += g


@_compiled
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
            g = _clip(G[i, j] - (level + own[j] - product[j]), low, high)
            G[i, j] = g
            column_sums[j] += g
            total += g
        row_sums[i] = total


@_compiled
def _total(column_sums: Layers, row_sums: Layers, totals: Layers) -> bool:
    """D_l of every layer; whether every column has a conductance."""
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


@_compiled
def _descend(
    by_row: tuple[Array, Array, Array],
    bias_row: float,
    conductances: Layers,
    crossbars: Layers,
    lying: Array,
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
    """One step of every parameter against the contrast, and the sums of the new conductances (see _total)."""
    samples, weights, lit = by_row
    low, high = window
    one = steps.dtype.type(1)
    for l in range(len(mean)):
        v, dv = mean[l], slope[l]
        for b in range(len(v)):
            for j in range(v.shape[1]):
                biases[l][j] += bias_steps[l] * dv[b, j]
        if l == 0:
            G = conductances[0]
            _descend_inputs(samples, weights, lit, bias_row, G, v, dv, steps[0], low, high, column_sums[0])
        elif lying[l - 1]:
            G, matrix = conductances[l], crossbars[l - 1]
            sums = column_sums[l], row_sums[l - 1]
            _descend_nodes(matrix, one, v, dv, gains[l], mean[l - 1], slope[l - 1], steps[l], low, high, *sums)
            for i in range(G.shape[0]):
                for j in range(G.shape[1]):
                    G[i, j] = matrix[j, i]
        else:
            G = conductances[l]
            sums = row_sums[l - 1], column_sums[l]
            _descend_nodes(G, gains[l], mean[l - 1], slope[l - 1], one, v, dv, steps[l], low, high, *sums)
    return _total(column_sums, row_sums, totals)


class CompiledKernels:
    """See Kernels."""

    def __init__(self, network: ResistiveNetwork) -> None:
        self.network = network
        dtype = network.conductances[0].dtype
        inner = network.conductances[1:]
        self._kind = dtype.type
        self._node = node_of(network.diode, dtype)
        self._polarities = tuple(network.polarity(layer) for layer in range(1, network.depth))
        self._gains = np.array(network.drive_gains, dtype)
        self._inverse_gains = 1 / self._gains
        self._window = tuple(map(self._kind, network.conductance_window))
        self.column_sums = tuple(matrix.sum(axis=0) for matrix in network.conductances)
        self._row_sums = tuple(matrix.sum(axis=1) for matrix in inner)
        self.totals = tuple(np.empty_like(sums) for sums in self.column_sums)
        self.driven = _total(self.column_sums, self._row_sums, self.totals)
        self._lying = np.array([matrix.shape[1] < NARROW for matrix in inner])
        self._crossbars = tuple(
            np.ascontiguousarray(matrix.T) if lying else matrix
            for matrix, lying in zip(inner, self._lying, strict=True)
        )
        self._make_room(0)

    def _make_room(self, batch: int) -> None:
        """Space for the lit inputs of batches up to this size."""
        size, kind = self.network.layers[0], self._kind
        self._room = batch
        shapes = ((batch, size + 3), batch), ((size, batch + 3), size)
        self._by_sample, self._by_row = (
            (np.empty(full, np.int32), np.empty(full, kind), np.empty(count, np.int32)) for full, count in shapes
        )

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """See Kernels."""
        if len(inputs) > self._room:
            self._make_room(len(inputs))
        network, kind = self.network, self._kind
        _light(inputs, kind(network.input_gain), *self._by_sample, *self._by_row)
        _drive(*self._by_sample, kind(network.bias_row), network.conductances[0], network.biases[0], source)

    def settle(
        self,
        sweeps: int,
        source: Float[Array, "samples nodes"],
        nudge: Float[Array, "samples 1"],
        current: Float[Array, "samples outputs"],
        voltages: Layers,
    ) -> bool:
        """See Kernels."""
        return _settle(
            sweeps,
            self._node,
            self._polarities,
            self._crossbars,
            self._lying,
            self._gains,
            self._inverse_gains,
            self.network.biases,
            self.totals,
            source,
            nudge,
            current,
            voltages,
        )

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """See Kernels."""
        kind, network = self._kind, self.network
        self.driven = _descend(
            self._by_row,
            kind(network.bias_row),
            network.conductances,
            self._crossbars,
            self._lying,
            self._gains,
            network.biases,
            mean,
            slope,
            np.array(rates, kind),
            np.array(bias_rates, kind),
            self._window,
            self.column_sums,
            self._row_sums,
            self.totals,
        )
