"""What every network asks of its inputs."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.errors import UserError

Array = np.ndarray


def checked_inputs(
    inputs: ArrayLike, columns: int, dtype: DTypeLike, value: str = "number"
) -> Float[Array, "batch columns"]:
    """``inputs`` as (batch, columns) of ``dtype``; UserError for another shape, none at all, or values that are not finite."""
    array = np.atleast_2d(np.asarray(inputs, dtype=dtype))
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise UserError(f"inputs: expected shape (batch, {columns}), got {np.shape(inputs)}")
    if not np.isfinite(array).all():
        raise UserError(f"inputs: NaN or infinite values; every input must be a finite {value}")
    return array
