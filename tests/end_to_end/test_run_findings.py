"""The warnings at the end of a run and in metrics.json, and absurd settings, which are refused before it starts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.findings import findings
from eqprop_analog.experiments.presets import OWN_SHAPES, resolve
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.findings import cells

BASE = {"layers": [16, 8, 3], "beta": 1e-7, "conductance_rates": 1e-15, "bias_rates": 1e-15, "input_gain": 100.0}


def config(**settings: Any) -> ResistiveConfig:
    return ResistiveConfig(**{**BASE, "diode": {"law": "clamp"}, **settings})


def kinds(network: ResistiveNetwork, error: float = 0.1, **settings: Any) -> list[str]:
    return [finding.kind for finding in findings(config(**settings), network, error)[0]]


def test_a_sound_run_has_nothing_to_say() -> None:
    network = config(conductance_window=(1e-8, 1e-4)).network()
    assert kinds(network) == []


@pytest.mark.parametrize(("error", "at_chance"), [(2 / 3, True), (0.62, True), (0.4, False)])
def test_chance_is_that_of_the_number_of_classes(error: float, at_chance: bool) -> None:
    assert ("chance" in kinds(config(conductance_window=(1e-8, 1e-4)).network(), error)) == at_chance


def test_cells_at_a_bound_are_counted_by_crossbar() -> None:
    network = config(conductance_window=(1e-8, 1e-6)).network()
    first, second = network.conductances
    first[:8] = 1e-6
    second[0] = 1e-8
    counted = cells(network)
    assert counted[0].at_maximum == 8 / 32
    assert counted[1].at_minimum == (second == 1e-8).mean()
    found, _ = findings(config(), network, 0.1)
    assert [finding.kind for finding in found] == ["pinned"]
    assert "25.0 % of the cells of crossbar 1" in found[0].text
    assert "1e-06 S" in found[0].text


def test_cells_between_nothing_and_gmin_are_named_where_they_carry_a_column() -> None:
    """Compared with cells of 100 nS they are almost open: they are counted, but need no warning."""
    network = config().network()
    network.conductances[1][2, 1] = 2.2e-16
    assert cells(network)[1].below_gmin == 1 / 24
    assert "below-gmin" not in kinds(network)
    network.conductances[1][:, 1] = np.where(np.arange(8) == 2, 2.2e-16, 0)
    assert cells(network)[1].share_below_gmin == 1
    (found,) = (finding for finding in findings(config(), network, 0.1)[0] if finding.kind == "below-gmin")
    for part in ("1 of 24 cells of crossbar 2", "1e-12 S", "4.5e+15 ohm"):
        assert part in found.text
    network.conductances[1][2, 1] = 0.0
    assert "below-gmin" not in kinds(network)


def test_a_circuit_that_attenuates_says_by_how_much() -> None:
    network = config().network()
    weak = replace(network, input_gain=1e-3)
    assert "attenuation" not in kinds(network)
    (found,) = (finding for finding in findings(config(), weak, 0.1)[0] if finding.kind == "attenuation")
    assert "0.001 V" in found.text
    assert "targets are 1 V" in found.text


def test_a_run_says_what_it_found_at_its_end_and_in_its_metrics(run) -> None:
    """Digits at rates that change nothing, and with inputs of a millivolt."""
    command = ("train", "--dataset", "digits", "--layers", 64, 16, 10, "--epochs", 1, "--output", "run")
    result = run(*command, "--rate-factor", 1e-9, "--input-gain", 1e-3)
    assert result.code == 0
    figures = json.loads(Path("run/metrics.json").read_text())
    assert [warning["kind"] for warning in figures["warnings"]][:2] == ["chance", "attenuation"]
    assert all(warning["text"] in result.out for warning in figures["warnings"])
    assert [one["crossbar"] for one in figures["cells"]] == [1, 2]


def test_a_circuit_that_inputs_cannot_move_is_refused_by_the_recipe() -> None:
    """Diodes that conduct half an ampere at their knee hold every hidden node."""
    diode = {"law": "ngspice", "saturation_current": 0.5}
    with pytest.raises(UserError, match="saturation current"):
        resolve(OWN_SHAPES["surrogate"], {"layers": [64, 16, 10], "dataset": "digits", "diode": diode})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"conductance_window": (0.0, 100.0)}, "conductance_window"),
        ({"conductance_rates": 0.01}, "conductance_rates"),
        ({"rate_factor": 1e13}, "conductance_rates"),
        ({"beta": 1.0}, "beta"),
        ({"beta": 1e-20}, "beta"),
        ({"bias_rates": 0.01}, "bias_rates"),
        ({"conductance_rates": [1e-15, 1.0]}, "conductance_rates"),
        ({"conductance_rates": 0.01, "conductance_window": (0.0, 1.0)}, "conductance_rates"),
        ({"conductance_window": (0.0, 1e-20)}, "conductance_window"),
        ({"amplifier_gain": 1e9}, "amplifier_gain"),
        ({"amplifier_gain": 1e-9}, "amplifier_gain"),
        ({"input_gain": 1e12}, "input_gain"),
        ({"input_gain": 1e-12}, "input_gain"),
        ({"bias_row": -1e12}, "input_gain"),
    ],
)
def test_absurd_settings_are_refused_with_what_was_expected(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"{named}: .*expected"):
        config(**settings)


def test_the_recipe_of_a_shape_trains_without_any_further_option(run) -> None:
    """scikit-learn's digits, on which guessing has an error of 90 %."""
    result = run(
        "train", "--dataset", "digits", "--layers", 64, 32, 10, "--epochs", 5, "--validation", "--output", "run"
    )
    assert result.code == 0
    figures = json.loads(Path("run/metrics.json").read_text())
    assert figures["validation_error"] < 0.4
    assert "chance" not in [warning["kind"] for warning in figures["warnings"]]
    assert f"beta {figures['config']['beta']:.3g} S" in result.out


def test_a_window_and_gains_are_options_of_a_shape(run) -> None:
    circuit = ("--conductance-window", "1e-6", "1e-4", "--amplifier-gain", 3, "--batch-size", 16)
    command = ("train", "--dataset", "digits", "--layers", 64, 32, 10, *circuit, "--epochs", 5, "--validation")
    assert run(*command, "--output", "run").code == 0
    network = ResistiveNetwork.load("run/network.npz")
    assert (network.conductance_window, network.amplifier_gain) == ((1e-6, 1e-4), (3.0,))
    assert all(((matrix >= 0.999999e-6) & (matrix <= 1.000001e-4)).all() for matrix in network.conductances)
    assert not np.array_equal(network.conductances[0][:64], network.conductances[0][64:])
    assert json.loads(Path("run/metrics.json").read_text())["validation_error"] < 0.4
