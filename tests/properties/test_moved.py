"""Modules that have moved are found under their old names for one version, and a warning gives the new name."""

from importlib import import_module

import pytest

from eqprop_analog.moved import MOVED, PACKAGES


@pytest.mark.parametrize("old", MOVED)
def test_an_old_modules_names_are_the_new_ones_and_warn(old: str) -> None:
    new, module = import_module(f"eqprop_analog.{MOVED[old]}"), import_module(f"eqprop_analog.{old}")
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    for name in public:
        with pytest.warns(DeprecationWarning, match=f"eqprop_analog.{MOVED[old]}"):
            assert getattr(module, name) is getattr(new, name)


@pytest.mark.parametrize("old", PACKAGES)
def test_an_old_packages_names_are_those_of_their_new_homes(old: str) -> None:
    package = import_module(f"eqprop_analog.{old}")
    for name, home in PACKAGES[old].items():
        with pytest.warns(DeprecationWarning, match=f"eqprop_analog.{home}"):
            assert getattr(package, name) is getattr(import_module(f"eqprop_analog.{home}"), name)


@pytest.mark.parametrize("name", ["nothing_of_the_kind", "models.nothing", "solvers.surrogate.nothing"])
def test_a_name_that_never_was_is_still_an_import_error(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module(f"eqprop_analog.{name}")


def test_what_an_old_module_never_had_is_an_attribute_error() -> None:
    module = import_module("eqprop_analog.solvers.surrogate")
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
