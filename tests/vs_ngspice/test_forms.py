"""Equilibria do not depend on the Norton reduction, on the other samples of a sweep, or on its division into parts."""

import numpy as np
import pytest

from eqprop_analog import Equilibrium, NgspiceSolver, Nudge, ResistiveNetwork
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.ngspice.sweeps import Rung

BOUND = 1e-12
"""Volts, or a fraction of the largest voltage where that is above 1 V."""
INPUTS = np.random.default_rng(7).uniform(-1, 1, (4, 5))
TARGETS = np.eye(3)[[0, 1, 2, 0]]


LAWS = [
    *(NgspiceDiode(), NgspiceDiode(1e-14, 1.8, 0.6, 60.0), Clamp(0.1, 50.0), Clamp()),
    *(Shockley(), PiecewiseLinear(), Antiparallel(Shockley(rail=-0.1)), Antiparallel(NgspiceDiode(1e-12))),
]


def network(
    diode: Law | None = None, gains: tuple[float, float] = (4.0, 3.0), **settings: float | str
) -> ResistiveNetwork:
    layers = [5, 7, 6, 6 if settings.get("outputs") == "pairs" else 3]
    made = ResistiveNetwork.dense(
        layers, seed=7, diode=diode, amplifier_gain=gains, input_gain=10.0, bias=2e-8, **settings
    )
    made.conductances[1][4, :] = 0  # a node that drives nothing
    return made


def nudges(network: ResistiveNetwork) -> list[Nudge]:
    beta = 0.3 * np.linalg.eigvalsh(network.output_stiffness())[0]
    return [Nudge(TARGETS, b, network.nudge_kind) for b in (beta, -beta)]


def largest_difference(one: Equilibrium, other: Equilibrium) -> float:
    scale = max(1.0, *(float(np.abs(v).max()) for v in one.voltages))
    return max(float(np.abs(a - b).max()) for a, b in zip(one.voltages, other.voltages, strict=True)) / scale


@pytest.mark.parametrize("diode", LAWS)
@pytest.mark.parametrize("gains", [(4.0, 3.0), (1.0, 1.0)])
@pytest.mark.parametrize("settings", [{}, {"bias_row": -2.0, "outputs": "pairs"}], ids=["plain", "bias row and pairs"])
def test_flat_and_norton_form_have_the_same_voltages_in_every_phase(
    diode: Law, gains: tuple[float, float], settings: dict, ngspice: NgspiceSolver, flat_ngspice: NgspiceSolver
) -> None:
    net = network(diode, gains, **settings)
    for norton, flat in zip(
        ngspice.solve_phases(net, INPUTS, nudges(net)),
        flat_ngspice.solve_phases(net, INPUTS, nudges(net)),
        strict=True,
    ):
        assert norton.good.all()
        assert flat.good.all()
        assert largest_difference(norton, flat) <= BOUND


def test_one_sweep_through_all_phases_equals_each_phase_solved_by_itself(ngspice: NgspiceSolver) -> None:
    net = network()
    together = ngspice.solve_phases(net, INPUTS, nudges(net))
    alone = [ngspice.solve(net, INPUTS), *(ngspice.solve(net, INPUTS, nudge) for nudge in nudges(net))]
    for one, other in zip(together, alone, strict=True):
        assert largest_difference(one, other) <= 1e-11  # ngspice's own reltol: each point starts from another one
        assert one.nudge is None or np.sign(one.nudge.beta) == np.sign(other.nudge.beta)
    assert together[0].nudge is None
    assert largest_difference(together[0], together[1]) > 1e-3


def test_a_sweep_in_any_order_gives_each_sample_its_own_voltages(ngspice: NgspiceSolver) -> None:
    net, order = network(), np.array([2, 0, 3, 1])
    straight, permuted = ngspice.solve(net, INPUTS), ngspice.solve(net, INPUTS[order])
    for one, other in zip(straight.voltages, permuted.voltages, strict=True):
        np.testing.assert_allclose(one[order], other, rtol=0, atol=1e-10)


def test_a_batch_cut_into_sweeps_equals_one_sweep(ngspice: NgspiceSolver, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    whole = ngspice.solve_phases(net, INPUTS, nudges(net))
    first = Rung("three at most", 3)
    monkeypatch.setattr(NgspiceSolver, "_ladder", lambda *_: (first,))
    for one, other in zip(whole, ngspice.solve_phases(net, INPUTS, nudges(net)), strict=True):
        assert other.good.all()
        assert largest_difference(one, other) <= 1e-11


def test_one_target_for_the_whole_batch_is_every_samples_target(ngspice: NgspiceSolver) -> None:
    net, target = network(), np.array([0.2, 0.9, 0.4])
    beta = nudges(net)[0].beta
    shared = ngspice.solve(net, INPUTS, Nudge(target[None], beta))
    repeated = ngspice.solve(net, INPUTS, Nudge(np.tile(target, (4, 1)), beta))
    assert largest_difference(shared, repeated) <= BOUND


def test_the_norton_form_has_one_source_and_one_conductance_a_node_in_place_of_the_first_crossbar() -> None:
    net = network()
    for form, resistors in (("flat", np.count_nonzero(net.conductances[0])), ("norton", 7)):
        first = compile_network(net, INPUTS[:1], form=form).sections[0]
        lines = [line for element in first.elements for line in element.lines()]
        assert sum(line.startswith("R") for line in lines) == resistors
