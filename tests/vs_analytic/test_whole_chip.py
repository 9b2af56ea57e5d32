"""A whole chip, all nodes of its wires kept, against the chip with its wires eliminated, dense algebra and finite differences."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root

from eqprop_analog import Antiparallel, Clamp, NgspiceDiode, Nudge, PiecewiseLinear, ResistiveNetwork, Status, UserError
from eqprop_analog.devices.cells import CubicCell, SinhCell
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.whole_chip.equations import WholeChipEquations
from eqprop_analog.networks.whole_chip.network import WholeChip
from eqprop_analog.networks.whole_chip.newton import WholeChipNewtonSolver

Array = np.ndarray
SINH, CUBIC = SinhCell(0.4), CubicCell(0.5)
LAWS = [
    NgspiceDiode(rail=0.2),
    Clamp(rail=0.1),
    PiecewiseLinear(threshold=0.4, on_resistance=1e3),
    Antiparallel(NgspiceDiode()),
]
IMPERFECT = Periphery(
    offset=0.01,
    output_resistance=100.0,
    source_resistance=50.0,
    forward_factor=1.05,
    saturation_voltage=2.0,
    input_conductance=1e-6,
    target_offset=0.02,
    nudge_factor=1.1,
)
RECIPROCAL = Periphery(offset=0.01, output_resistance=100.0, source_resistance=50.0, input_conductance=1e-6)


def ideal(law: Any = LAWS[0], layers: tuple[int, ...] = (4, 7, 3), seed: int = 0) -> ResistiveNetwork:
    random = np.random.default_rng(seed)
    network = ResistiveNetwork.dense(list(layers), seed, amplifier_gain=3.0, input_gain=2.0, diode=law, bias=1e-6)
    for matrix in network.conductances:
        matrix[...] = 10 ** random.uniform(-6, -4, matrix.shape)
    return network


def samples(network: ResistiveNetwork, seed: int = 1) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (2, network.layers[0])), random.uniform(-1, 1, (2, network.layers[-1]))


def phases(solver: Any, network: Any, inputs: Array, targets: Array) -> Any:
    beta = network.usual_beta()
    found = solver.solve_phases(network, inputs, [Nudge(targets, beta), Nudge(targets, -beta)])
    assert all(phase.status.tolist() == [Status.CONVERGED] * 2 for phase in found)
    return found


def apart(ones: Any, others: Any) -> float:
    return max(
        float(np.abs(a - b).max())
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one.voltages, other.voltages, strict=True)
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("ohms", "link"), [(0.0, 0.0), (0.1, 0.0), (100.0, 0.0), (20.0, 300.0)])
def test_with_linear_cells_it_is_the_chip_whose_wires_are_eliminated(law, ohms, link):
    network = ideal(law)
    inputs, targets = samples(network)
    whole = WholeChip(network, IMPERFECT, ohms, (3, 3), link_resistance=link)
    reduced = NonidealNetwork(network, IMPERFECT, ohms, (3, 3), link_resistance=link)
    ours = phases(WholeChipNewtonSolver(), whole, inputs, targets)
    assert apart(ours, phases(NonidealNewtonSolver(), reduced, inputs, targets)) < 1e-11


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 10.0, 1e3]), st.sampled_from([None, SINH, CUBIC]))
def test_all_of_kirchhoffs_law_is_met_where_a_general_solver_says_so(seed, ohms, cell):
    network = ideal(NgspiceDiode(rail=0.2), (2, 3, 2), seed)
    inputs, _ = samples(network, seed)
    chip = WholeChip(network, IMPERFECT, ohms, (2, 2), cell=cell)
    found = WholeChipNewtonSolver().solve(chip, inputs[:1]).require()
    equations = WholeChipEquations.of(chip, inputs[:1])
    (volts,) = equations.unknowns(found.voltages)
    own = equations.diagonal(volts)

    def excess(x: Array) -> Array:
        return equations.missing(x[None], equations.without_diodes(x[None]))[0] / own[0]

    assert np.abs(excess(volts[0])).max() < 1e-12
    other = root(excess, volts[0] + 1e-4, method="hybr", options={"xtol": 1e-13})
    assert np.abs(other.x - volts[0]).max() < 1e-7


@pytest.mark.parametrize("cell", [None, SINH, CUBIC])
def test_wires_that_vanish_are_ideal_ones(cell):
    network = ideal()
    inputs, targets = samples(network)
    solver = WholeChipNewtonSolver()
    without, nearly = (
        phases(solver, WholeChip(network, RECIPROCAL, ohms, cell=cell), inputs, targets) for ohms in (0.0, 1e-7)
    )
    assert apart(without, nearly) < 1e-9
    assert apart(without, phases(solver, WholeChip(network, RECIPROCAL, 1e3, cell=cell), inputs, targets)) > 1e-3


@pytest.mark.parametrize("cell", [SINH, CUBIC])
def test_a_tile_as_large_as_the_arrays_is_one_array_and_smaller_ones_lose_less(cell):
    network = ideal()
    inputs, targets = samples(network)
    solver = WholeChipNewtonSolver()
    one, also, small = (
        phases(solver, WholeChip(network, RECIPROCAL, 100.0, tile, cell=cell), inputs, targets)
        for tile in ((128, 128), (8, 7), (2, 2))
    )
    without = phases(solver, WholeChip(network, RECIPROCAL, cell=cell), inputs, targets)
    assert apart(one, also) == 0
    assert 0 < apart(small, without) < apart(one, without)


def test_cells_of_a_large_scale_are_linear():
    network = ideal()
    inputs, targets = samples(network)
    solver = WholeChipNewtonSolver()
    linear, nearly = (
        phases(solver, WholeChip(network, IMPERFECT, 10.0, (3, 3), cell=cell), inputs, targets)
        for cell in (None, CubicCell(1e5))
    )
    assert apart(linear, nearly) < 1e-8


@pytest.mark.parametrize("cell", [SINH, CUBIC])
@pytest.mark.parametrize("own", [RECIPROCAL, IMPERFECT])
def test_the_exact_gradient_is_that_of_finite_differences(cell, own):
    network = ideal(layers=(2, 4, 3))
    inputs, targets = samples(network)
    chip = WholeChip(network, replace(own, target_offset=0.0, nudge_factor=1.0), 200.0, (3, 3), cell=cell)
    solver = WholeChipNewtonSolver()
    free = solver.solve(chip, inputs)
    found = implicit_gradient(chip, inputs, targets, free)

    def cost(changed: ResistiveNetwork) -> float:
        there = solver.solve(replace(chip, ideal=changed), inputs).require()
        return float(0.5 * ((there.outputs - targets) ** 2).sum(axis=1).mean())

    for layer, (i, j) in ((0, (1, 2)), (1, (3, 0))):
        step, costs = 1e-4 * network.conductances[layer][i, j], []
        for sign in (1, -1):
            changed = network.astype(np.float64)
            changed.conductances[layer][i, j] += sign * step
            costs.append(cost(changed))
        assert found.conductances[layer][i, j] == pytest.approx((costs[0] - costs[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("cell", [None, SINH, CUBIC])
def test_the_contrast_at_the_cells_is_the_exact_gradient_as_beta_falls(cell):
    network = ideal(layers=(2, 4, 3))
    inputs, targets = samples(network)
    chip, solver = WholeChip(network, RECIPROCAL, 200.0, (3, 3), cell=cell), WholeChipNewtonSolver()
    free = solver.solve(chip, inputs)
    exact = implicit_gradient(chip, inputs, targets, free)
    errors = []
    for beta in (chip.usual_beta(), chip.usual_beta() / 10):
        plus, minus = (solver.solve(chip, inputs, Nudge(targets, sign * beta), free) for sign in (1, -1))
        seen = chip.cell_contrast(inputs, plus, minus)
        errors.append(
            max(
                np.abs(a - b).max() / np.abs(b).max()
                for a, b in zip(seen.conductances, exact.conductances, strict=True)
            )
        )
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("ohms", [1.0, 50.0])
def test_a_link_is_a_resistor_before_every_port_of_every_tile(ohms):
    random = np.random.default_rng(0)
    matrix, link = 10 ** random.uniform(-6, -4, (5, 4)), 120.0
    with_link = WiredCrossbar(matrix, ohms, (3, 2), link_resistance=link)
    volts = random.uniform(-1, 1, (2, 9))
    seen = np.zeros((9, 9))
    for rows, columns in with_link.tiles():
        ports = np.r_[rows, 5 + columns.start : 5 + columns.stop]
        alone = WiredCrossbar(matrix[rows, columns], ohms).port_matrix
        seen[np.ix_(ports, ports)] += np.linalg.solve(np.eye(len(ports)) + link * alone, alone)
    np.testing.assert_allclose(with_link.port_matrix, seen, rtol=1e-10, atol=1e-18)
    carried = matrix * with_link.drops(volts)
    into = np.concatenate([carried.sum(axis=2), -carried.sum(axis=1)], axis=1)
    np.testing.assert_allclose(into, volts @ seen, rtol=1e-9, atol=1e-18)


def test_what_no_chip_is_is_refused():
    network = ideal()
    with pytest.raises(UserError, match="link"):
        WiredCrossbar([[1e-6]], 1.0, link_resistance=-1.0)
    with pytest.raises(UserError, match="wire_resistance above 0 ohms"):
        WholeChip(network, link_resistance=3.0)
    with pytest.raises(UserError, match="cells: expected a law"):
        WholeChip(network, cell="sinh")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="link_resistance"):
        NonidealNetwork(network, wire_resistance=1.0, link_resistance=float("nan"))
    inputs, targets = samples(network)
    chip = WholeChip(network, cell=SINH)
    with pytest.raises(UserError, match="indefinite"):
        WholeChipNewtonSolver().solve(chip, inputs, Nudge(targets, -1.0))
    with pytest.raises(UserError, match="energy"):
        chip.energy(inputs, WholeChipNewtonSolver().solve(chip, inputs).voltages)
