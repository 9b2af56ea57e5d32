"""Checks of settings, inputs and nudges that several kinds of networks share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import LARGEST, listed, numbers, real_array, whole_number

Array = np.ndarray
NARROWEST = 1e-6
"""Smallest width of a window relative to G_max; float32 does not resolve conductances in a narrower one."""


LARGEST_CONDUCTANCE = 1e9
"""Largest conductance, siemens: above that of any contact; sums over a layer and their squares do not overflow in float32."""


def unsound_conductance(values: Float[Array, "..."]) -> tuple[tuple[int, ...], str] | None:
    """Return the index of the first invalid conductance (S), and what is wrong with it; None if all are valid."""
    if not values.size or (values.min() >= 0 and values.max() <= LARGEST_CONDUCTANCE):  # neither holds for NaN
        return None
    least, most = values >= 0, values <= LARGEST_CONDUCTANCE
    for good, what in (
        (np.isfinite(values), "is not finite"),
        (least, "is negative"),
        (most, f"is above {LARGEST_CONDUCTANCE:g} S"),
    ):
        if not good.all():
            return tuple(np.argwhere(~good)[0].tolist()), f"conductance {what}"
    return None


def check_layers(layers: object) -> tuple[int, ...]:
    """Return ``layers`` as a tuple of at least two sizes of at least 1. Raises UserError otherwise."""
    given = listed(layers, "layers")
    sizes = tuple(whole_number(size, f"layers: number {k}", 1) for k, size in enumerate(given, start=1))
    if len(sizes) < 2:
        raise UserError(f"layers: expected at least two sizes (inputs ... outputs), got {list(sizes)}")
    return sizes


def check_seed(seed: int) -> int:
    """Return ``seed``. Raises UserError unless it is an integer of at least 0."""
    return whole_number(seed, "seed")


def solved(matrix: Float[Array, "nodes nodes"], right: Float[Array, "nodes some"]) -> Float[Array, "nodes some"]:
    """Solve a conductance matrix (siemens) for currents. Raises UserError if it is singular to rounding."""
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError as error:
        raise UserError(
            "network: some nodes are connected to the rest so weakly, compared with the conductances between them, "
            "that they float to within rounding; increase their conductances, or decrease the largest"
        ) from error


def check_window(window: tuple[float, float]) -> tuple[float, float]:
    """Return (G_min, G_max), siemens. Raises UserError unless they are finite and in order."""
    low, high = numbers(window, "conductance_window", 2, "siemens")
    if not 0 <= low < high * (1 - NARROWEST):
        raise UserError(f"conductance_window: expected 0 <= G_min < G_max in siemens, got ({low:.10g}, {high:.10g})")
    if high > LARGEST_CONDUCTANCE:
        raise UserError(f"conductance_window: expected G_max of at most {LARGEST_CONDUCTANCE:g} S, got {high:g}")
    return low, high


def checked_inputs(
    inputs: ArrayLike, columns: int, dtype: DTypeLike, unit: str = "number"
) -> Float[Array, "batch columns"]:
    """Return ``inputs`` as (batch, columns) of ``dtype``.

    Raises UserError unless they are finite numbers of that shape.
    """
    array = np.atleast_2d(real_array(inputs, f"inputs (every one a finite {unit})", dtype, largest=LARGEST))
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise UserError(f"inputs: expected shape (batch, {columns}), got {np.shape(inputs)}")
    return array


def require_equilibria(what: str, *phases: Any) -> None:
    """Raise UserError unless each of ``phases`` is the Equilibrium of a solver."""
    for phase in phases:
        if not isinstance(phase, Equilibrium):
            raise UserError(f"{what}: expected the Equilibrium of a solver, got {type(phase).__name__}")


def require_kind(what: str, given: object, kind: type) -> None:
    """Raise UserError unless ``given``, the argument ``what``, is a ``kind``."""
    if not isinstance(given, kind):
        raise UserError(f"{what}: expected a {kind.__name__}, got {type(given).__name__}")


def check_phases(what: str, shapes: Sequence[tuple[int, ...]], *phases: Equilibrium) -> None:
    """Raise UserError unless each of ``phases`` has voltages of ``shapes`` and no failed sample."""
    require_equilibria(what, *phases)
    for phase in phases:
        got = [v.shape for v in phase.voltages]
        if got != list(shapes):
            raise UserError(f"{what}: expected voltages of shapes {list(shapes)}, got {got}")
        phase.require()


def check_pair(what: str, shapes: Sequence[tuple[int, ...]], plus: Equilibrium, minus: Equilibrium) -> None:
    """Raise UserError unless the two phases have voltages of ``shapes`` and different values of β."""
    check_phases(what, shapes, plus, minus)
    if plus.beta == minus.beta:
        raise UserError(
            f"{what}: expected two phases of different beta, got the same beta for both, so that there "
            "is no difference to learn from"
        )


def check_free(what: str, shapes: Sequence[tuple[int, ...]], free: Equilibrium) -> None:
    """Raise UserError unless ``free`` is a free phase with voltages of ``shapes`` and no failed sample."""
    require_equilibria(what, free)
    if free.nudge is not None:
        raise UserError(f"{what}: expected a free phase, got one nudged with beta = {free.beta:.4g}")
    check_phases(what, shapes, free)


def layer_shapes(batch: int, layers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shapes of a phase's voltages; ``layers``: (inputs, n_1, ..., n_L)."""
    return [(batch, size) for size in layers[1:]]


class TakesInputs(Protocol):
    """A network of layers."""

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L)."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Return every parameter by name."""
        ...

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """Return ``inputs`` in the network's precision. Raises UserError if they do not match the network."""
        ...


def as_batch(network: TakesInputs, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
    """Return ``inputs`` unchanged if they have the network's dtype and number of inputs, else converted by ``check_inputs``.

    Training uses it, because it checks all values anyway.
    """
    dtype = next(iter(network.arrays().values())).dtype
    if type(inputs) is np.ndarray and inputs.dtype == dtype and inputs.shape[1:] == network.layers[:1] and len(inputs):
        return inputs
    return network.check_inputs(inputs)


def checked_target(target: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "batch classes"]:
    """Return ``target``, volts, as ``shape`` (batch, classes) of ``dtype``.

    Raises UserError unless it has one row per sample or for all.
    """
    given = real_array(target, "target (volts)", dtype)
    batch, classes = shape
    return np.broadcast_to(_of_shape(np.atleast_2d(given), given.ndim == 1, batch, classes), shape)


def checked_labels(labels: ArrayLike, samples: int) -> Int[Array, " samples"]:
    """Return ``labels``, one class per sample. Raises UserError for another shape or values that are not integers."""
    given = real_array(labels, "labels")
    if given.shape != (samples,) or (given != np.floor(given)).any():
        raise UserError(
            f"labels: expected the index of its class for each of {samples} samples, got shape {given.shape}; "
            "convert targets by .argmax(axis=1)"
        )
    return given.astype(np.int64)


def checked_start(start: Equilibrium | None, batch: int, sizes: Sequence[int], dtype: DTypeLike) -> Equilibrium | None:
    """Return ``start`` in ``dtype``.

    Raises UserError unless it has a voltage for every sample and every node of ``sizes``.
    """
    if start is None:
        return None
    require_equilibria("start", start)
    expected = [(batch, size) for size in sizes]
    voltages = [real_array(v, f"start, layer {l}", dtype, finite=False) for l, v in enumerate(start.voltages, start=1)]
    if (got := [v.shape for v in voltages]) != expected:
        raise UserError(f"start: expected voltages of shapes {expected}, got {got}")
    return replace(start, voltages=tuple(voltages))


def fitted_nudges(
    nudges: Sequence[Nudge], batch: int, classes: int, free: Equilibrium | None, dtype: DTypeLike
) -> list[Nudge]:
    """Return ``nudges`` with their targets in ``dtype``, the network's.

    Raises UserError for a target that does not match the read-outs, or a current nudge computed at a nudged
    equilibrium.
    """
    for nudge in nudges:
        if not isinstance(nudge, Nudge):
            raise UserError(f"nudge: expected a Nudge(target, beta), got {type(nudge).__name__}")
        _of_shape(nudge.target, nudge.lone, batch, classes)
        if nudge.kind == "current" and free is not None and free.nudge is not None:
            raise UserError(
                "nudge: a current nudge is computed at the free equilibrium; expected a free phase as start, got a "
                "nudged one"
            )
    return [
        nudge
        if nudge.target.dtype == dtype
        else replace(nudge, target=real_array(nudge.target, "nudge: target", dtype))
        for nudge in nudges
    ]


def _of_shape(target: Array, lone: bool, batch: int, classes: int) -> Array:
    """Return ``target``.

    Raises UserError unless it has one row per sample or for all; a vector is for a batch of one sample.
    """
    if target.shape not in ((batch, classes), (1, classes)) or (lone and batch > 1):
        got = (target.size,) if lone else target.shape
        labels = "; for class labels use np.eye(classes)[labels], in volts" if lone else ""
        raise UserError(f"nudge: expected a target of shape ({batch}, {classes}), got {got}{labels}")
    return target
