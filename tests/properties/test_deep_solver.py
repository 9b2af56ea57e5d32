"""Conjugate gradients and elimination compute the same Newton step, and deep, wide circuits obey the laws of small ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import Equilibrium, Nudge, ResistiveNetwork, Status, SurrogateSolver
from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear
from eqprop_analog.networks.resistive import newton
from eqprop_analog.networks.resistive.conjugate_gradients import conjugate_gradients
from eqprop_analog.networks.resistive.coordinate_descent import sweep
from eqprop_analog.networks.resistive.elimination import eliminate
from eqprop_analog.networks.resistive.equations import NodalEquations

SOLVER = SurrogateSolver()
BATCH = 7
LAWS = [NgspiceDiode(), Clamp(), Clamp(on_resistance=1e-6), PiecewiseLinear(), Antiparallel(NgspiceDiode(rail=0.0))]
WIDTHS = st.lists(st.integers(newton.NARROW + 1, 60), min_size=2, max_size=4)
EVERY_NODE = 10**6


def problem(make, seed: int, law: Law, widths: list[int], decades: float = 2.0) -> tuple[ResistiveNetwork, np.ndarray]:
    """A network whose hidden layers are all too wide for elimination, and inputs of up to 10 V."""
    random = np.random.default_rng(seed)
    gains = (random.uniform(1, 10, len(widths)) ** random.integers(0, 2, len(widths))).tolist()
    network = make(seed, (5, *widths, 4), diode=law, gains=gains, decades=decades, zeros=0.2, bias=1e-7)
    return network, random.uniform(-10, 10, (BATCH, 5))


def nudges(network: ResistiveNetwork, share: float = 0.5) -> list[Nudge]:
    targets = np.random.default_rng(1).uniform(-1, 1, (BATCH, 4))
    stiffness = np.linalg.eigvalsh(network.output_stiffness())[0]
    return [Nudge(targets, share * stiffness), Nudge(targets, -share * stiffness)]


def flat(layers: Layers) -> np.ndarray:
    return np.concatenate(layers, axis=1)


def scale(phase: Equilibrium) -> float:
    return max(1.0, np.abs(flat(phase.voltages)).max())


def in_every_way(monkeypatch: pytest.MonkeyPatch, solve):
    """Results of ``solve`` by conjugate gradients and by elimination."""
    for narrow in (0, EVERY_NODE):
        monkeypatch.setattr(newton, "NARROW", narrow)
        yield solve()


circuits = given(seed=st.integers(0, 2**32), law=st.sampled_from(LAWS), widths=WIDTHS)


@settings(max_examples=25)
@circuits
def test_conjugate_gradients_and_elimination_lead_to_the_same_equilibria(random_network, seed, law, widths):
    network, inputs = problem(random_network, seed, law, widths, decades=4.0)
    with pytest.MonkeyPatch.context() as patch:
        one, other = in_every_way(patch, lambda: SOLVER.solve_phases(network, inputs, nudges(network)))
    for phase, again in zip(one, other, strict=True):
        assert all(status is Status.CONVERGED for status in (*phase.status, *again.status))
        np.testing.assert_allclose(flat(phase.voltages), flat(again.voltages), rtol=0, atol=1e-10 * scale(phase))


@settings(max_examples=25)
@circuits
def test_newtons_step_is_the_same_by_conjugate_gradients_and_elimination(random_network, seed, law, widths):
    network, inputs = problem(random_network, seed, law, widths)
    circuit = NodalEquations.of(network, inputs)
    voltages = sweep(circuit, circuit.initial())
    currents = tuple(np.random.default_rng(seed).normal(0, 1e-6, v.shape) for v in voltages)
    with pytest.MonkeyPatch.context() as patch:
        one, other = in_every_way(patch, lambda: flat(newton.newton_step(circuit, voltages, currents)))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max())


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), widths=WIDTHS)
def test_one_newton_step_solves_a_linear_circuit(random_network, seed, widths):
    network, inputs = problem(random_network, seed, Clamp(rail=-1e3), widths)
    network = replace(network, diode=Clamp(rail=-1e6))
    circuit = NodalEquations.of(network, inputs)
    start = tuple(np.random.default_rng(seed).uniform(-1, 1, v.shape) for v in circuit.initial())
    before = circuit.residuals(start)
    step = newton.newton_step(circuit, start, before)
    after = circuit.residuals(tuple(v + d for v, d in zip(start, step, strict=True)))
    assert np.abs(flat(after)).max() <= 1e-10 * np.abs(flat(before)).max()


@settings(max_examples=25)
@circuits
def test_energy_falls_from_iteration_to_iteration(random_network, seed, law, widths):
    network, inputs = problem(random_network, seed, law, widths)
    circuit = NodalEquations.of(network, inputs)
    energies = []
    for iterations in range(6):
        phase = SurrogateSolver(max_iterations=iterations).solve(network, inputs)
        energies.append(circuit.energy(phase.voltages))
    size = np.abs(energies).max() + np.abs(network.energy(inputs, circuit.initial())).max()
    assert (np.diff(energies, axis=0) <= 1e-12 * size).all()


@settings(max_examples=25)
@circuits
def test_samples_know_nothing_of_each_other(random_network, seed, law, widths):
    """Permuted, repeated or single samples: those that converge first leave the matrix products."""
    network, inputs = problem(random_network, seed, law, widths)
    inputs[3] = 0
    whole = SOLVER.solve(network, inputs)
    for samples in ([6, 5, 4, 3, 2, 1, 0], [2, 2, 2], [4]):
        part = SOLVER.solve(network, inputs[samples])
        np.testing.assert_allclose(
            flat(part.voltages), flat(whole.voltages)[samples], rtol=0, atol=1e-11 * scale(whole)
        )


@settings(max_examples=25)
@circuits
def test_any_start_leads_to_the_same_equilibrium(random_network, seed, law, widths):
    network, inputs = problem(random_network, seed, law, widths)
    cold = SOLVER.solve(network, inputs)
    random = np.random.default_rng(seed)
    elsewhere = replace(cold, voltages=tuple(random.uniform(-2, 2, v.shape) for v in cold.voltages))
    for start in (elsewhere, cold):
        warm = SOLVER.solve(network, inputs, start=start)
        np.testing.assert_allclose(flat(warm.voltages), flat(cold.voltages), rtol=0, atol=1e-10 * scale(cold))


def test_a_circuit_that_hardly_anything_holds_is_solved_too(random_network):
    """Condition 1e6: single precision is not sufficient, so conjugate gradients are replaced by elimination."""
    network, inputs = problem(random_network, 3, Clamp(rail=-20.0), [40, 50, 40])
    network.conductances[0][...] *= 1e-6
    network = replace(network, biases=tuple(1e-6 * bias for bias in network.biases))
    phase = SOLVER.solve(network, inputs).require()
    dense = NodalEquations.of(network, inputs)
    ones = tuple(np.ones_like(v) for v in phase.voltages)
    held = newton.newton_step(dense, phase.voltages, dense.residuals(phase.voltages))
    assert np.abs(flat(held)).max() <= 1e-9 * scale(phase)  # Newton has nothing left to do
    slack = newton.newton_step(dense, phase.voltages, tuple(1e-6 * one for one in ones))
    assert np.abs(flat(slack)).max() > 1e3


def test_conjugate_gradients_say_what_they_have_not_solved():
    random = np.random.default_rng(0)
    coupling = random.uniform(0, 1, (50, 80)) / np.sqrt(50 * 80)
    inner, outer = np.ones((2, 50)), np.stack([np.full(80, 0.5), np.full(80, 1.9)])
    right = random.normal(size=(2, 50))
    exact = eliminate(coupling, inner, outer, right)
    for sample in range(2):
        matrix = np.eye(50) - (coupling * outer[sample] ** 2) @ coupling.T
        np.testing.assert_allclose(matrix @ exact[sample], right[sample], atol=1e-12)
    for accuracy in (1e-2, 1e-6, 1e-12):
        found, solved = conjugate_gradients(coupling, inner, outer, right, accuracy)
        assert solved.all()
        assert np.abs(found - exact).max() <= 1e3 * accuracy
    chain = 0.5 * (np.eye(50) + np.eye(50, k=1))  # condition 1e3: as many steps as nodes, and rounding
    _, solved = conjugate_gradients(chain, inner, np.ones((2, 50)), right, 1e-30)
    assert not solved.any()


def test_layers_of_one_colour_do_not_touch(random_network):
    for layers in ((2, 3), (2, 5, 3), (2, 3, 9, 4), (2, 3, 9, 4, 2), (2, 9, 3, 4, 2, 8)):
        network = random_network(0, layers)
        stay, leave = newton.colours(network)
        assert sorted((*stay, *leave)) == list(range(1, network.depth + 1))
        assert all((a - b) % 2 == 0 for colour in (stay, leave) for a in colour for b in colour)
        assert sum(layers[layer] for layer in stay) <= sum(layers[layer] for layer in leave)
