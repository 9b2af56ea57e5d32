"""How scalar formulas are compiled by numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def formula(function: F) -> F:
    """For scalar formulas whose order of operations makes them accurate; they become part of the loop that calls them."""
    return cast("F", njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(function))
