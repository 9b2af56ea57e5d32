"""Numbers in TOML files: text is a number only with a unit, where a unit is expected; true and false are not numbers."""

import pytest

from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.files import packaged, read_toml
from eqprop_analog.networks.resistive.chips.study import Study


@pytest.mark.parametrize(
    ("preset", "name", "value"),
    [
        ("mnist-100", "layers", ["784", "8", "10"]),
        ("mnist-100", "layers", [True, 8, 10]),
        ("mnist-100", "layers", [784.0, 8, 10]),
        ("mnist-100", "batch_size", "5"),
        ("mnist-100", "seed", False),
        ("mnist-100", "beta", True),
        ("mnist-100", "beta", "1e-7"),
        ("mnist-100", "validation", 1),
        ("mnist-100", "amplifier_gain", [True]),
        ("mnist-100", "conductance_window", [0, True]),
        ("mnist-100", "bias_rates", "1e-15"),
        ("mnist-100", "diode", {"law": "ngspice", "rail": True}),
        ("mnist-100", "diode", {"law": "ngspice", "rail": "0.2"}),
        ("hopfield-1h", "beta", "0.5"),
        ("hopfield-1h", "weight_rates", True),
        ("allostery", "nodes", "100"),
    ],
)
def test_configurations(preset, name, value):
    with pytest.raises(UserError, match=name):
        resolve(preset, {name: value})


@pytest.mark.parametrize("name", packaged("specifications"))
def test_specifications(name):
    specification = Specification.load(name)
    numbers = {key for key, value in specification.settings().items() if type(value) in (int, float)}
    assert numbers
    for key in numbers:
        for value in (True, "0.5"):
            with pytest.raises(UserError, match=key.rpartition(".")[2]):
                specification.having({key: value})
    assert specification.having({"wires.tile": [4, 5]}).wires.tile == (4, 5)
    with pytest.raises(UserError, match="tile"):
        specification.having({"wires.tile": [True, 5]})


@pytest.mark.parametrize("change", [{"chips": "3"}, {"chips": True}, {"target_error": "0.05"}, {"seed": True}], ids=str)
def test_studies(change):
    table = read_toml(packaged("studies")["imperfections-quick"], "study")
    with pytest.raises(UserError, match=next(iter(change))):
        Study.of(table | change)


def test_units_are_understood_where_they_are_asked_for():
    config = resolve("mnist-100", {"beta": "100nS", "input_gain": "5V", "conductance_window": [0, "100uS"]})
    assert (config.beta, config.input_gain, config.conductance_window) == (1e-7, 5.0, (0.0, 1e-4))
    assert Specification().having({"wires.resistance": "2ohm", "retention": "60s"}).wires.resistance == 2.0


@pytest.mark.parametrize("name", packaged("presets"))
def test_what_a_run_leaves_is_read_as_it_was(name):
    config = resolve(name, {})
    for mode in ("python", "json"):
        assert type(config).model_validate(config.model_dump(mode=mode)) == config
