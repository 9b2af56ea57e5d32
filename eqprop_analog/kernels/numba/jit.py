"""How functions are compiled by numba. Sums may be reassociated; NaN and infinity keep their meaning."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

BLAS_SAMPLES = 64
"""Rows of the smaller factor from which BLAS's packing of the larger one pays for itself."""
NARROW = 32
"""A crossbar of fewer columns is kept transposed: its rows are too short for vector registers."""
SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""What may be done to sums: taken in another order, fused with products; nothing that takes NaN for impossible."""


def compiled(function: F) -> F:
    """For loops over arrays; anew in every process, because what numba's cache gives back differs in the last bits."""
    return cast("F", njit(error_model="numpy", fastmath=SUMS)(function))
