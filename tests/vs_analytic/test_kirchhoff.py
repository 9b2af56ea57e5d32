"""Node voltages against circuits solved by hand and against a dense nodal analysis without layers."""

from collections.abc import Sequence

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, Status, SurrogateSolver
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley

OFF = Clamp(rail=-1e6)
"""A diode that never carries current here: the circuit is linear."""
US = 1e-6


def chain(
    first: Sequence[float],
    *rest: float,
    gains: Sequence[float] = (),
    biases: Sequence[float] | None = None,
    diode: Law = OFF,
) -> ResistiveNetwork:
    """One input, one node per layer: conductances from +x and -x, then those between the nodes, siemens."""
    conductances = (np.array(first, float)[:, None], *(np.array([[g]]) for g in rest))
    currents = [0.0] * len(conductances) if biases is None else biases
    return ResistiveNetwork(
        conductances,
        tuple(np.array([current]) for current in currents),
        diode,
        tuple(gains) if gains else (1.0,) * len(rest),
    )


def voltages(network: ResistiveNetwork, x: float | np.ndarray, nudge: Nudge | None = None) -> list[np.ndarray]:
    result = SurrogateSolver().solve(network, np.atleast_2d(x), nudge)
    assert all(status is Status.CONVERGED for status in result.status)
    return [v[0] for v in result.voltages]


class Nodal:
    """Modified nodal analysis: one unknown per net and one branch current per voltage source, stamped device by device."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {"0": -1}
        self.stamps: list[tuple[int, int, float]] = []
        self.right: dict[int, float] = {}

    def net(self, name: str) -> int:
        return self.index.setdefault(name, len(self.index) - 1)

    def add(self, row: int, column: int, value: float) -> None:
        if row >= 0 and column >= 0:
            self.stamps.append((row, column, value))

    def resistor(self, one: str, other: str, siemens: float) -> None:
        a, b = self.net(one), self.net(other)
        for row, column, sign in ((a, a, 1), (a, b, -1), (b, b, 1), (b, a, -1)):
            self.add(row, column, sign * siemens)

    def current_into(self, net: str, amperes: float) -> None:
        self.right[self.net(net)] = self.right.get(self.net(net), 0.0) + amperes

    def voltage_source(self, net: str, volts: float) -> int:
        """Index of the current that flows from ``net`` into the source."""
        branch = self.net(f"branch of {net}")
        self.add(self.net(net), branch, 1.0)
        self.add(branch, self.net(net), 1.0)
        self.right[branch] = volts
        return branch

    def amplifier(self, node: str, drive: str, gain: float) -> None:
        """V(drive) = gain·V(node); the node loses 1/gain of the current that the drive delivers."""
        branch = self.voltage_source(drive, 0.0)
        self.add(branch, self.net(node), -gain)
        self.add(self.net(node), branch, -1 / gain)

    def solve(self) -> dict[str, float]:
        matrix = np.zeros((len(self.index) - 1,) * 2)
        for row, column, value in self.stamps:
            matrix[row, column] += value
        right = np.zeros(len(matrix))
        for row, value in self.right.items():
            right[row] = value
        solution = np.linalg.solve(matrix, right)
        return {net: float(solution[k]) for net, k in self.index.items() if k >= 0}


def nodal_voltages(
    network: ResistiveNetwork,
    x: np.ndarray,
    nudge: Nudge | None = None,
    into_hidden: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Voltages of layers 1..L with ``into_hidden`` amperes in place of the diodes of every hidden layer (default none)."""
    circuit = Nodal()
    sources = [*(network.input_gain * x), *(-network.input_gain * x), *([network.bias_row] if network.bias_row else [])]
    rows = [f"row {i}" for i in range(len(sources))]
    for net, volts in zip(rows, sources, strict=True):
        circuit.voltage_source(net, volts)
    names = [[f"layer {l} node {j}" for j in range(size)] for l, size in enumerate(network.layers)]
    for l, matrix in enumerate(network.conductances, start=1):
        for (i, j), siemens in np.ndenumerate(matrix):
            circuit.resistor(rows[i], names[l][j], siemens)
        for node, amperes in zip(names[l], network.biases[l - 1], strict=True):
            circuit.current_into(node, amperes)
        if l < network.depth:
            rows = [f"drive of {node}" for node in names[l]]
            for node, drive in zip(names[l], rows, strict=True):
                circuit.amplifier(node, drive, network.amplifier_gain[l - 1])
            for node, amperes in zip(names[l], into_hidden[l - 1] if into_hidden else [], strict=bool(into_hidden)):
                circuit.current_into(node, amperes)
    if nudge is not None:
        for k, (node, volts) in enumerate(zip(names[-1], nudge.target[0], strict=True)):
            circuit.voltage_source(f"target {k}", volts)
            circuit.resistor(f"target {k}", node, nudge.beta)
    solution = circuit.solve()
    return [np.array([solution[node] for node in layer]) for layer in names[1:]]


def test_output_without_hidden_layer_is_a_voltage_divider():
    network = chain([3 * US, 1 * US], biases=[2e-6])
    assert voltages(network, 4.0)[0] == pytest.approx((3 * 4 - 1 * 4 + 2) / 4, rel=1e-15)


def test_nudge_is_one_more_arm_of_the_divider():
    network = chain([3 * US, 1 * US])
    for beta in (2 * US, -2 * US):
        (out,) = voltages(network, 4.0, Nudge(np.array([0.5]), beta))
        assert out == pytest.approx((2 * 4 * US + beta * 0.5) / (4 * US + beta), rel=1e-15)


def test_unloaded_chain_has_no_drop_behind_the_divider():
    hidden, output = voltages(chain([3 * US, 1 * US], 7 * US), 4.0)
    assert (hidden, output) == pytest.approx((2.0, 2.0), rel=1e-14)


def test_loaded_chain_is_three_resistors_in_series():
    """x -2 µS- h -3 µS- o -6 µS- y: 500, 333 and 167 kΩ."""
    hidden, output = voltages(chain([2 * US, 0], 3 * US), 6.0, Nudge(np.array([0.0]), 6 * US))
    assert (hidden, output) == pytest.approx((3.0, 1.0), rel=1e-14)


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_amplifier_multiplies_forward_and_shows_the_node_its_load(gain: float):
    """Behind the amplifier, 2 µS and 6 µS in series (1.5 µS) to ground draw 1.5 µS·A·v from the drive, 1.5 µS·v from h."""
    network = chain([3 * US, 0], 2 * US, gains=[gain])
    hidden, output = voltages(network, 6.0, Nudge(np.array([0.0]), 6 * US))
    assert hidden == pytest.approx(3 * 6 / (3 + 1.5), rel=1e-14)
    assert output == pytest.approx(gain * hidden * 2 / 8, rel=1e-14)


def test_current_forced_into_the_output_reaches_the_node_divided_by_the_gain():
    """2 µA into o leave through the drive; 2 µA/A raise h over its 4 µS to the grounded input."""
    network = chain([4 * US, 0], 2 * US, gains=[5.0], biases=[0.0, 2e-6])
    hidden, output = voltages(network, 0.0)
    assert hidden == pytest.approx(2 / 5 / 4, rel=1e-14)
    assert output == pytest.approx(5 * hidden + 1, rel=1e-14)


def test_ideal_clamp_holds_a_divider_at_its_rail():
    """x = -4 V pulls the excitatory node against a rail at 0.1 V; the output follows the held node, amplified."""
    network = chain([3 * US, 1 * US], 7 * US, gains=[2.0], diode=Clamp(rail=0.1))
    hidden, output = voltages(network, -4.0)
    assert hidden == 0.1
    assert output == pytest.approx(0.2, rel=1e-15)


@pytest.mark.parametrize("bias_row", [0.0, 4.0, -0.7])
@pytest.mark.parametrize("beta", [None, 3 * US, -0.05 * US])
@pytest.mark.parametrize(
    ("layers", "gains"), [((3, 2), ()), ((2, 4, 3), (1.0,)), ((2, 4, 3), (7.0,)), ((2, 3, 4, 2), (3.0, 2.0))]
)
def test_linear_network_is_its_nodal_analysis(random_network, layers, gains, beta, bias_row):
    network = random_network(1, layers, diode=OFF, gains=gains, bias=1e-6, zeros=0.2, bias_row=bias_row)
    random = np.random.default_rng(2)
    x = random.uniform(-10, 10, layers[0])
    nudge = None if beta is None else Nudge(random.uniform(-1, 1, layers[-1]), beta)
    for ours, theirs in zip(voltages(network, x, nudge), nodal_voltages(network, x, nudge), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)


@pytest.mark.parametrize("gains", [(1.0, 1.0), (3.0, 2.0), (10.0, 5.0)])
@pytest.mark.parametrize(
    "diode",
    [
        *(NgspiceDiode(), Shockley(), PiecewiseLinear(on_resistance=1e4)),
        *(Antiparallel(NgspiceDiode(rail=0.0)), Antiparallel(Shockley())),
        Antiparallel(PiecewiseLinear(on_resistance=1e4, rail=0.0)),
    ],
)
def test_diode_network_is_its_nodal_analysis_with_the_diodes_as_current_sources(random_network, diode, gains):
    """Each diode is replaced by the current of its law at the solved voltage, which must not change the solution."""
    network = random_network(3, (3, 5, 4, 2), diode=diode, gains=gains, bias=1e-7, bias_row=-2.0)
    x = np.array([8.0, -3.0, 1.0])
    nudge = Nudge(np.array([0.0, 1.0]), 2 * US)
    ours = voltages(network, x, nudge)
    injected = [
        -sign * network.diode.current(sign * v)
        for sign, v in ((network.polarity(layer), ours[layer - 1]) for layer in (1, 2))
    ]
    assert max(np.abs(current).max() for current in injected) > 1e-7
    for one, other in zip(ours, nodal_voltages(network, x, nudge, injected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("current", [1e-5, 1e-8, 1e-11])
def test_stand_in_clamp_converges_however_little_it_carries(current: float):
    """1e-11 A across 1 µΩ is less than the rounding of a rail at 0.3 V."""
    rail = 0.3
    network = chain([2 * US, 0], 1 * US, diode=Clamp(rail=rail, on_resistance=1e-6))
    hidden, _ = voltages(network, rail - current / (2 * US))
    assert hidden == pytest.approx(rail - current * 1e-6, rel=1e-15)
