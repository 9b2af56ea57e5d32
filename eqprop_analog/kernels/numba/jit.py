"""How functions are compiled by numba. Sums may be reassociated; NaN and infinity keep their meaning."""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

from eqprop_analog import compilation

F = TypeVar("F", bound=Callable[..., Any])

BLAS_SAMPLES = 64
"""Rows of the smaller factor from which BLAS's packing of the larger one pays for itself."""
NARROW = 32
"""A crossbar of fewer columns is kept transposed: its rows are too short for vector registers."""
SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""What may be done to sums: taken in another order, fused with products; nothing that takes NaN for impossible."""


class _Clock(event.Listener):
    """Counts how long numba compiles; a function that another one compiles on its way is part of that one's time."""

    def __init__(self) -> None:
        self.depth, self.begin = 0, 0.0

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        """A function begins to be compiled."""
        if self.depth == 0:
            self.begin = time.perf_counter()
        self.depth += 1

    def on_end(self, event: Any) -> None:  # noqa: ARG002
        """It is compiled."""
        self.depth -= 1
        if self.depth == 0:
            compilation.add(time.perf_counter() - self.begin)


event.register("numba:compile", _Clock())  # type: ignore[no-untyped-call]


def compiled(function: F) -> F:
    """For loops over arrays; anew in every process, because what numba's cache gives back differs in the last bits."""
    return cast("F", njit(error_model="numpy", fastmath=SUMS)(function))
