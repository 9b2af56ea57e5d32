"""A convolution at the inputs, compiled: its source currents, and one step of its kernels against the contrast."""
# ruff: noqa: PLR0913, PLR0917 - a compiled function takes arrays and not objects

import numpy as np

from eqprop_analog.kernels.numba.descent import clip
from eqprop_analog.kernels.numba.jit import compiled

Array = np.ndarray


@compiled
def gather_patches(
    inputs: Array, gain: float, kernel: int, stride: int, padding: int, down: int, across: int, patches: Array
) -> None:
    """``patches`` (batch, patch, places) of ``inputs`` (batch, channels, height, width) times ``gain``, volts."""
    _, channels, height, width = inputs.shape
    for b in range(len(inputs)):
        p = 0
        for c in range(channels):
            for y in range(kernel):
                for x in range(kernel):
                    for i in range(down):
                        row = i * stride + y - padding
                        for j in range(across):
                            column = j * stride + x - padding
                            inside = 0 <= row < height and 0 <= column < width
                            patches[b, p, i * across + j] = gain * inputs[b, c, row, column] if inside else 0
                    p += 1


@compiled
def drive_places(G: Array, bias_row: float, bias: Array, patches: Array, source: Array) -> None:
    """Source currents x (G⁺ - G⁻) + b, (batch, channels, places)."""
    half = patches.shape[1]
    difference = np.ascontiguousarray((G[:half] - G[half : 2 * half]).T)
    for b in range(len(patches)):
        np.dot(difference, patches[b], source[b])
        for c in range(source.shape[1]):
            extra = bias_row * G[2 * half, c] if bias_row != 0 else G.dtype.type(0)
            for i in range(source.shape[2]):
                source[b, c, i] += bias[c, i] + extra


@compiled
def _moved(patches: Array, v: Array, dv: Array) -> tuple[Array, Array]:
    """Σ_batch v dv of every node (channels, places), and Σ_batch Σ_places x dv (channels, patch)."""
    held = np.zeros(v.shape[1:], v.dtype)
    product = np.zeros((v.shape[1], patches.shape[1]), v.dtype)
    for b in range(len(v)):
        product += np.dot(dv[b], patches[b].T)
        for c in range(v.shape[1]):
            for i in range(v.shape[2]):
                held[c, i] += v[b, c, i] * dv[b, c, i]
    return held, product


@compiled
def _over_places(values: Array) -> Array:
    """Sums of (channels, places)."""
    sums = np.zeros(len(values), values.dtype)
    for c in range(len(values)):
        for i in range(values.shape[1]):
            sums[c] += values[c, i]
    return sums


@compiled
def _own(held: Array, present: Array, drives: int) -> Array:
    """Σ over the places at which each drive of the patch is within the image (channels, patch)."""
    if len(present):
        return np.dot(held, present.T)
    own, everywhere = np.zeros((len(held), drives), held.dtype), _over_places(held)
    for c in range(len(held)):
        own[c] += everywhere[c]
    return own


@compiled
def _column_sums(G: Array, present: Array, drives: int, sums: Array) -> None:
    """Column sums of the rows ±x, (channels, places)."""
    both = np.ascontiguousarray((G[:drives] + G[drives : 2 * drives]).T)
    if len(present):
        np.dot(both, present, sums)
        return
    total = _over_places(both)
    for c in range(len(sums)):
        sums[c] = total[c]


@compiled
def descend_kernels(
    G: Array,
    bias_row: float,
    patches: Array,
    present: Array,
    v: Array,
    dv: Array,
    step: float,
    low: float,
    high: float,
    sums: Array,
) -> None:
    """G ← clip(G - step·Σ_batch Σ_places (v - a)dv, low, high), and the new column sums (channels, places).

    ``present``: (patch, places), 1 where a drive of the patch is within the image; without rows if all are.
    """
    drives = patches.shape[1]
    held, product = _moved(patches, v, dv)
    own = _own(held, present, drives)
    for p in range(drives):
        for c in range(len(sums)):
            G[p, c] = clip(G[p, c] - step * (own[c, p] - product[c, p]), low, high)
            G[drives + p, c] = clip(G[drives + p, c] - step * (own[c, p] + product[c, p]), low, high)
    _column_sums(G, present, drives, sums)
    if bias_row != 0:
        everywhere, slope = _over_places(held), np.zeros(len(sums), G.dtype)
        for b in range(len(dv)):
            slope += _over_places(dv[b])
        for c in range(len(sums)):
            G[2 * drives, c] = clip(G[2 * drives, c] - step * (everywhere[c] - bias_row * slope[c]), low, high)
            sums[c] += G[2 * drives, c]
