"""Compilation of functions by numba. Sums may be reassociated; NaN and infinity keep their meaning."""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

from eqprop_analog import compilation

F = TypeVar("F", bound=Callable[..., Any])

BLAS_SAMPLES = 64
"""Number of rows of the smaller factor above which BLAS is faster, despite its packing of the larger one."""
NARROW = 32
"""Number of columns below which a crossbar is stored transposed, because its rows are too short for vector registers."""
SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""Allowed optimizations: reordering of sums and fusion with products, but none that assumes the absence of NaN."""


class _Clock(event.Listener):
    """Measures the time of numba's compilations; a nested compilation is part of the time of the outer one."""

    def __init__(self) -> None:
        self.depth, self.begin = 0, 0.0

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        """Called when the compilation of a function begins."""
        if self.depth == 0:
            self.begin = time.perf_counter()
        self.depth += 1

    def on_end(self, event: Any) -> None:  # noqa: ARG002
        """Called when the compilation of a function ends."""
        self.depth -= 1
        if self.depth == 0:
            compilation.add(time.perf_counter() - self.begin)


event.register("numba:compile", _Clock())  # type: ignore[no-untyped-call]


def compiled(function: F) -> F:
    """Compile loops over arrays, without numba's cache, because cached functions give results that differ in the last bits."""
    return cast("F", njit(error_model="numpy", fastmath=SUMS)(function))
