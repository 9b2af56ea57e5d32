"""Training through wires by its settings: options with units, metrics, resuming, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.experiments.presets import resolve

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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--wire-resistance", "-1"], "wire_resistance"),
        (["--wire-resistance", "1kohm", "--sweeps", "4"], "sweeps"),
        (["--wire-resistance", "1kohm", "--solver", "ngspice"], "ngspice"),
        (["--read-at", "cells"], "read_at"),
        (["--wire-resistance", "1kS"], "ohm"),
    ],
)
def test_settings_that_do_not_go_with_wires_are_refused(refused_training, options, named):
    assert named in refused_training(*options)


def test_a_preset_of_truncated_phases_converges_through_wires():
    config = resolve("mnist-100", {"wire_resistance": 1e4})
    assert (config.sweeps, config.precision) == (None, "float64")
