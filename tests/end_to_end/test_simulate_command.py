"""``simulate_spice.py`` reports every voltage of every phase, and the difference between the two solvers."""

import json
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver

AGREE = 1e-9
"""Volts: how far ngspice and the surrogate may be apart."""


class TestSimulateSpice:
    @pytest.fixture
    def simulate(self, run_script, tmp_path):
        def simulate(*arguments: object, code: int = 0) -> dict[str, Any]:
            result = run_script("simulate_spice.py", *arguments, "--json", "out.json")
            assert (result.code, result.err == "") == (code, code == 0)
            return json.loads((tmp_path / "out.json").read_text())

        return simulate

    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_json_holds_every_voltage_of_every_phase(self, simulate, tmp_path, form):
        network = ResistiveNetwork.dense([4, 6, 2], seed=2, amplifier_gain=3.0)
        network.save(tmp_path / "net.npz")
        inputs = np.random.default_rng(0).normal(size=(3, 4))
        targets = np.random.default_rng(1).normal(size=(3, 2))
        np.save(tmp_path / "x.npy", inputs)
        np.save(tmp_path / "y.npy", targets)
        figures = simulate(
            "--network", "net.npz", "--inputs", "x.npy", "--targets", "y.npy", "--beta", 1e-8, "--form", form
        )
        assert figures["layers"] == [4, 6, 2]
        nudges = {"free": None, "plus": Nudge(targets, 1e-8), "minus": Nudge(targets, -1e-8)}
        assert set(figures["phases"]) == set(nudges)
        for name, nudge in nudges.items():
            phase = figures["phases"][name]
            assert phase["status"] == ["CONVERGED"] * 3
            assert np.shape(phase["residual"]) == (3,)
            assert np.max(phase["residual"]) < 1e-14
            expected = SurrogateSolver().solve(network, inputs, nudge).voltages
            for layer, voltages in zip(("h1", "o"), expected, strict=True):
                np.testing.assert_allclose(phase["voltages"][layer], voltages, rtol=0, atol=AGREE)
        agreement = figures["agreement"]
        assert (agreement["form"], agreement["samples"], agreement["beta"]) == (form, 3, 1e-8)
        assert agreement["statuses"] == {"CONVERGED": 9}
        assert agreement["largest_difference"] <= AGREE
        assert agreement["gradient_difference"] <= 1e-6
        assert agreement["same_predictions"] is True
        assert figures["versions"]["ngspice"].startswith("ngspice-")

    def test_a_single_output_is_predicted_by_its_side_of_half_the_way(self, monkeypatch, simulate):
        """The argmax of a single output is always 0; the comparison must be able to fail."""
        shifted = SurrogateSolver.solve_phases

        def solve_phases(self, *arguments):
            phases = shifted(self, *arguments)
            for phase in phases:
                phase.voltages[-1][...] += 1
            return phases

        monkeypatch.setattr(SurrogateSolver, "solve_phases", solve_phases)
        assert simulate("--layers", 2, 4, 1, code=3)["agreement"]["same_predictions"] is False

    def test_outputs_that_tie_are_no_different_predictions(self, simulate):
        """Both outputs are divided from one node: where they tie to rounding, either may be the larger."""
        agreement = simulate("--layers", 1, 1, 2)["agreement"]
        assert agreement["largest_difference"] < AGREE
        assert (agreement["same_predictions"], agreement["met"]) == (True, True)

    def test_defaults_are_five_examples_of_the_seed(self, simulate):
        one, same, other = (simulate("--layers", 2, 3, 2, "--seed", seed) for seed in (4, 4, 5))
        assert np.shape(one["phases"]["free"]["voltages"]["h1"]) == (5, 3)
        assert one["phases"] == same["phases"]
        assert one["phases"] != other["phases"]

    def test_one_crossbar_and_three(self, simulate):
        for layers in ((3, 2), (3, 4, 4, 2)):
            assert simulate("--layers", *layers)["agreement"]["largest_difference"] <= AGREE
