"""Networks with wires against a dense nodal solution of every segment, a circuit on a graph, and finite differences."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import (
    Antiparallel,
    Clamp,
    GraphNetwork,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    Shockley,
    SparseNewtonSolver,
    SurrogateSolver,
    UserError,
    contrast,
)
from eqprop_analog.devices import Law
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.equations import NodalEquations

Array = np.ndarray
LAWS: dict[str, Law] = {
    "ngspice": NgspiceDiode(rail=0.2),
    "clamp": Clamp(rail=0.1, on_resistance=100.0),
    "piecewise-linear": PiecewiseLinear(threshold=0.3, on_resistance=1e3),
    "pair": Antiparallel(NgspiceDiode(rail=-0.1)),
}


def make(
    law: Law, layers: tuple[int, ...] = (3, 6, 4, 2), seed: int = 0, scale: float = 1e-5, **settings: object
) -> ResistiveNetwork:
    random = np.random.default_rng(seed)
    gains = [1.0, 4.0, 2.0][-(len(layers) - 2) :] if len(layers) > 2 else []
    network = ResistiveNetwork.dense(
        layers,
        seed,
        diode=law,
        amplifier_gain=gains,
        input_gain=3.0,
        bias=[random.normal(0, 1e-6, n) for n in layers[1:]],
        **settings,
    )
    for matrix in network.conductances:
        matrix[...] = scale * random.uniform(0, 1, matrix.shape) * (random.random(matrix.shape) < 0.8) + 1e-8
    return network


def inputs_of(network: ResistiveNetwork, batch: int = 3) -> Array:
    return np.random.default_rng(1).uniform(-1, 1, (batch, network.layers[0]))


Terminal = tuple[object, float, float, float]
"""Node, gain, back, volts: at the potential gain·v + volts, and of its current the node loses ``back``."""


class Nodal:
    """Σ currents = 0 at every node of the whole circuit with its wires, stamped resistor by resistor."""

    def __init__(self) -> None:
        self.index: dict[object, int] = {}
        self.entries: list[tuple[int, int, float]] = []
        self.sources: list[tuple[int, float]] = []

    def at(self, node: object) -> int:
        return self.index.setdefault(node, len(self.index))

    def resistor(self, one: Terminal | float, other: Terminal | float, siemens: float) -> None:
        for a, b in ((one, other), (other, one)):
            if isinstance(a, float):
                continue
            node, gain, back, volts = a
            self.entries.append((self.at(node), self.at(node), siemens * back * gain))
            if not isinstance(b, float):
                self.entries.append((self.at(node), self.at(b[0]), -siemens * back * b[1]))
            across = (b if isinstance(b, float) else b[3]) - volts
            self.sources.append((self.at(node), siemens * back * across))

    def behind(self, drive: Terminal | float, name: object, ohms: float) -> Terminal | float:
        if ohms == 0:
            return drive
        row = (name, 1.0, 1.0, 0.0)
        self.resistor(drive, row, 1 / ohms)
        return row

    def solve(self) -> dict[object, float]:
        matrix, right = np.zeros((len(self.index),) * 2), np.zeros(len(self.index))
        for row, column, siemens in self.entries:
            matrix[row, column] += siemens
        for row, amperes in self.sources:
            right[row] += amperes
        return dict(zip(self.index, np.linalg.solve(matrix, right).tolist(), strict=True))


def nodal_solution(
    chip: NonidealNetwork, x: Array, into: list[Array], drives: list[Array] | None = None
) -> list[Array]:
    """Node voltages of one sample with the currents ``into`` the nodes (amperes), by layer.

    ``drives``: what the amplifiers put out (volts), where they saturate.
    """
    network, ohms, tile, own = chip.ideal, chip.wire_resistance, chip.tile, chip.periphery
    circuit = Nodal()
    rows: list[Terminal | float] = [
        circuit.behind(float(v), ("s", i), float(r))
        for i, (v, r) in enumerate(zip(network.rows(x)[0], own.rows(network), strict=True))
    ]
    for layer, matrix in enumerate(network.conductances, start=1):
        columns = [((layer, j), 1.0, 1.0, 0.0) for j in range(matrix.shape[1])]
        for j, amperes in enumerate(into[layer - 1]):
            circuit.sources.append((circuit.at((layer, j)), float(amperes)))
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                on_row, on_column = (((kind, layer, i, j), 1.0, 1.0, 0.0) for kind in "rc")
                circuit.resistor(on_row, on_column, float(matrix[i, j]))
                left = rows[i] if j % tile[1] == 0 else (("r", layer, i, j - 1), 1.0, 1.0, 0.0)
                circuit.resistor(left, on_row, 1 / ohms)
                last = i == matrix.shape[0] - 1 or (i + 1) % tile[0] == 0
                circuit.resistor(on_column, columns[j] if last else (("c", layer, i + 1, j), 1.0, 1.0, 0.0), 1 / ohms)
        if layer < network.depth:
            gain = network.amplifier_gain[layer - 1]
            part = {
                name: chip.by_layer(own.hidden(name, network))[layer - 1].tolist()
                for name in ("forward_factor", "return_factor", "offset", "output_resistance", "input_conductance")
            }
            rows = []
            for j in range(matrix.shape[1]):
                forward, offset = gain * part["forward_factor"][j], part["offset"][j]
                back = part["return_factor"][j] / gain
                out = (forward, forward * offset) if drives is None else (0.0, float(drives[layer - 1][j]))
                drive = ((layer, j), out[0], back, out[1])
                rows.append(circuit.behind(drive, ("a", layer, j), part["output_resistance"][j]))
                circuit.resistor(((layer, j), 1.0, 1.0, 0.0), 0.0, part["input_conductance"][j])
    found = circuit.solve()
    return [np.array([found[layer, j] for j in range(n)]) for layer, n in enumerate(network.layers[1:], start=1)]


def random_chip(
    network: ResistiveNetwork, seed: int, *, reciprocal: bool = False, ohms: float = 500.0
) -> NonidealNetwork:
    """Every imperfection; ``reciprocal``: only those with which the circuit has an energy."""
    random = np.random.default_rng([8, seed])
    hidden = network.layers[1:-1]

    def each(draw: Callable[[int], Array]) -> list[Array]:
        return [draw(n) for n in hidden]

    drawn: dict[str, Any] = {
        "offset": each(lambda n: random.normal(0, 0.02, n)),
        "output_resistance": each(lambda n: 2e4 * random.random(n) * (random.random(n) < 0.7)),
        "input_conductance": each(lambda n: 2e-6 * random.random(n)),
        "source_resistance": 1e4 * random.random(len(network.conductances[0])),
        "nudge_factor": random.uniform(0.8, 1.2, network.layers[-1]),
        "target_offset": random.normal(0, 0.1, network.layers[-1]),
    }
    if isinstance(network.single_diode, NgspiceDiode | Shockley):
        drawn |= {
            "saturation_factor": each(lambda n: np.exp(0.3 * random.normal(size=n))),
            "emission_factor": each(lambda n: random.normal(1, 0.03, n)),
            "celsius": 60.0,
            "temperature_mismatch": each(lambda n: random.normal(0, 2, n)),
        }
    if not reciprocal:
        drawn |= {
            "forward_factor": each(lambda n: random.normal(1, 0.1, n)),
            "return_factor": each(lambda n: random.normal(1, 0.1, n)),
            "saturation_voltage": [*([1.5] * (len(hidden) - 1)), np.inf][: len(hidden)],
        }
    return NonidealNetwork(network, Periphery(**drawn), ohms, (4, 3))


def difference_from_nodal_solution(chip: NonidealNetwork, beta: float) -> float:
    """Largest difference of a node from the dense solution of all segments with the diodes' currents, over the largest output."""
    network, x, target = chip.ideal, inputs_of(chip.ideal, 1), np.array([[0.5, -0.5]])
    nudge = Nudge(target, beta) if beta else None
    found = NonidealNewtonSolver().solve(chip, x, nudge).require()
    hidden = [(chip.polarity(l), chip.law(l), v) for l, v in enumerate(found.voltages[:-1], start=1)]
    diodes = [-sign * law.current(sign * v) for sign, law, v in hidden]
    factor, offset = chip.periphery.outputs(network), chip.periphery.targets(network)
    nudging = beta * factor * (target + offset - found.outputs)
    into = [amperes[0] + bias for amperes, bias in zip((*diodes, nudging), network.biases, strict=True)]
    saturated = [a[0] for a in chip.drives(found.voltages)] if chip.saturating.size else None
    solution = nodal_solution(chip, x, into, saturated)
    worst = max(np.abs(ours[0] - theirs).max() for ours, theirs in zip(found.voltages, solution, strict=True))
    return float(worst / np.abs(found.outputs).max().clip(1))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("ohms", "tile"), [(2.0, (128, 128)), (500.0, (128, 128)), (500.0, (4, 3))])
@pytest.mark.parametrize("beta", [0.0, 2e-6, -2e-7])
def test_every_node_is_where_a_dense_nodal_solution_of_all_segments_puts_it(law, ohms, tile, beta):
    network = make(LAWS[law], bias_row=1.5)
    assert difference_from_nodal_solution(NonidealNetwork(network, wire_resistance=ohms, tile=tile), beta) <= 1e-9


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize("beta", [0.0, 2e-6, -2e-7])
def test_so_is_every_node_of_a_chip_with_all_imperfections(law, reciprocal, beta):
    chip = random_chip(make(LAWS[law], bias_row=1.5), 1, reciprocal=reciprocal)
    assert difference_from_nodal_solution(chip, beta) <= 1e-9


@pytest.mark.parametrize("law", [*LAWS, "ideal clamp", "shockley"])
@pytest.mark.parametrize("layers", [(3, 2), (3, 6, 2), (3, 6, 4, 2), (3, 5, 4, 3, 2)])
def test_without_imperfections_it_is_the_ideal_circuit(law, layers):
    others: dict[str, Law] = {"ideal clamp": Clamp(), "shockley": Shockley()}
    network = make((LAWS | others)[law], layers, bias_row=1.5)
    chip, x = NonidealNetwork(network, Periphery()), inputs_of(network)
    v = (
        NodalEquations.of(network, x).initial()
        if law == "ideal clamp"
        else tuple(0.05 * np.random.default_rng(3).normal(size=(3, n)) for n in layers[1:])
    )
    ours, theirs = (
        np.concatenate(each.residuals(v), axis=1)
        for each in (NonidealEquations.of(chip, x), NodalEquations.of(network, x))
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    for kind in ("conductance", "current"):
        nudges = [Nudge(np.full((1, 2), 0.3), b, kind) for b in (1e-7, -1e-7)]
        solved = zip(
            NonidealNewtonSolver().solve_phases(chip, x, nudges),
            SurrogateSolver().solve_phases(network, x, nudges),
            strict=True,
        )
        for one, other in solved:
            assert one.good.all()
            for a, b in zip(one.voltages, other.voltages, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def reduced_graph(wired: NonidealNetwork) -> GraphNetwork:
    """One hidden layer's reduced circuit as resistors between ports; after gain A, voltages and currents are divided by A."""
    ideal, (first, second) = wired.ideal, (each.wired for each in wired.crossbars)
    rows, hidden, outputs = first.shape[0], *wired.layers[1:]
    nodes = rows + hidden + outputs
    laplacian = np.zeros((nodes, nodes))
    laplacian[: rows + hidden, : rows + hidden] += first.port_matrix
    laplacian[rows:, rows:] += second.port_matrix
    assert (laplacian[~np.eye(nodes, dtype=bool)] <= 0).all()  # so it is a graph of resistors
    tails, heads = np.nonzero(np.triu(-laplacian, 1))
    sides = ideal.diode_sides(1)
    diodes = [
        (nodes, rows + j) if side[j] > 0 else (rows + j, nodes + 1) for side in sides for j in range(hidden)
    ]  # rails are the last two nodes
    gain = ideal.amplifier_gain[0]
    return GraphNetwork(
        names=tuple(f"n_{k}" for k in range(nodes + 2)),
        resistors=np.stack([tails, heads], axis=1),
        conductances=-laplacian[tails, heads],
        inputs=np.arange(rows),
        outputs=np.array([(rows + hidden + k, -1) for k in range(outputs)]),
        rails=np.array([nodes, nodes + 1]),
        rail_volts=np.array([1.0, -1.0]) * ideal.diode.rail,
        currents=np.concatenate([np.zeros(rows), ideal.biases[0], ideal.biases[1] / gain, np.zeros(2)]),
        diodes=np.array(diodes),
        diode=ideal.single_diode,
        conductance_window=(0.0, 1.0),
    )


@pytest.mark.parametrize("law", ["ngspice", "clamp", "piecewise-linear", "pair"])
@pytest.mark.parametrize("ohms", [0.0, 5.0, 1e3])
def test_the_reduced_circuit_is_a_graph_of_resistors_with_the_same_equilibria(law, ohms):
    network = make(LAWS[law], (4, 7, 3))
    gain = network.amplifier_gain[0]
    wired, x = NonidealNetwork(network, wire_resistance=ohms), inputs_of(network)
    target = np.random.default_rng(2).uniform(-1, 1, (3, 3))
    graph = reduced_graph(wired)
    ours = NonidealNewtonSolver().solve_phases(wired, x, [Nudge(target, b) for b in (1e-6, -1e-7)])
    theirs = SparseNewtonSolver().solve_phases(graph, network.rows(x), [Nudge(target / gain, b) for b in (1e-6, -1e-7)])
    for one, other in zip(ours, theirs, strict=True):
        assert one.good.all()
        assert other.good.all()
        nodes = other.voltages[0][:, len(network.conductances[0]) :]
        np.testing.assert_allclose(one.voltages[0], nodes[:, :7], rtol=0, atol=1e-10)
        np.testing.assert_allclose(one.voltages[1], gain * nodes[:, 7:10], rtol=0, atol=1e-10)


@pytest.mark.parametrize("layers", [(3, 2), (3, 5, 2), (2, 4, 3, 2)])
@pytest.mark.parametrize("imperfect", [False, True])
def test_the_residual_is_the_slope_of_the_energy(layers, imperfect):
    network, x = make(LAWS["ngspice"], layers), inputs_of(make(LAWS["ngspice"], layers))
    wired = random_chip(network, 2, reciprocal=True) if imperfect else NonidealNetwork(network, wire_resistance=300.0)
    equations = NonidealEquations.of(wired, x)
    gammas = np.repeat(network.gammas, layers[1:])
    v = 0.05 * np.random.default_rng(3).normal(size=(len(x), sum(layers[1:])))
    for node in range(v.shape[1]):
        step = np.zeros_like(v)
        step[:, node] = 1e-5
        modelled = (wired.energy(x, equations.split(v + step)) - wired.energy(x, equations.split(v - step))) / 2e-5
        force = -gammas[node] * np.concatenate(equations.residuals(equations.split(v)), axis=1)[:, node]
        np.testing.assert_allclose(modelled, force, rtol=1e-5, atol=1e-12)


def loss(chip: NonidealNetwork, x: Array, target: Array) -> float:
    """The cost that corresponds to the nudges of the chip."""
    factor, offset = chip.periphery.outputs(chip.ideal), chip.periphery.targets(chip.ideal)
    out = NonidealNewtonSolver().solve(chip, x).require().outputs
    return float(0.5 * (factor * (out - target - offset) ** 2).sum(axis=1).mean())


def changed(chip: NonidealNetwork, what: str, layer: int, index: tuple[int, ...], by: float) -> NonidealNetwork:
    ideal = chip.ideal.astype(float)
    arrays = [each.copy() for each in getattr(ideal, what)]
    arrays[layer][index] += by
    return replace(chip, ideal=replace(ideal, **{what: tuple(arrays)}))


@pytest.mark.parametrize("imperfect", [False, True])
@pytest.mark.parametrize("ohms", [0.0, 2e3])
def test_the_contrast_of_the_cells_own_drops_is_the_gradient_and_that_of_the_nodes_is_not(imperfect, ohms):
    network = make(LAWS["ngspice"], (3, 5, 2))
    x, target = inputs_of(network), np.random.default_rng(4).uniform(-1, 1, (3, 2))
    chip = NonidealNetwork(network, wire_resistance=ohms, tile=(4, 3))
    if imperfect:
        chip = random_chip(network, 3, reciprocal=True, ohms=ohms)
    _, plus, minus = NonidealNewtonSolver().solve_phases(chip, x, [Nudge(target, b) for b in (1e-8, -1e-8)])
    found, seen = chip.cell_contrast(x, plus, minus), contrast(chip.ideal, x, plus, minus)
    worst = 0.0
    for what, layer, index in (
        ("conductances", 0, (0, 0)),
        ("conductances", 0, (4, 3)),
        ("conductances", 1, (2, 1)),
        ("conductances", 1, (4, 0)),
        ("biases", 0, (2,)),
        ("biases", 1, (1,)),
    ):
        ends = [loss(changed(chip, what, layer, index, step), x, target) for step in (1e-10, -1e-10)]
        slope = (ends[0] - ends[1]) / 2e-10
        assert getattr(found, what)[layer][index] == pytest.approx(slope, rel=1e-3, abs=1e-3)
        worst = max(worst, abs(getattr(seen, what)[layer][index] / slope - 1))
    assert (worst > 0.01) == (imperfect or ohms > 0)


@pytest.mark.parametrize("law", ["ngspice", "pair"])
@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize("ohms", [0.0, 2e3])
def test_the_exact_gradient_of_a_chip_is_that_of_its_cost(law, reciprocal, ohms):
    """Including gain errors and saturation, for which neither an energy nor a contrast of cells exists."""
    network = make(LAWS[law], (3, 5, 4, 2))
    x, target = inputs_of(network), np.random.default_rng(4).uniform(-1, 1, (3, 2))
    chip = random_chip(network, 3, reciprocal=reciprocal, ohms=ohms)
    own = replace(chip.periphery, nudge_factor=1.0, target_offset=0.0)  # the plain squared error
    chip = NonidealNetwork(network, own, ohms, (4, 3))
    found = implicit_gradient(chip, x, target, NonidealNewtonSolver().solve(chip, x).require())
    for what, layer, index in (
        ("conductances", 0, (0, 0)),
        ("conductances", 0, (4, 3)),
        ("conductances", 1, (2, 1)),
        ("conductances", 1, (4, 0)),
        ("conductances", 2, (3, 1)),
        ("biases", 0, (2,)),
        ("biases", 2, (1,)),
    ):
        size = 1e-9 if what == "conductances" else 1e-10
        ends = [loss(changed(chip, what, layer, index, step), x, target) for step in (size, -size)]
        slope = (ends[0] - ends[1]) / (2 * size)
        name = f"{'conductance' if what == 'conductances' else 'bias'}_{layer + 1}"
        assert found[name][index] == pytest.approx(slope, rel=1e-4, abs=1e-4 * np.abs(found[name]).max())


def test_a_circuit_that_is_not_reciprocal_has_no_energy_and_no_contrast_of_cells():
    network = make(LAWS["ngspice"], (3, 5, 2))
    x, target = inputs_of(network), np.zeros((3, 2))
    for own in ({"forward_factor": 1.01}, {"return_factor": 0.99}, {"saturation_voltage": 3.0}):
        chip = NonidealNetwork(network, Periphery(**own))
        free, plus = NonidealNewtonSolver().solve_phases(chip, x, [Nudge(target, 1e-8)])
        for refused in (lambda: chip.cell_contrast(x, plus, free), lambda: chip.energy(x, free.voltages)):  # noqa: B023
            with pytest.raises(UserError, match="no energy"):
                refused()


def test_without_wires_the_contrast_is_the_ideal_networks():
    network = make(LAWS["ngspice"], (3, 5, 2))
    x, target = inputs_of(network), np.random.default_rng(4).uniform(-1, 1, (3, 2))
    _, plus, minus = SurrogateSolver().solve_phases(network, x, [Nudge(target, b) for b in (1e-7, -1e-7)])
    found, expected = NonidealNetwork(network).cell_contrast(x, plus, minus), contrast(network, x, plus, minus)
    for one, other in zip(
        (*found.conductances, *found.biases), (*expected.conductances, *expected.biases), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())


def test_a_nudge_is_refused_exactly_where_the_circuit_becomes_indefinite():
    wired = NonidealNetwork(make(LAWS["ngspice"], (3, 5, 2)), wire_resistance=1e4)
    outputs = wired.layers[-1]
    root = np.sqrt(np.repeat(wired.ideal.gammas, wired.layers[1:]))
    symmetric = root[:, None] * wired.nodal_matrix / root
    np.testing.assert_allclose(symmetric, symmetric.T, rtol=1e-12, atol=1e-20)
    low, high = 0.0, 1e-3
    for _ in range(60):  # bisection by the smallest eigenvalue of the whole nodal matrix
        beta = 0.5 * (low + high)
        nudged = symmetric.copy()
        nudged[range(-outputs, 0), range(-outputs, 0)] -= beta
        low, high = (beta, high) if np.linalg.eigvalsh(nudged)[0] > 0 else (low, beta)
    wired.require_definite(-low * (1 - 1e-6))
    with pytest.raises(UserError, match=r"indefinite at net o_\d"):
        wired.require_definite(-low * (1 + 1e-6))
    with pytest.raises(UserError, match="indefinite"):
        NonidealNewtonSolver().solve(wired, inputs_of(wired.ideal), Nudge(np.zeros((1, 2)), -1.01 * low))


@pytest.mark.parametrize("layers", [(3, 2), (3, 5, 2), (3, 5, 4, 2)])
def test_nor_need_the_circuit_be_reciprocal_for_that(layers):
    chip = random_chip(make(LAWS["ngspice"], layers), 4)
    outputs = chip.layers[-1]
    factor = chip.periphery.outputs(chip.ideal)
    low, high = 0.0, 1e-3
    for _ in range(60):  # an M-matrix: its eigenvalue nearest to zero is real, and leaves at zero
        beta = 0.5 * (low + high)
        nudged = chip.nodal_matrix.copy()
        nudged[range(-outputs, 0), range(-outputs, 0)] -= beta * factor
        low, high = (beta, high) if np.linalg.eigvals(nudged).real.min() > 0 else (low, beta)
    chip.require_definite(-low * (1 - 1e-6))
    with pytest.raises(UserError, match=r"indefinite at net o_\d"):
        chip.require_definite(-low * (1 + 1e-6))


def test_amplifiers_that_give_back_more_than_the_circuit_holds_are_refused():
    network = make(LAWS["ngspice"], (2, 4, 4, 2))
    network.conductances[0][...] = 1e-8
    network.conductances[1][...] = network.conductances[2][...] = 1e-5
    uneven, turned = [1.0, [3.0, 3.0, 0.3, 0.3]], [1.0, [0.3, 0.3, 3.0, 3.0]]
    NonidealNewtonSolver().solve(
        NonidealNetwork(network, Periphery(forward_factor=uneven)), inputs_of(network)
    ).require()
    NonidealNewtonSolver().solve(
        NonidealNetwork(network, Periphery(return_factor=turned)), inputs_of(network)
    ).require()
    chip = NonidealNetwork(network, Periphery(forward_factor=uneven, return_factor=turned))
    assert np.linalg.eigvals(chip.nodal_matrix).real.min() < 0  # so it is
    with pytest.raises(UserError, match=r"net o_\d: the amplifiers' forward_factor and return_factor"):
        NonidealNewtonSolver().solve(chip, inputs_of(network))
