"""The scalar problem of a hidden node, compiled: a law's node solve (devices.CompiledNode) inside the loop over nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import NumbaError
from numba.extending import overload

from eqprop_analog.devices.capabilities import CompiledNode, compiled_node
from eqprop_analog.devices.formula import formula
from eqprop_analog.devices.law import Law
from eqprop_analog.errors import UserError
from eqprop_analog.text import in_one_line

Array = np.ndarray
Loop = Callable[[Any, Array, Array, Array], None]

BOUNDS = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}
"""Largest difference between a law's formula and its node solve, relative to the larger of the voltage and 1 V."""
_LOOPS: dict[tuple[type[Any], str], tuple[Any, Loop]] = {}
"""The law's function and the resulting loop over nodes, by class of parameters and precision."""


def node_of(law: Law, dtype: np.dtype[Any]) -> Any:
    """Return the law's parameters for ``solve_nodes``, or None if the law has no compiled solution.

    Raises UserError if it cannot be compiled, or if its roots differ from those of the law's ``solve``.
    """
    stated = compiled_node(law, dtype)
    if stated is None:
        return None
    kind, key = type(stated.parameters), (type(stated.parameters), dtype.name)
    node = kind(*(np.asarray(value, dtype)[()] for value in stated.parameters))
    given = stated.loop or stated.solve
    known = _LOOPS.get(key)
    if known is not None and known[0] is given:
        return node
    if known is not None:
        raise UserError(
            f"{type(law).__name__}.compiled_node: {kind.__qualname__} is used by another law; define a separate "
            "class for each law"
        )
    _LOOPS[key] = given, stated.loop or _checked(law, stated, node, dtype)
    return node


def _checked(law: Law, stated: CompiledNode, node: Any, dtype: np.dtype[Any]) -> Loop:
    """Return the loop over a law's formula for one node, after checking its results."""
    name = f"{type(law).__name__}.compiled_node"
    if stated.solve is None:
        raise UserError(f"{name}: expected a CompiledNode with a solve(parameters, conductance, source), or a loop")
    solve = formula(stated.solve)
    g = np.repeat(np.geomspace(1e-8, 1e-4, 5).astype(dtype), 9)
    s = np.tile(np.linspace(-1, 1, 9).astype(dtype), 5) * g
    try:
        found = np.array([solve(node, one, other) for one, other in zip(g, s, strict=True)], np.float64)
    except NumbaError as error:
        raise UserError(f"{name}: numba cannot compile it: {in_one_line(error):.400}") from error
    wanted = law.solve(g.astype(np.float64), s.astype(np.float64))
    apart = np.abs(found - wanted) / np.maximum(np.abs(wanted), 1)
    if not (apart <= BOUNDS[dtype]).all():
        k = int(np.argmax(np.where(np.isfinite(apart), apart, np.inf)))
        raise UserError(
            f"{name}: at {g[k]:g} S and {s[k]:g} A the result is {found[k]:g} V, but that of the law's solve is "
            f"{wanted[k]:g} V"
        )

    def loop(node: Any, polarity: Array, conductance: Array, v: Array) -> None:
        for j in range(len(v)):
            v[j] = polarity[j] * solve(node, conductance[j], polarity[j] * v[j])

    return loop


def solve_nodes(node: Any, polarity: Array, conductance: Array, v: Array) -> None:
    """Replace the currents ``v`` by the roots of conductance·v + i(v) = current of nodes of that polarity (Law.solve).

    It exists only in compiled code, which selects the loop for the kind of node.
    """
    raise NotImplementedError


@overload(solve_nodes, jit_options={"error_model": "numpy"}, strict=False)
def _solve_nodes(node, polarity, conductance, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return _LOOPS[node.instance_class, str(v.dtype)][1]
