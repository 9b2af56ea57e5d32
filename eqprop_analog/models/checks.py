"""What several networks ask of their settings, inputs and nudges, each in one sentence."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.nudging import Nudge

Array = np.ndarray


def check_layers(layers: Sequence[int]) -> tuple[int, ...]:
    """``layers`` as a tuple of at least two sizes of at least 1, or UserError."""
    try:
        sizes = tuple(int(size) for size in layers)
    except (TypeError, ValueError) as error:
        raise UserError(f"layers: expected whole numbers, got {layers!r}") from error
    if len(sizes) < 2 or min(sizes) < 1 or any(size != given for size, given in zip(sizes, layers, strict=True)):
        raise UserError(
            f"layers: expected at least two sizes (inputs ... outputs), each at least 1, got {list(layers)}"
        )
    return sizes


def check_seed(seed: int) -> None:
    """UserError unless it is a whole number of at least 0."""
    if int(seed) != seed or seed < 0:
        raise UserError(f"seed must be an integer of at least 0, got {seed!r}")


def check_window(window: tuple[float, float]) -> None:
    """UserError unless (G_min, G_max), siemens, are finite and in order."""
    low, high = window
    if not (np.isfinite([low, high]).all() and 0 <= low < high):
        raise UserError(f"conductance_window: expected 0 <= G_min < G_max in siemens, got ({low:g}, {high:g})")


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


def check_phases(what: str, shapes: Sequence[tuple[int, ...]], *phases: Equilibrium) -> None:
    """UserError unless every one of ``phases`` has voltages of ``shapes`` and no sample that failed."""
    for phase in phases:
        got = [v.shape for v in phase.voltages]
        if got != list(shapes):
            raise UserError(f"{what}: expected voltages of shapes {list(shapes)}, got {got}")
        phase.require()


def check_pair(what: str, shapes: Sequence[tuple[int, ...]], plus: Equilibrium, minus: Equilibrium) -> None:
    """UserError unless the difference of the two phases, of voltages of ``shapes``, says what a change of β does."""
    check_phases(what, shapes, plus, minus)
    if plus.beta == minus.beta:
        raise UserError(f"{what}: both phases have the same beta, so their difference says nothing")


def check_free(what: str, shapes: Sequence[tuple[int, ...]], free: Equilibrium) -> None:
    """UserError unless ``free`` is a free phase with voltages of ``shapes`` and no sample that failed."""
    if free.nudge is not None:
        raise UserError(f"{what}: expected a free phase, got one nudged with beta = {free.beta:.4g}")
    check_phases(what, shapes, free)


def layer_shapes(batch: int, layers: Sequence[int]) -> list[tuple[int, int]]:
    """Shapes of a phase's voltages; ``layers``: (inputs, n_1, ..., n_L)."""
    return [(batch, size) for size in layers[1:]]


def check_nudges(nudges: Sequence[Nudge], batch: int, classes: int, free: Equilibrium | None) -> None:
    """UserError for a target that does not fit so many read-outs, or a current nudge taken at a nudged equilibrium."""
    for nudge in nudges:
        if nudge.target.shape not in ((batch, classes), (1, classes)):
            raise UserError(f"nudge: expected a target of shape ({batch}, {classes}), got {nudge.target.shape}")
        if nudge.kind == "current" and free is not None and free.nudge is not None:
            raise UserError(
                "nudge: a current nudge is taken at the free equilibrium; this start is itself a nudged one"
            )
