"""Descriptions of settings, from the classes that define them."""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


@cache
def meanings(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class and its base classes, each in one line."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        try:
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError, ValueError):  # a class implemented in C, or typed at a prompt
            continue
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for statement, following in pairwise(statements):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
                case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found
