"""Training through wires by its settings: options with units, metrics, resuming, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices.cells import SinhCell
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.networks.resistive.wire_map import Errors

pytestmark = pytest.mark.usefixtures("without_ngspice")


def trained(run, preset, dataset, folder, *options):
    result = run("train", "--preset", preset, "--data-dir", dataset, "--output", folder, *options)
    assert result.code == 0, result.err
    return json.loads(Path(folder, "metrics.json").read_text())


def test_wires_change_what_is_learned_and_every_phase_converges(run, preset, dataset):
    wired = trained(run, preset, dataset, "wired", "--wire-resistance", "200kohm", "--tile", 8, 8)
    cells = trained(run, preset, dataset, "cells", "--wire-resistance", "200kohm", "--tile", 8, 8, "--read-at", "cells")
    assert wired["config"]["wire_resistance"] == 2e5
    assert set(wired["statuses"]) == {"CONVERGED"}
    for epoch in wired["history"] + cells["history"]:
        assert epoch["contrast_checks"] == 1
        assert epoch["contrast_deviation"] < 1e-6
    one, other = (ResistiveNetwork.load(f"{folder}/network.npz").conductances[0] for folder in ("wired", "cells"))
    assert np.abs(one - other).max() > 0


def test_a_run_through_wires_resumes_to_the_same_bits(run, preset, dataset):
    options = ["--wire-resistance", "100kohm"]
    trained(run, preset, dataset, "whole", *options, "--epochs", 2)
    trained(run, preset, dataset, "parts", *options, "--epochs", 1)
    trained(run, preset, dataset, "parts", *options, "--epochs", 2, "--resume")
    one, other = (ResistiveNetwork.load(f"{folder}/network.npz").conductances for folder in ("whole", "parts"))
    for whole, parts in zip(one, other, strict=True):
        np.testing.assert_array_equal(whole, parts)


def test_links_and_a_law_of_the_cells_are_learned_through_and_kept(run, preset, dataset):
    options = ["--wire-resistance", "50kohm", "--tile", 8, 8, "--limit", 4]
    found = {}
    for name, more in {
        "plain": [],
        "linked": ["--link-resistance", "100kohm"],
        "bent": ["--link-resistance", "100kohm", "--cell", "sinh", "scale=200mV"],
        "nearly linear": ["--link-resistance", "100kohm", "--cell", "sinh", "scale=1e6"],
    }.items():
        metrics = trained(run, preset, dataset, name, *options, *more)
        assert set(metrics["statuses"]) == {"CONVERGED"}
        found[name] = ResistiveNetwork.load(f"{name}/network.npz").conductances[0]
    assert metrics["config"]["cell"] == {"law": "sinh", "scale": 1e6}
    start = resolve(preset, {}).network().conductances[0]
    moved = np.abs(found["plain"] - start).max()
    np.testing.assert_allclose(found["nearly linear"], found["linked"], rtol=0, atol=1e-6 * moved)
    for one, other in (("linked", "plain"), ("bent", "linked")):
        assert np.abs(found[one] - found[other]).max() > 1e-3 * moved
    config = resolve("bent/config.toml", {})
    assert config.circuit(ResistiveNetwork.load("bent/network.npz")).cell == SinhCell(0.2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--wire-resistance", "-1"], "wire_resistance"),
        (["--wire-resistance", "1kohm", "--sweeps", "4"], "sweeps"),
        (["--wire-resistance", "1kohm", "--solver", "ngspice"], "ngspice"),
        (["--read-at", "cells"], "read_at"),
        (["--wire-resistance", "1kS"], "ohm"),
        (["--link-resistance", "3"], "link_resistance"),
        (["--cell", "sinh", "scale=0.5A"], "volts"),
        (["--cell", "sinh", "scale=0.5V", "--solver", "ngspice"], "cell"),
    ],
)
def test_settings_that_do_not_go_with_wires_are_refused(refused_training, options, named):
    assert named in refused_training(*options)


def test_a_preset_of_truncated_phases_converges_through_wires():
    config = resolve("mnist-100", {"wire_resistance": 1e4})
    assert (config.sweeps, config.precision) == (None, "float64")


def test_the_map_compares_learning_through_wires_with_what_is_transferred(run, preset, dataset):
    words = ["wires", "--preset", preset, "--data-dir", dataset, "--resistances", "1ohm", "300kohm", "--sizes", 4, 8]
    result = run(*words, "--epochs", 1, "--output", "map", "--margin", 0.5)
    assert result.code == 0, result.err
    figures = json.loads(Path("map/wires.json").read_text())
    points = {(row["size"], row["wire_resistance"]): row for row in figures["points"]}
    assert set(points) == {(size, ohms) for size in (4, 8) for ohms in (1.0, 3e5)}
    for (size, ohms), row in points.items():
        assert row["product"] == pytest.approx(ohms * figures["mean_conductance"] * size**2)
        metrics = json.loads(Path(f"map/{size}x{size},{ohms:g}ohm/metrics.json").read_text())
        assert metrics["test_error"] == row["error"]
    assert points[4, 1.0]["transferred_error"] == figures["ideal_error"]
    assert [row["size"] for row in figures["limits"]] == [4, 8]
    assert Path("map/wires.png").read_bytes().startswith(b"\x89PNG")
    again = run(*words, "--epochs", 1, "--output", "map", "--margin", 0.5)
    assert again.code == 0
    assert "5 of 5 points are finished" in again.err + again.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--resistances", "0"], "--resistances"),
        (["--resistances", "1kohm", "1000"], "--resistances"),
        (["--sizes", "0"], "--sizes"),
        (["--margin", "2"], "--margin"),
        (["--wire-resistance", "1kohm"], "--resistances"),
        (["--preset", "net1"], "net1"),
    ],
)
def test_a_map_that_is_none_is_refused(run, options, named):
    result = run("wires", *options, "--output", "map")
    assert result.code == 2
    assert named in result.err
    assert not Path("map").exists()


def test_limits_end_at_the_first_resistance_that_is_too_large():
    rows = [
        {"size": 8, "wire_resistance": ohms, "error": error, "transferred_error": moved}
        for ohms, error, moved in ((1.0, 0.1, 0.1), (3.0, 0.11, 0.3), (10.0, 0.4, 0.5), (30.0, 0.1, 0.1))
    ]
    found = Errors("test", 0.1, 1e-3, rows).limits(0.02)
    assert found == [
        {
            "size": 8,
            "wire_resistance": 3.0,
            "transferred_wire_resistance": 1.0,
            "cell_over_wire": pytest.approx(1e3 / 3),
        }
    ]
