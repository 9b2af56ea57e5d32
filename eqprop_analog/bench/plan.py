"""What to program: for every cell the target, the nearest level, and the pulses that lead to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.devices.conductance import PulseLaw, Technology, Window
from eqprop_analog.errors import UserError

Array = np.ndarray
Matrix = Float[Array, "rows columns"]

MOST = 2**20
"""Largest number of pulses in one direction."""
ROUNDING = 1e-6
"""Relative distance by which a conductance in single precision may lie outside the window."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of one crossbar."""

    target: Matrix
    """Siemens."""
    level: Matrix
    """The achievable conductances nearest to the target, siemens."""
    pulses: Int[Array, "rows columns"]
    """Number of pulses from the present conductance; a positive number increases it."""
    expected: Matrix
    """Conductances after these pulses without noise, siemens."""


def plan(network: Any, technology: Technology, start: Sequence[Matrix] | None = None) -> tuple[Plan, ...]:
    """Plan how to program each crossbar of ``network`` into devices of ``technology``.

    ``start`` holds the present conductances (S) of the cells; None means the lower end of the window, as after an
    erasure. Raises UserError for conductances outside the window.
    """
    window, found = technology.window, []
    for number, wanted in enumerate(network.conductances, start=1):
        matrix = np.array(wanted, float)
        _require_inside(matrix, window, f"crossbar {number}: target")
        begin = np.full(matrix.shape, window.lowest)
        if start is not None:
            begin = np.array(start[number - 1], float)
            if begin.shape != matrix.shape:
                raise UserError(
                    f"crossbar {number}: start: expected shape {matrix.shape}, as in the network, got {begin.shape}"
                )
            _require_inside(begin, window, f"crossbar {number}: start")
        level = window.nearest(matrix)
        pulses = _nearest_count(technology.pulses, window, begin, level)
        found.append(Plan(matrix, level, pulses, _after(technology.pulses, window, begin, pulses)))
    return tuple(found)


def table(plans: Sequence[Plan]) -> list[dict[str, float]]:
    """The plans as rows of a CSV file; crossbars count from 1, rows and columns from 0, conductances are in siemens."""
    return [
        {
            "crossbar": number,
            "row": row,
            "column": column,
            "target_siemens": float(one.target[row, column]),
            "level_siemens": float(one.level[row, column]),
            "pulses": int(one.pulses[row, column]),
            "expected_siemens": float(one.expected[row, column]),
        }
        for number, one in enumerate(plans, start=1)
        for row, column in np.ndindex(one.target.shape)
    ]


def _require_inside(values: Matrix, window: Window, what: str) -> None:
    low, high = window.lowest * (1 - ROUNDING), window.highest * (1 + ROUNDING)
    outside = ~((values >= low) & (values <= high))
    if outside.any():
        row, column = np.argwhere(outside)[0].tolist()
        raise UserError(
            f"{what} of row {row}, column {column} is {values[row, column]:.4g} S, outside the devices' window from "
            f"{window.lowest:g} to {window.highest:g} S; train within this window, or map the network onto it"
        )


def _after(law: PulseLaw, window: Window, begin: Matrix, pulses: Array) -> Matrix:
    """Conductances (S) after ``pulses`` without noise."""
    moved = begin.copy()
    law.move(moved, np.asarray(pulses, float), np.array(window.lowest), np.array(window.highest))
    return np.clip(moved, window.lowest, window.highest)


def _nearest_count(law: PulseLaw, window: Window, begin: Matrix, level: Matrix) -> Int[Array, "rows columns"]:
    """The number of pulses that ends nearest to ``level``, found by bisection, because every law is monotonic."""
    sign = np.sign(level - begin)
    low, high = np.zeros(begin.shape), np.ones(begin.shape)

    def short(count: Array) -> Array:
        return sign * (level - _after(law, window, begin, sign * count)) > 0

    while (growing := short(high) & (high < MOST)).any():
        high[growing] *= 2
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        before = short(middle)
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    off = [np.abs(level - _after(law, window, begin, sign * count)) for count in (low, high)]
    return (sign * np.where(off[1] < off[0], high, low)).astype(int)
