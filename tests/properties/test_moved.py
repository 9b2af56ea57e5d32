"""Modules that have moved are found under their old names, for one version, and say where they went."""

from importlib import import_module

import pytest

from eqprop_analog.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_warns_and_gives_the_new_modules_names(old: str) -> None:
    new = import_module(f"eqprop_analog.{MOVED[old]}")
    with pytest.warns(DeprecationWarning, match=f"eqprop_analog.{MOVED[old]}"):
        module = import_module(f"eqprop_analog.{old}")
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    assert all(getattr(module, name) is getattr(new, name) for name in public)


def test_a_name_that_never_was_is_still_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("eqprop_analog.nothing_of_the_kind")
