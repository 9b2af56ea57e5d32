"""Convolutions and average pooling in ngspice: every law, both forms, both signs of the nudge."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver, contrast
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.experiments.agreement import compare
from eqprop_analog.networks.resistive.netlist_import import netlist_in_text
from eqprop_analog.spice.netlist import static_netlist

LAWS = [Clamp(), Clamp(0.1, 50.0), PiecewiseLinear(), Shockley(), NgspiceDiode(), Antiparallel(NgspiceDiode(1e-12))]
POOLED = (
    {"channels": 4, "kernel": 3, "padding": 1},
    {"pool": 2, "siemens": 2e-6},
    {"channels": 2, "kernel": 2},
    {"outputs": 6},
)
STRIDES = ({"channels": 4, "kernel": 3, "stride": 2}, {"outputs": 6})
VOLTAGE_BOUND = 1e-9


def network(law: Law, connections: tuple[dict[str, float], ...] = POOLED) -> ResistiveNetwork:
    return ResistiveNetwork.convolutional(
        (2, 6, 6),
        connections,
        3,
        diode=law,
        amplifier_gain=4.0,
        input_gain=5.0,
        bias=2e-8,
        bias_row=-0.5,
        outputs="pairs",
    )


def batch(samples: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.uniform(0, 1, (samples, 72)), np.eye(3)[random.integers(3, size=samples)]


@pytest.mark.parametrize("connections", [POOLED, STRIDES], ids=["pooled", "strides"])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_ngspice_finds_the_same_equilibria_and_gradients(law: Law, connections: tuple[dict[str, float], ...]) -> None:
    assert compare(network(law, connections), *batch(), beta=1e-7).met


@pytest.mark.parametrize("law", [NgspiceDiode(), Antiparallel(Clamp(-0.1))], ids=lambda law: type(law).__name__)
def test_the_flat_form_has_every_resistor_and_the_same_voltages(law: Law, flat_ngspice: NgspiceSolver) -> None:
    net, (x, y) = network(law), batch(1)
    phases = SurrogateSolver().solve_phases(net, x, nudges := [Nudge(y, b, "current") for b in (1e-8, -1e-8)])
    for mine, theirs in zip(phases, flat_ngspice.solve_phases(net, x, nudges), strict=True):
        for one, other in zip(mine.require().voltages, theirs.require().voltages, strict=True):
            assert np.abs(one - other).max() <= VOLTAGE_BOUND * max(1.0, float(np.abs(one).max()))
    text = static_netlist(net.circuit(x, form="flat"))
    pooling = [line for line in text.splitlines() if line.startswith("R2_")]
    assert len(pooling) == 4 * 3 * 3 * 4
    assert {float(line.split()[3]) for line in pooling} == {500000.0}
    assert sum(line.startswith("R") for line in text.splitlines()) == net.resistors_in_circuit


def test_its_netlist_is_read_back_as_the_dense_network_of_its_resistors() -> None:
    net, (x, _) = network(NgspiceDiode()), batch(1)
    again = netlist_in_text(static_netlist(net.circuit(x, form="flat"))).network
    for matrix, crossbar in zip(again.conductances, net.crossbars, strict=True):
        np.testing.assert_allclose(matrix, crossbar.matrix(), rtol=1e-12)


def test_a_kernels_gradient_measured_in_ngspice_is_the_sum_over_its_places(ngspice: NgspiceSolver) -> None:
    net, (x, y) = network(NgspiceDiode(), STRIDES), batch()
    dense = replace(net, conductances=tuple(each.matrix() for each in net.crossbars), crossbars=())
    free, *_ = ngspice.solve_phases(net, x, [])
    plus, minus = (ngspice.solve(net, x, Nudge(y, beta, "current"), free) for beta in (1e-8, -1e-8))
    found, whole = (contrast(each, x, plus, minus).conductances[0] for each in (net, dense))
    kernel = net.crossbars[0]
    sums = np.zeros_like(found)
    for cell in np.ndindex(found.shape):
        unit = np.zeros_like(found)
        unit[cell] = 1e-6
        row, column, _ = kernel.of(unit).elements()
        sums[cell] = whole[row, column].sum()
    np.testing.assert_allclose(found, sums, rtol=1e-9, atol=1e-9 * np.abs(sums).max())
