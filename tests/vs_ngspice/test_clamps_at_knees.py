"""Clamps that carry very small currents: ngspice finds every equilibrium near the knee, and the surrogate's voltages."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import Antiparallel, Clamp, NgspiceSolver, Nudge, ResistiveNetwork, Status, SurrogateSolver
from eqprop_analog.devices import Law

Array = np.ndarray
SAMPLES = 100


def near_knees(law: Law, seed: int, away: float) -> tuple[ResistiveNetwork, Array]:
    """A network, and inputs at which every hidden node is within ``away`` amperes of the knee of its clamp."""
    network = ResistiveNetwork.dense([4, 4, 2], seed, diode=law)
    rail = network.single_diode.rail
    without = replace(network, diode=Clamp(rail=-1e3))
    moved = SurrogateSolver().solve(without, np.eye(4)).voltages[0]
    at_knee = np.linalg.solve(moved.T, network.polarity(1) * rail)
    first = network.conductances[0]
    currents = np.random.default_rng([31, seed]).uniform(-away, away, (SAMPLES, 4))
    return network, at_knee + np.linalg.solve((first[:4] - first[4:8]).T, currents.T).T


@pytest.mark.parametrize("law", [Clamp(0.1), Clamp(-0.2), Clamp(0.1, on_resistance=10.0), Antiparallel(Clamp(-0.2))])
def test_clamps_near_their_knees_converge_to_the_surrogates_voltages(law: Law, ngspice: NgspiceSolver) -> None:
    for seed, away in ((1, 1e-9), (2, 1e-9), (3, 1e-12)):
        network, inputs = near_knees(law, seed, away)
        nudge = Nudge(np.zeros((SAMPLES, 2)), 1e-8)
        measured = ngspice.solve_phases(network, inputs, [nudge])
        computed = SurrogateSolver().solve_phases(network.in_spice(), inputs, [nudge])
        for theirs, ours in zip(measured, computed, strict=True):
            assert set(theirs.status.tolist()) == set(ours.status.tolist()) == {Status.CONVERGED}
            scale = max(1.0, np.abs(inputs).max())
            assert max(np.abs(a - b).max() for a, b in zip(theirs.voltages, ours.voltages, strict=True)) <= 1e-9 * scale
