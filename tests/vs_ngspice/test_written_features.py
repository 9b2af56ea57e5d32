"""Bias row, antiparallel diodes and pairs of outputs in written netlists: their names, and their results in plain ngspice."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.netlist import Form, compile_network
from eqprop_analog.networks.resistive.transient import settle
from eqprop_analog.spice.netlist import static_netlist

RunNgspice = Callable[[str], Any]
INPUTS = np.array([[0.6, -0.3, 0.9]])
TARGETS = np.array([[1.0, 0.0]])
BOUND = 1e-9
LAWS = [
    *(Shockley(), PiecewiseLinear(), Antiparallel(Shockley(1e-12, 1.3, -0.1, 60.0))),
    *(Antiparallel(NgspiceDiode()), Antiparallel(PiecewiseLinear(rail=0.0)), Antiparallel(Clamp(-0.2))),
]


def network(diode: Law) -> ResistiveNetwork:
    settings = {"amplifier_gain": 4.0, "input_gain": 5.0, "bias_row": -2.0, "outputs": "pairs"}
    return ResistiveNetwork.dense([3, 5, 4], 3, diode=diode, bias=1e-8, **settings)


@pytest.mark.parametrize("form", ["flat", "norton"])
@pytest.mark.parametrize("diode", LAWS, ids=lambda law: f"{type(law).__name__} {law.spice[0]}")
def test_plain_ngspice_finds_the_surrogates_voltages_free_and_nudged(
    diode: Law, form: Form, run_ngspice: RunNgspice
) -> None:
    net = network(diode)
    nudge = Nudge(TARGETS, 1e-7, "current")
    free, nudged = SurrogateSolver().solve_phases(net.in_spice(), INPUTS, [nudge])
    injection = NodalEquations.of(net, INPUTS).nudged([nudge], free).injection
    for phase, given in ((free, None), (nudged, injection)):
        done = run_ngspice(static_netlist(compile_network(net, INPUTS, [given], form)))
        assert done.code == 0, done.text
        np.testing.assert_allclose(list(done.values.values()), phase.outputs[0], rtol=0, atol=BOUND)
    assert np.abs(nudged.outputs - free.outputs).max() > 1e-3


def test_the_flat_netlist_names_the_bias_row_and_both_diodes_of_a_pair() -> None:
    lines = static_netlist(compile_network(network(Antiparallel(Shockley(rail=0.1))), INPUTS, form="flat")).splitlines()
    assert "Vxb xb 0 -2.0" in lines
    assert sum(line.startswith("R1_6_") and line.split()[1] == "xb" for line in lines) > 0
    assert "Xdp1_4 rail_p h1_4 shockley is=1e-09 n=1.0" in lines
    assert "Xdn1_4 h1_4 rail_n shockley is=1e-09 n=1.0" in lines
    assert any("class k is read as v(o_2k) - v(o_2k+1)" in line for line in lines)


def test_a_network_without_them_does_not_mention_them() -> None:
    text = static_netlist(compile_network(ResistiveNetwork.dense([3, 5, 4], 3), INPUTS, form="flat"))
    for word in ("xb", "Xdp", "pairs", "shockley", "antiparallel"):
        assert word not in text


def test_a_transient_ends_at_the_operating_point() -> None:
    result = settle(network(Antiparallel(Shockley(rail=-0.1))), INPUTS, Nudge(TARGETS, 1e-7, "current"))
    for phase in (result.free, result.nudged):
        assert phase.equilibrium.good.all()
        assert phase.deviation < 1e-6
    assert np.abs(result.nudged.equilibrium.outputs - result.free.equilibrium.outputs).max() > 1e-3
