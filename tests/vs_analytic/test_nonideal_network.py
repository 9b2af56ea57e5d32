"""Networks with wires against a dense nodal solution of every segment, a circuit on a graph, and finite differences."""

from dataclasses import replace

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
    SparseNewtonSolver,
    SurrogateSolver,
    UserError,
    contrast,
)
from eqprop_analog.devices import Law
from eqprop_analog.models.nonideal_network import NonidealEquations, NonidealNetwork
from eqprop_analog.solvers.nonideal_newton import NonidealNewtonSolver

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


class Nodal:
    """Σ currents = 0 at every node of the whole circuit, wires and all, stamped resistor by resistor.

    A terminal is (unknown, gain): an amplified drive has the potential A·v, and takes 1/A of its current from v. Or it is volts.
    """

    def __init__(self) -> None:
        self.index: dict[object, int] = {}
        self.entries: list[tuple[int, int, float]] = []
        self.sources: list[tuple[int, float]] = []

    def at(self, node: object) -> int:
        return self.index.setdefault(node, len(self.index))

    def resistor(self, one: object, other: object, siemens: float) -> None:
        for a, b in ((one, other), (other, one)):
            if isinstance(a, float):
                continue
            node, gain = a
            self.entries.append((self.at(node), self.at(node), siemens * gain / gain))
            if isinstance(b, float):
                self.sources.append((self.at(node), siemens * b / gain))
            else:
                self.entries.append((self.at(node), self.at(b[0]), -siemens * b[1] / gain))

    def solve(self) -> dict[object, float]:
        matrix, right = np.zeros((len(self.index),) * 2), np.zeros(len(self.index))
        for row, column, siemens in self.entries:
            matrix[row, column] += siemens
        for row, amperes in self.sources:
            right[row] += amperes
        return dict(zip(self.index, np.linalg.solve(matrix, right).tolist(), strict=True))


def nodal_solution(
    network: ResistiveNetwork, ohms: float, tile: tuple[int, int], x: Array, into: list[Array]
) -> list[Array]:
    """Node voltages of one sample with the currents ``into`` the nodes (amperes), by layer."""
    circuit = Nodal()
    rows: list[object] = [float(v) for v in network.rows(x)[0]]
    for layer, matrix in enumerate(network.conductances, start=1):
        columns = [((layer, j), 1.0) for j in range(matrix.shape[1])]
        for j, amperes in enumerate(into[layer - 1]):
            circuit.sources.append((circuit.at((layer, j)), float(amperes)))
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                on_row, on_column = (("r", layer, i, j), 1.0), (("c", layer, i, j), 1.0)
                circuit.resistor(on_row, on_column, float(matrix[i, j]))
                left = rows[i] if j % tile[1] == 0 else (("r", layer, i, j - 1), 1.0)
                circuit.resistor(left, on_row, 1 / ohms)
                last = i == matrix.shape[0] - 1 or (i + 1) % tile[0] == 0
                circuit.resistor(on_column, columns[j] if last else (("c", layer, i + 1, j), 1.0), 1 / ohms)
        if layer < network.depth:
            rows = [((layer, j), network.amplifier_gain[layer - 1]) for j in range(matrix.shape[1])]
    found = circuit.solve()
    return [np.array([found[layer, j] for j in range(n)]) for layer, n in enumerate(network.layers[1:], start=1)]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("ohms", "tile"), [(2.0, (128, 128)), (500.0, (128, 128)), (500.0, (4, 3))])
@pytest.mark.parametrize("beta", [0.0, 2e-6, -2e-7])
def test_every_node_is_where_a_dense_nodal_solution_of_all_segments_puts_it(law, ohms, tile, beta):
    network = make(LAWS[law], bias_row=1.5)
    x, target = inputs_of(network, 1), np.array([[0.5, -0.5]])
    nudge = Nudge(target, beta) if beta else None
    found = NonidealNewtonSolver().solve(NonidealNetwork(network, wire_resistance=ohms, tile=tile), x, nudge).require()
    into = []
    for layer, (v, bias) in enumerate(zip(found.voltages, network.biases, strict=True), start=1):
        amperes = bias.copy()
        if layer < network.depth:
            sign = network.polarity(layer)
            amperes -= sign * network.diode.current(sign * v[0])
        else:
            amperes += beta * (target[0] - v[0])
        into.append(amperes)
    for ours, theirs in zip(found.voltages, nodal_solution(network, ohms, tile, x, into), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-9 * np.abs(found.voltages[-1]).max().clip(1))


def reduced_graph(wired: NonidealNetwork) -> GraphNetwork:
    """One hidden layer's reduced circuit as resistors between ports; behind gain A, voltages and currents are an A-th."""
    ideal, (first, second) = wired.ideal, wired.crossbars
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
def test_the_residual_is_the_slope_of_the_energy(layers):
    network = make(LAWS["ngspice"], layers)
    wired, x = NonidealNetwork(network, wire_resistance=300.0), inputs_of(network)
    equations = NonidealEquations.of(wired, x)
    gammas = np.repeat(network.gammas, layers[1:])
    v = 0.05 * np.random.default_rng(3).normal(size=equations.source.shape)
    for node in range(v.shape[1]):
        step = np.zeros_like(v)
        step[:, node] = 1e-5
        modelled = (wired.energy(x, equations.layers(v + step)) - wired.energy(x, equations.layers(v - step))) / 2e-5
        force = -gammas[node] * equations.residuals(v)[:, node]
        np.testing.assert_allclose(modelled, force, rtol=1e-5, atol=1e-12)


def loss(network: ResistiveNetwork, ohms: float, x: Array, target: Array) -> float:
    out = NonidealNewtonSolver().solve(NonidealNetwork(network, wire_resistance=ohms, tile=(4, 3)), x).require().outputs
    return float(0.5 * ((out - target) ** 2).sum(axis=1).mean())


def test_the_contrast_of_the_cells_own_drops_is_the_gradient_and_that_of_the_nodes_is_not():
    network, ohms = make(LAWS["ngspice"], (3, 5, 2)), 2e3
    x, target = inputs_of(network), np.random.default_rng(4).uniform(-1, 1, (3, 2))
    wired = NonidealNetwork(network, wire_resistance=ohms, tile=(4, 3))
    _, plus, minus = NonidealNewtonSolver().solve_phases(wired, x, [Nudge(target, b) for b in (1e-8, -1e-8)])
    found, seen = wired.cell_contrast(x, plus, minus), contrast(wired.ideal, x, plus, minus)
    worst = 0.0
    for layer, (i, j) in ((0, (0, 0)), (0, (4, 3)), (1, (2, 1)), (1, (4, 0))):
        slopes = []
        for sign in (1, -1):
            changed = network.astype(float)
            changed.conductances[layer][i, j] += sign * 1e-10
            slopes.append(loss(changed, ohms, x, target))
        slope = (slopes[0] - slopes[1]) / 2e-10
        assert found.conductances[layer][i, j] == pytest.approx(slope, rel=1e-3, abs=1e-3)
        worst = max(worst, abs(seen.conductances[layer][i, j] / slope - 1))
    assert worst > 0.01
    for layer, j in ((0, 2), (1, 1)):
        slopes = []
        for sign in (1, -1):
            changed = network.astype(float)
            changed.biases[layer][j] += sign * 1e-10
            slopes.append(loss(changed, ohms, x, target))
        assert found.biases[layer][j] == pytest.approx((slopes[0] - slopes[1]) / 2e-10, rel=1e-3, abs=1e-3)


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
        NonidealNewtonSolver().solve(wired, inputs_of(wired.ideal), Nudge(np.zeros(2), -1.01 * low))


def test_what_makes_no_circuit_is_refused():
    network = make(LAWS["ngspice"], (3, 5, 2))
    wired, x, solver = NonidealNetwork(network, wire_resistance=10.0), inputs_of(network), NonidealNewtonSolver()
    free = solver.solve(wired, x)
    with pytest.raises(UserError, match="wire_resistance"):
        NonidealNetwork(network, wire_resistance=-1.0)
    with pytest.raises(UserError, match="inputs: expected shape"):
        solver.solve(wired, np.zeros((2, 7)))
    with pytest.raises(UserError, match="expected a target of shape"):
        solver.solve(wired, x, Nudge(np.zeros((2, 2)), 1e-7))
    with pytest.raises(UserError, match="start: expected voltages"):
        solver.solve(wired, x[:1], start=free)
    with pytest.raises(UserError, match="pass it as start=free"):
        solver.solve(wired, x, Nudge(np.zeros(2), 1e-7, "current"))
    nudged = solver.solve(wired, x, Nudge(np.zeros(2), 1e-7))
    with pytest.raises(UserError, match="itself a nudged one"):
        solver.solve(wired, x, Nudge(np.zeros(2), 1e-7, "current"), start=nudged)
    pairs = NonidealNetwork(replace(network, outputs="pairs"), wire_resistance=10.0)
    with pytest.raises(UserError, match='pairs of outputs take kind="current"'):
        solver.solve(pairs, x, Nudge(np.zeros(1), 1e-7))
    empty = network.astype(float)
    empty.conductances[0][:, 2] = 0
    with pytest.raises(UserError, match="column 2 of crossbar 1 is all zero"):
        solver.solve(NonidealNetwork(empty, wire_resistance=10.0), x)
