"""Compilation of scalar formulas by numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def formula(function: F) -> F:
    """Compile a scalar formula without reordering its operations, and inline it in the calling loop."""
    return cast("F", njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(function))
