"""The rules for imports: shared code depends on no family of networks, and names none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import eqprop_analog
from eqprop_analog.core import families
from eqprop_analog.core.registry import BUILT_IN, FEATURES

PACKAGE = Path(eqprop_analog.__file__).parent
SHARED = ("core", "data", "devices", "spice", "learning", "experiments", "plotting", "report", "cli")
REGISTRY = PACKAGE / "core" / "registry.py"
FAMILIES = tuple(f"eqprop_analog.networks.{name}" for name in BUILT_IN)
ORDINARY_WORDS = {"graph"}
KINDS = ("Network", "Config", "Solver", "Training")


def files() -> list[Path]:
    return [path for room in SHARED for path in sorted((PACKAGE / room).rglob("*.py"))]


def modules(tree: ast.AST) -> Iterator[str]:
    """Every module that code imports, also inside functions and by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def kinds_checked(tree: ast.AST) -> Iterator[str]:
    """Classes of networks, configurations, solvers and trainings in instance checks of the code."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            classes = list(ast.walk(node.args[1]))
        elif isinstance(node, ast.MatchClass):
            classes = list(ast.walk(node.cls))
        elif isinstance(node, ast.Compare):
            types = [each for each in (node.left, *node.comparators) if isinstance(each, ast.Name)]
            classes = types if any(isinstance(op, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)) for op in node.ops) else []
        else:
            continue
        names = [
            each.id if isinstance(each, ast.Name) else each.attr
            for each in classes
            if isinstance(each, (ast.Name, ast.Attribute))
        ]
        yield from (name for name in names if name.endswith(KINDS))


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string except docstrings."""
    documenting = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documenting:
            yield node.value


def test_every_family_is_a_folder_of_networks() -> None:
    assert all(module == f"eqprop_analog.networks.{name}.family" for name, module in BUILT_IN.items())


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_shared_code_imports_no_family_and_names_none(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [name for name in modules(tree) if f"{name}.".startswith(tuple(f"{each}." for each in FAMILIES))] == []
    if path != REGISTRY:
        named = [text for text in texts(tree) if text in BUILT_IN.keys() - ORDINARY_WORDS or text.startswith(FAMILIES)]
        assert named == []


def test_every_feature_of_a_family_is_one_that_shared_code_asks_for_and_can_be_imported() -> None:
    for family in families().values():
        assert family.features.keys() <= FEATURES.keys()
        assert all(family.feature(name) is not None for name in family.features)
        assert all(callable(draw()) for draw in family.pictures.values())


def test_every_feature_is_asked_for_by_shared_code() -> None:
    asked = {text for path in files() if path != REGISTRY for text in texts(ast.parse(path.read_text()))}
    assert asked >= FEATURES.keys()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_checks_the_kind_of_a_network_a_configuration_or_a_solver(path: Path) -> None:
    assert list(kinds_checked(ast.parse(path.read_text()))) == []
