"""The predictions of read-outs, and when those of two read-outs differ."""

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray


def predictions(readout: Float[Array, "batch classes"]) -> Int[Array, " batch"]:
    """Return the class of the largest read-out; for a single read-out, 1 above half a volt and 0 below."""
    return (readout[:, 0] > 0.5).astype(int) if readout.shape[1] == 1 else readout.argmax(axis=1)


def decided_otherwise(
    one: Float[Array, "batch classes"], other: Float[Array, "batch classes"], allowed: Float[Array, " batch"] | float
) -> Bool[Array, " batch"]:
    """Return the samples for which two read-outs predict differently; ties within ``allowed`` (volts) count as equal."""
    first, second = predictions(one), predictions(other)
    rows = np.arange(len(one))
    if one.shape[1] == 1:
        margins = np.abs(one[:, 0] - 0.5), np.abs(other[:, 0] - 0.5)
    else:
        margins = one[rows, first] - one[rows, second], other[rows, second] - other[rows, first]
    return (first != second) & (np.minimum(*margins) > allowed)
