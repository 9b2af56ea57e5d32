"""The crossbars of an untrained network, from one table for each connection between two layers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import whole_number
from eqprop_analog.networks.crossbars import AveragePooling, Convolution, Crossbar, Dense
from eqprop_analog.networks.resistive.initial import draw, reach

Array = np.ndarray
Table = Mapping[str, Any]
Shape = tuple[int, int, int]
"""(channels, height, width) of a layer."""

KINDS = {"outputs": ("outputs",), "channels": ("channels", "kernel", "stride", "padding"), "pool": ("pool", "siemens")}
"""Settings that a table may contain, by the setting that defines the kind of connection."""
POOLING = reach(1, (0.0, 1.0))
"""Default conductance of a resistor of average pooling, siemens."""


def crossbars_from(image: Sequence[int], tables: Sequence[Table], *, bias_row: bool = False) -> tuple[Crossbar, ...]:
    """The consecutive crossbars that ``tables`` describe, over conductances without values.

    A table is {outputs}, a dense connection; {channels, kernel, stride, padding}, a convolution; or {pool, siemens}, average
    pooling. ``image``: (channels, height, width) of the inputs, or only their number, which is sufficient for a dense connection.
    Raises UserError for any other table, or one that does not fit.
    """
    shape: Sequence[int] = image
    made: list[Crossbar] = []
    for number, table in enumerate(tables, start=1):
        kind = _kind(number, table)
        sides, biased = (2, bias_row) if number == 1 else (1, False)
        rows = (sides * shape[0], *shape[1:])
        if kind != "outputs" and len(shape) != 3:
            raise UserError(
                f"connection {number}: expected an image (channels, height, width) before it, got a layer of {shape[0]} nodes"
            )
        made.append(_BUILD[kind](rows, dict(table), biased))
        after = made[-1]
        shape = (after.columns,) if kind == "outputs" else (after.features, *after.places)  # type: ignore[attr-defined]
    return tuple(made)


def fresh(
    crossbars: Sequence[Crossbar], window: tuple[float, float], random: np.random.Generator
) -> tuple[Crossbar, ...]:
    """The same with initial conductances (see the module initial); crossbars without parameters are unchanged."""

    def drawn(kind: Crossbar) -> Crossbar:
        rows, columns = kind.conductance.shape
        return kind.of(draw(random, rows, columns, window))

    return tuple(drawn(kind) if kind.free_parameters else kind for kind in crossbars)


def require_both_signs(crossbars: Sequence[Crossbar]) -> None:
    """Raise UserError for a convolution whose channels cannot be divided into excitatory and inhibitory ones."""
    for number, crossbar in enumerate(crossbars[:-1], start=1):
        channels = getattr(crossbar, "features", 2)
        if channels % 2:
            raise UserError(
                f"connection {number}: expected an even number of channels, half of them excitatory and half inhibitory, got "
                f'{channels}; with arrangement = "antiparallel" diodes any number is possible'
            )


def _kind(number: int, table: Any) -> str:
    expected = "; or ".join(", ".join(names) for names in KINDS.values())
    found = [kind for kind in KINDS if isinstance(table, Mapping) and kind in table]
    if len(found) != 1:
        raise UserError(f"connection {number}: expected a table with {expected}, got {table!r:.120}")
    for name in table:
        if name not in KINDS[found[0]]:
            raise UserError(
                f'connection {number}: unknown setting "{name}" of "{found[0]}"; expected {", ".join(KINDS[found[0]])}'
            )
    return found[0]


def _no_values(rows: int, columns: int) -> Array:
    """An array of the given shape that uses no memory. UserError for more elements than any memory can hold."""
    if rows * columns > sys.maxsize // 8:
        raise UserError(f"layers: a crossbar of {rows} x {columns} conductances is too large for any memory")
    return np.broadcast_to(np.zeros(()), (rows, columns))


def _dense(rows: Sequence[int], table: dict[str, Any], biased: bool) -> Crossbar:
    outputs = whole_number(table["outputs"], "connection: outputs", 1)
    return Dense(_no_values(int(np.prod(rows)) + biased, outputs))


def _convolution(rows: Sequence[int], table: dict[str, Any], biased: bool) -> Crossbar:
    if "kernel" not in table:
        raise UserError("connection: kernel is required for a convolution, such as kernel = 5")
    channels = whole_number(table.pop("channels"), "connection: channels", 1)
    kernel = whole_number(table["kernel"], "connection: kernel", 1)
    values = _no_values(rows[0] * kernel**2 + biased, channels)
    return Convolution(values, tuple(rows), **table, bias_row=biased)  # type: ignore[arg-type]


def _pooling(rows: Sequence[int], table: dict[str, Any], biased: bool) -> Crossbar:
    if biased:
        raise UserError("connection: average pooling of the inputs has no bias row; set bias_row = 0")
    return AveragePooling(np.zeros(0), tuple(rows), table["pool"], table.get("siemens", POOLING))  # type: ignore[arg-type]


_BUILD: Mapping[str, Callable[[Sequence[int], dict[str, Any], bool], Crossbar]] = {
    "outputs": _dense,
    "channels": _convolution,
    "pool": _pooling,
}
