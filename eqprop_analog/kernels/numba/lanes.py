"""Arithmetic with eight numbers in one vector register, for compiled loops that LLVM does not vectorize by itself.

An array of lanes is a flat float64 array; its element n consists of LANES numbers that start at n * LANES.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 8
"""Number of float64 lanes: one register of AVX-512, or two of AVX2."""
TILE = 4
"""Numbers of rows and columns of a product that are summed in registers at a time: 16 sums, each operand used four times."""
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_FUSED = ("contract",)
_code: Any = cgutils


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for compiled code, defined by the instructions that it generates."""
    return cast("Callable[..., Any]", intrinsic(function))


class Lanes(types.Type):
    """The type of LANES float64 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


_lanes = Lanes()


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to an array's element ``index``."""
    data = context.make_array(kind)(context, builder, array).data
    first = builder.mul(index, ir.Constant(index.type, LANES))
    return builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer())


def _operation(count: int, made: Callable[[Any, Sequence[Any]], Any]) -> Any:
    """A function of ``count`` lanes that returns lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return made(builder, arguments)

    return _lanes(*[_lanes] * count), generate


@_inlined
def load(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Element ``index``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *arguments), align=8)

    return _lanes(array, types.intp), generate


@_inlined
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    """Store ``value`` as element ``index``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, signature.args[0], *arguments[:2]), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), generate


@_inlined
def spread(_typing: Any, number: Any) -> Any:  # noqa: ARG001
    """``number`` in every lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        undefined, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        lowest = builder.insert_element(undefined, arguments[0], first)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(lowest, undefined, everywhere)

    return _lanes(types.float64), generate


@_inlined
def plus(_typing: Any, one: Any, other: Any) -> Any:  # noqa: ARG001
    """Sum."""
    return _operation(2, lambda builder, of: builder.fadd(*of))


@_inlined
def times(_typing: Any, one: Any, other: Any) -> Any:  # noqa: ARG001
    """Product."""
    return _operation(2, lambda builder, of: builder.fmul(*of))


@_inlined
def inverse(_typing: Any, one: Any) -> Any:  # noqa: ARG001
    """Reciprocal."""
    return _operation(1, lambda builder, of: builder.fdiv(ir.Constant(_VECTOR, [1.0] * LANES), of[0]))


@_inlined
def more(_typing: Any, total: Any, one: Any, other: Any) -> Any:  # noqa: ARG001
    """``total`` + ``one`` x ``other``, fused."""
    return _operation(3, _fused)


def _fused(builder: Any, of: Sequence[Any]) -> Any:
    return builder.fadd(of[0], builder.fmul(of[1], of[2], flags=_FUSED), flags=_FUSED)


@_inlined
def add_products(
    _typing: Any,
    out: Any,
    out_first: Any,  # noqa: ARG001
    left: Any,
    right: Any,
    size: Any,  # noqa: ARG001
    ends: Any,  # noqa: ARG001
    a: Any,  # noqa: ARG001
    b: Any,  # noqa: ARG001
) -> Any:
    """out[a:, b:] += leftᵀ right for TILE rows and columns; out (ends, ends) from ``out_first`` on, left, right (size, ends)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, first, one, other, size, ends, a, b = arguments

        def at(which: int, array: Any, row: Any, column: Any, begin: Any = None) -> Any:
            index = builder.add(builder.mul(row, ends), column)
            return _place(context, builder, signature.args[which], array, builder.add(index, begin) if begin else index)

        def after(start: Any, count: int) -> Any:
            return builder.add(start, ir.Constant(start.type, count))

        places = [[at(0, target, after(a, i), after(b, j), first) for j in range(TILE)] for i in range(TILE)]
        sums = [[_code.alloca_once_value(builder, builder.load(place, align=8)) for place in row] for row in places]
        with _code.for_range(builder, size) as loop:
            rows = [builder.load(at(2, one, loop.index, after(a, i)), align=8) for i in range(TILE)]
            columns = [builder.load(at(3, other, loop.index, after(b, j)), align=8) for j in range(TILE)]
            for i, row in enumerate(sums):
                for j, held in enumerate(row):
                    builder.store(_fused(builder, (builder.load(held), rows[i], columns[j])), held)
        for row, held in zip(places, sums, strict=True):
            for place, each in zip(row, held, strict=True):
                builder.store(builder.load(each), place, align=8)
        return context.get_dummy_value()

    index = types.intp
    return types.void(out, index, left, right, index, index, index, index), generate
