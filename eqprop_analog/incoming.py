"""Validation of input from outside: arrays, numbers and names; invalid input raises a UserError."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import wraps
from inspect import signature
from numbers import Real
from typing import Any, ParamSpec, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.errors import UserError
from eqprop_analog.text import suggestion

Array = np.ndarray
P = ParamSpec("P")
R = TypeVar("R")

PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))
"""Precisions in which networks are computed."""
LARGEST = 1e9
"""Largest input, voltage or current of a source; its square and its products with gains do not overflow."""
LONGEST = 1e7
"""Largest time limit, seconds (four months); timers of the system overflow not far above."""
MOST = 2**53
"""Largest integer; floating point skips some above it."""
REAL = "biuf"
"""Kinds of NumPy dtypes of real numbers; true and false are 1 and 0."""


def real_array(
    values: ArrayLike, name: str, dtype: DTypeLike | None = None, *, finite: bool = True, largest: float = math.inf
) -> Array:
    """Return ``values`` as an array of ``dtype`` (None: float32 and float64 are kept, other kinds of numbers become float64).

    All input of a network is converted here: lists, NumPy arrays of any real dtype, pandas tables, PyTorch tensors on
    the CPU. A boolean is 1 or 0. Raises UserError, which begins with ``name``, for text, objects, complex numbers,
    masked, sparse or ragged arrays, tensors on a GPU or with gradients, values beyond ±``largest`` and, with
    ``finite``, for NaN, infinity and values that overflow in ``dtype``.
    """
    parts = values if isinstance(values, list | tuple) else (values,)
    if any(np.ma.isMaskedArray(part) for part in parts):
        raise UserError(
            f"{name}: got a masked array; fill the masked values (.filled(value)), or leave out those samples"
        )
    if getattr(values, "requires_grad", False):
        raise UserError(f"{name}: got a tensor that requires gradients; pass its .detach()")
    if getattr(getattr(values, "device", None), "type", "cpu") != "cpu":
        raise UserError(f"{name}: got a tensor on {values.device}; pass its .cpu()")  # type: ignore[union-attr]
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError, np.ma.MAError) as error:
        raise UserError(
            f"{name}: expected one rectangular array of real numbers, got {_kind(values)} ({error}){_in_numpy(parts)}"
        ) from error
    if array.dtype.kind not in REAL:
        raise UserError(f"{name}: expected real numbers, got {_kind(values)} of dtype {array.dtype}{_way_out(array)}")
    own = array.dtype if array.dtype in PRECISIONS else np.dtype(np.float64)
    with np.errstate(over="ignore"):  # an overflow is not finite
        array = np.asarray(array, dtype=own if dtype is None else dtype)
    if finite and not np.isfinite(array).all():
        raise UserError(
            f"{name}: contains NaN or infinite values; expected finite numbers within the range of {array.dtype}"
        )
    if not math.isinf(largest) and np.abs(array).max(initial=0) > largest:
        raise UserError(f"{name}: expected numbers within ±{largest:g}, got {np.abs(array).max():g}")
    return array


def _kind(values: Any) -> str:
    return f"a {type(values).__name__}"


def _in_numpy(parts: Any) -> str:
    """Return how to convert a tensor whose precision, such as bfloat16, NumPy does not have."""
    return "; pass the tensor's .float()" if "float" in str(getattr(next(iter(parts), None), "dtype", "")) else ""


def _way_out(array: Array) -> str:
    if array.dtype.kind == "c":
        return "; pass the real part, or the magnitude"
    if "float" in array.dtype.name:  # bfloat16 of other packages
        return "; pass it as .astype(np.float32)"
    if array.dtype == object:
        return "; give only numbers, in rows of equal length (convert a sparse matrix by .toarray())"
    return ""


def in_one_precision(groups: Mapping[str, Sequence[ArrayLike]]) -> list[tuple[Array, ...]]:
    """Return the arrays of a network by name, as tuples, all float32 or all float64.

    Arrays in that precision are not copied; integers become float64. Raises UserError, which names the array and its
    number, for another precision, and as ``real_array`` does (the network itself checks for NaN and infinity).
    """
    found: dict[str, list[Array]] = {}
    for name, arrays in groups.items():
        found[name] = [_of_network(values, f"{name} {k}") for k, values in enumerate(listed(arrays, name), start=1)]
    every = [array.dtype for arrays in found.values() for array in arrays]
    dtype = np.result_type(*every) if every else np.dtype(np.float64)
    return [tuple(np.asarray(array, dtype) for array in arrays) for arrays in found.values()]


def _of_network(values: ArrayLike, name: str) -> Array:
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.newbyteorder("=") not in PRECISIONS:
        raise UserError(
            f"{name}: networks are computed in float64 or float32, got {dtype}; convert by .astype(np.float64)"
        )
    return real_array(values, name, finite=False)


def real_number(value: Any, name: str, unit: str = "") -> float:
    """Return ``value`` as a finite float.

    Raises UserError, which names its ``unit``, for anything else, including booleans.
    """
    scalar: Any = value.item() if isinstance(value, np.generic | Array) and value.ndim == 0 else value
    if np.ma.is_masked(value):
        scalar = math.nan
    try:
        number = math.nan if isinstance(scalar, bool) or not isinstance(scalar, Real) else float(scalar)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name}: expected a finite number{unit and f' ({unit})'}, got {value!r:.80}")
    return number


def whole_number(value: Any, name: str, least: int = 0) -> int:
    """Return ``value`` as an integer from ``least`` to MOST.

    Raises UserError for anything else, including true and false.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool | np.bool):
        try:
            number = value.__index__()
        except TypeError:  # an array with several elements
            number = least - 1
    else:
        number = int(value) if isinstance(value, float) and value.is_integer() else least - 1
    if number > MOST:
        raise UserError(f"{name} must be at most {MOST:,}, got {value!r:.80}")
    if number < least:
        raise UserError(f"{name} must be an integer of at least {least}, got {value!r:.80}")
    return number


def require_tolerance(value: Any) -> None:
    """Raise UserError unless a solver's ``tolerance`` is None or a number above 0."""
    if value is not None and not real_number(value, "tolerance") > 0:
        raise UserError(f"tolerance: expected a number above 0, got {value!r:.80}")


def seconds_of(value: Any, name: str) -> float:
    """Return ``value`` as a time limit. Raises UserError unless it is above 0 s and at most LONGEST."""
    seconds = real_number(value, name, "seconds")
    if not 0 < seconds <= LONGEST:
        raise UserError(f"{name}: expected seconds above 0 and at most {LONGEST:g}, got {seconds:g}")
    return seconds


def one_of(value: Any, name: str, known: Iterable[str]) -> None:
    """Raise UserError, with a suggestion, unless ``value`` is one of the names in ``known``."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        wanted = ", ".join(f'"{each}"' for each in names)
        raise UserError(f"{name}: expected one of {wanted}, got {value!r:.80}{suggestion(value, names)}")


def listed(values: Any, name: str, each: str = "layer") -> list[Any]:
    """Return ``values`` as a list. Raises UserError for a single value, text and unordered collections."""
    unordered = isinstance(values, str | bytes | Mapping | AbstractSet)
    if unordered or not isinstance(values, Iterable) or (isinstance(values, Array) and not values.ndim):
        raise UserError(f"{name}: expected a list with one value per {each}, got {_kind(values)}")
    return list(values)


def numbers(values: Any, name: str, count: int | None = None, unit: str = "") -> tuple[float, ...]:
    """Return ``values`` as a tuple of finite floats, ``count`` of them if given. Raises UserError."""
    array = real_array(values, name)
    if array.ndim != 1 or (count is not None and len(array) != count):
        wanted = "a list of" if count is None else count
        raise UserError(f"{name}: expected {wanted} numbers{unit and f' ({unit})'}, got {values!r:.80}")
    return tuple(array.tolist())


def known_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate ``function`` so that unknown keyword arguments raise UserError with a suggestion."""
    names = [name for name, each in signature(function).parameters.items() if each.kind is not each.VAR_KEYWORD]

    @wraps(function)
    def checked(*positional: P.args, **keywords: P.kwargs) -> R:
        for name in keywords:
            if name not in names:
                known = [each for each in names if each not in ("self", "cls")]
                raise UserError(
                    f'{function.__qualname__}: there is no argument "{name}"{suggestion(name, known)}; expected '
                    f"{', '.join(known)}"
                )
        return function(*positional, **keywords)

    return checked
