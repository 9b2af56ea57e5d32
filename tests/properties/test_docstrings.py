"""Every argument of every public function, class and method is described in a docstring.

That of the function itself, of its class, of a field, or of the protocol or base class that says it for all.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise

import pytest

import eqprop_analog as ea
from eqprop_analog.core import Network, Solver
from eqprop_analog.devices import Law, capabilities
from eqprop_analog.learning.trainer import Learner
from eqprop_analog.learning.update import LearningRates

PROTOCOLS = (Network, Solver, Law, Learner, LearningRates)
OF_EXTENDERS = {name for name in vars(capabilities) if not name.startswith("_")} | {
    "compiled_node",
    "drawn",
    "from_spice",
    "scaled",
}
"""Methods by which devices join in what only they can; docs/extending/device.md describes them."""


def fields(kind: type) -> set[str]:
    """Fields of a class, its bases' among them, that have a docstring below them."""
    found = set()
    for base in kind.__mro__:
        if base.__module__.startswith("eqprop_analog"):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
            for field, text in pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    found.add(field.target.id)  # type: ignore[union-attr]
    return found


def arguments(function: object) -> list[str]:
    try:
        known = inspect.signature(function).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    return [name for name in known if name not in ("self", "cls", "args", "kwargs") and not name.startswith("_")]


def texts(owner: type, name: str) -> str:
    """Docstrings of a method: its own, and those of base classes and protocols."""
    sources = [*owner.__mro__, *PROTOCOLS]
    return "\n".join(getattr(getattr(source, name, None), "__doc__", None) or "" for source in sources)


def undescribed(public: object) -> Iterator[str]:
    if not inspect.isclass(public):
        yield from (each for each in arguments(public) if not described(each, public.__doc__ or ""))
        return
    if issubclass(public, Exception) or hasattr(public, "__members__"):
        return
    own = (public.__doc__ or "") + (public.__init__.__doc__ or "")
    known = fields(public)
    yield from (each for each in arguments(public) if each not in known and not described(each, own))
    for name, method in vars(public).items():
        method = getattr(method, "__func__", method)  # noqa: PLW2901 - of a classmethod
        if not name.startswith("_") and inspect.isfunction(method) and name not in OF_EXTENDERS:
            text = texts(public, name)
            yield from (f"{name}: {each}" for each in arguments(method) if not described(each, text))


def described(argument: str, text: str) -> bool:
    return re.search(rf"\b{argument}\b", text) is not None


@pytest.mark.parametrize("name", ea.__all__)
def test_every_argument_of_a_public_name_is_described(name: str) -> None:
    assert list(undescribed(getattr(ea, name))) == []


def test_the_check_finds_what_is_missing() -> None:
    def half(one: int, other: int) -> None:
        """Of ``one``."""

    assert list(undescribed(half)) == ["other"]
