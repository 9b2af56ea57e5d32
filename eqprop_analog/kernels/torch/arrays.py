"""Tensors that NumPy's functions accept, so that a device's law, written once for arrays, runs on any PyTorch device."""

from __future__ import annotations  # the module can then be imported without PyTorch

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqprop_analog.errors import UserError
from eqprop_analog.text import in_one_line

STEPS = 12
"""Number of steps of each loop of a law inside a graph, where it cannot depend on the data. Six are enough for ordinary nodes; a
node that is held only by a reverse current takes about 12."""


class Patience:
    """Control of a law's loops: they depend on the data or, inside a graph, run a fixed number of steps (``unsettled``)."""

    def __init__(self, device: torch.device, steps: int | None = None) -> None:
        self.steps = self.left = steps
        self.unsettled = torch.zeros((), dtype=torch.bool, device=device)

    def goes_on(self, moving: Tensor) -> bool:
        """Return whether the loop takes another step; ``moving``: whether anything has not converged."""
        if self.left is None:
            return bool(moving)
        self.left -= 1
        if self.left > 0:
            return True
        self.unsettled = self.unsettled | moving
        self.left = self.steps  # of the next loop
        return False


class Condition:
    """A truth value that may exist only on the device: whether ``any`` still changes, or ``all`` have converged."""

    def __init__(self, value: Tensor, patience: Patience, *, settled: bool = False) -> None:
        self.value, self.patience, self.settled = value, patience, settled

    def __bool__(self) -> bool:
        """See Patience."""
        if self.settled:
            return not self.patience.goes_on(~self.value)
        return self.patience.goes_on(self.value)


class TensorArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor as an array: elementwise functions, comparisons, ``where`` and ``clip``, all computed by PyTorch.

    Any other function raises UserError with its name.
    """

    __array_priority__ = 1000

    def __init__(self, tensor: Tensor, patience: Patience) -> None:
        self.tensor, self.patience = tensor, patience

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's name of the tensor's dtype."""
        return np.dtype(str(self.tensor.dtype).removeprefix("torch."))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.tensor.shape)

    def astype(self, dtype: Any) -> TensorArray:
        """Convert to another precision."""
        return self._like(self.tensor.to(_of(dtype)))

    def any(self) -> Condition:
        """Return whether any is true: a loop continues while any element changes."""
        return Condition(self.tensor.any(), self.patience)

    def all(self) -> Condition:
        """Return whether all are true: a loop ends when all elements have converged."""
        return Condition(self.tensor.all(), self.patience, settled=True)

    def _like(self, tensor: Tensor) -> TensorArray:
        return TensorArray(tensor, self.patience)

    def _tensor(self, value: Any) -> Any:
        """Return ``value`` for PyTorch; numbers have no precision."""
        if isinstance(value, TensorArray):
            return value.tensor
        if isinstance(value, np.ndarray) and value.ndim:
            return torch.from_numpy(value).to(self.tensor.device)
        return value.item() if isinstance(value, np.ndarray | np.generic) else value

    def __array__(self, *_arguments: Any, **_named: Any) -> Any:
        """Raise UserError for a law that converts its arguments to NumPy arrays; tensors of a graph have no values yet."""
        raise UserError(
            "device: the diode's law converts its arguments to NumPy arrays (numpy.asarray); use --device cpu"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """Apply NumPy's elementwise functions, also in place."""
        function = ELEMENTWISE.get(ufunc.__name__)
        dtype, out = settings.pop("dtype", None), settings.pop("out", None)
        if function is None or method != "__call__" or settings:
            raise UserError(f"device: the law's numpy.{ufunc.__name__} is not supported on tensors; use --device cpu")
        given = [self._tensor(value) for value in inputs]
        floating = [value for value in given if isinstance(value, Tensor) and value.is_floating_point()]
        kind = self.tensor.dtype if not floating else floating[0].dtype
        given = [value if isinstance(value, Tensor) else self._number(value, kind) for value in given]
        if dtype is not None:
            given = [value.to(_of(dtype)) for value in given]
        result = function(*given)
        if out is None:
            return self._like(result)
        out[0].tensor = result.to(out[0].tensor.dtype)
        return out[0]

    def _number(self, value: Any, dtype: torch.dtype) -> Tensor:
        """Convert a number to a tensor of ``dtype``, so that it does not change the precision."""
        dtype = torch.bool if isinstance(value, bool) else dtype
        return torch.full((), value, dtype=dtype, device=self.tensor.device)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, arguments: Sequence[Any], settings: dict[str, Any]
    ) -> Any:
        """Apply ``where``, ``clip`` and a few other functions."""
        name = function.__name__
        known = FUNCTIONS.get(name)
        if known is None:
            raise UserError(f"device: the law's numpy.{name} is not supported on tensors; use --device cpu")
        return known(self, *arguments, **settings)


def _of(dtype: Any) -> torch.dtype:
    found: torch.dtype = getattr(torch, np.dtype(dtype).name)
    return found


def _where(self: TensorArray, condition: Any, one: Any, other: Any) -> TensorArray:
    given = [self._tensor(value) for value in (one, other)]
    kind = next(
        (value.dtype for value in given if isinstance(value, Tensor)), torch.float64
    )  # NumPy's result for two numbers
    ends = (value if isinstance(value, Tensor) else self._number(value, kind) for value in given)
    return self._like(torch.where(self._tensor(condition), *ends))


def _clip(self: TensorArray, values: Any, low: Any, high: Any) -> TensorArray:
    return self._like(torch.clamp(self._tensor(values), self._tensor(low), self._tensor(high)))


def _spacing(values: Tensor) -> Tensor:
    away = torch.nextafter(values.abs(), torch.full_like(values, torch.inf))
    return torch.copysign(away - values.abs(), values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "clip": _clip,
    "zeros_like": lambda self, values: self._like(torch.zeros_like(self._tensor(values))),
    "ones_like": lambda self, values: self._like(torch.ones_like(self._tensor(values))),
    "empty_like": lambda self, values: self._like(torch.empty_like(self._tensor(values))),
    "copy": lambda self, values: self._like(self._tensor(values).clone()),
    "result_type": lambda _, *values: np.result_type(
        *(value.dtype if isinstance(value, TensorArray) else value for value in values)
    ),
}
"""Of NumPy's functions that are not elementwise, by name."""
SAME = (
    "add subtract multiply sqrt exp expm1 exp2 log log1p log2 log10 tanh sinh cosh sin cos arctan arcsinh sign floor ceil square "
    "absolute negative positive reciprocal maximum minimum fmax fmin less less_equal greater greater_equal "
    "logical_and logical_or logical_not logical_xor isfinite isnan isinf copysign nextafter hypot logaddexp"
)
"""Elementwise functions that PyTorch has under the same name."""
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in SAME.split() if hasattr(torch, name)},
    "divide": torch.true_divide,
    "power": torch.pow,
    "rint": torch.round,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "spacing": _spacing,
    "bitwise_and": torch.bitwise_and,
    "bitwise_or": torch.bitwise_or,
    "invert": torch.bitwise_not,
}
"""PyTorch's functions by the names of NumPy's."""


def node_roots(law: Any, conductance: Tensor, source: Tensor, steps: int | None = None) -> tuple[Tensor, Tensor]:
    """Return ``law.solve`` of tensors, volts, and whether any node had not converged after ``steps`` (None: no limit).

    It runs the same code as in NumPy, including the iteration. Raises UserError if the law calls an unsupported
    function.
    """
    patience = Patience(source.device, steps)
    found = law.solve(TensorArray(conductance, patience), TensorArray(source, patience))
    return found.tensor, patience.unsettled


def slopes(law: Any, v: Tensor) -> Tensor:
    """``law.slope`` of tensors, siemens."""
    found: Tensor = law.slope(TensorArray(v, Patience(v.device))).tensor
    return found


def require_law(law: Any, *, slope: bool) -> None:
    """Raise UserError for a law that cannot be run on tensors: its node solve, and if asked for its ``slope``, are tried."""
    one = torch.ones((1, 1), dtype=torch.float64)
    try:
        v, _ = node_roots(law, 1e-6 * one, 1e-7 * one, STEPS)
        if slope:
            slopes(law, v)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"device: PyTorch cannot run the diode's law ({type(error).__name__}: {in_one_line(error)}); use --device cpu"
        ) from error
