"""Every setting of a configuration is an option of train and sweep, of the type and with the choices of its field."""

from typing import Any

import pytest

from eqprop_analog.cli import parser
from eqprop_analog.cli.settings import form_of, settings
from eqprop_analog.cli.train import overridden
from eqprop_analog.experiments.presets import models, resolve

GIVEN = [
    ("mnist-100", ("--sweeps", 5, "--beta", "2e-7", "--bias-row", "1V"), {"sweeps": 5, "beta": 2e-7, "bias_row": 1.0}),
    ("mnist-100", ("--conductance-window", "1uS", "50uS"), {"conductance_window": (1e-6, 5e-5)}),
    ("mnist-100", ("--amplifier-gain", 4), {"amplifier_gain": 4.0}),
    ("mnist-100", ("--layers", 784, 30, 20, 10, "--amplifier-gain", 4, 5), {"amplifier_gain": [4.0, 5.0]}),
    ("mnist-100", ("--conductance-rates", "1e-15", "2e-15"), {"conductance_rates": [1e-15, 2e-15]}),
    ("mnist-100", ("--nudging", "one-sided", "--no-validation"), {"nudging": "one-sided", "validation": False}),
    (
        "net1",
        ("--free-steps", 7, "--momentum", 0.5, "--persistent"),
        {"free_steps": 7, "momentum": 0.5, "persistent": True},
    ),
    ("net1", ("--dynamics", "descent", "--seed", 3), None),
    ("allostery", ("--topology", "periodic", "--nodes", 49), {"topology": "periodic", "nodes": 49}),
]


@pytest.mark.parametrize(("preset", "words", "expected"), GIVEN)
def test_an_option_sets_what_a_file_does(preset: str, words: tuple[Any, ...], expected: dict[str, Any] | None) -> None:
    arguments = parser(["train"]).parse_args(["train", "--preset", preset, *map(str, words)])
    if expected is None:  # descent has no step, but the preset has one
        with pytest.raises(Exception, match="step"):
            resolve(preset, overridden(arguments))
        return
    config = resolve(preset, overridden(arguments))
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_every_setting_that_is_no_table_has_an_option_and_says_what_it_means(command: str, run: Any) -> None:
    told = run(command, "--help").out
    for model in models().values():
        for name, field in model.model_fields.items():
            if name not in ("model", "own_data") and form_of(field.annotation, tuple(field.metadata)) is not None:
                assert f"--{name.replace('_', '-')}" in told
    assert all(setting.help() for setting in settings())
    assert all(text for setting in settings() for text in setting.meanings.values())


def test_what_a_field_does_not_take_is_refused(run: Any) -> None:
    assert run("train", "--update", "often").code == 2
    refused = run("train", "--preset", "mnist-100", "--feedback", 0.5)
    assert refused.code == 2
    assert "feedback" in refused.err
