"""Networks with wires: the reduced circuit and ngspice, with a resistor for every wire segment, find the same equilibria."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from eqprop_analog import (
    Antiparallel,
    Clamp,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    Shockley,
    Status,
    UserError,
)
from eqprop_analog.devices import Law
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.nonideal.netlist import compile_nonideal
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.spice.ngspice.solver import NonidealNgspiceSolver

Array = np.ndarray
VOLTAGE_BOUND = 1e-9
"""Of |ΔV|, as a fraction of the circuit's largest voltage, or of 1 V where that is less."""
LAWS: list[Law] = [
    NgspiceDiode(rail=0.2),
    NgspiceDiode(1e-14, 1.5, rail=0.5, celsius=80),
    Shockley(rail=0.1),
    PiecewiseLinear(threshold=0.4, on_resistance=1e3),
    Clamp(rail=0.1),
    Antiparallel(NgspiceDiode()),
]


@pytest.fixture(scope="module")
def solver() -> Iterator[NonidealNgspiceSolver]:
    solver = NonidealNgspiceSolver()
    yield solver
    solver.close()


def random_network(seed: int, hidden: int | None = None) -> tuple[NonidealNetwork, Array, Array]:
    """One to three crossbars of up to 16 x 16, cells of 1 to 100 µS, one in five empty, wires of 1 to 1000 ohms a cell."""
    random = np.random.default_rng([6, seed])
    hidden = seed % 3 if hidden is None else hidden
    layers = [int(random.integers(1, 9)), *random.integers(2, 17, hidden + 1).tolist()]
    network = ResistiveNetwork.dense(
        layers,
        seed,
        diode=LAWS[seed // 3 % len(LAWS)],
        amplifier_gain=(random.uniform(1, 10, hidden) ** random.integers(0, 2, hidden)).tolist(),
        input_gain=float(random.uniform(0.5, 10)),
        bias=[random.normal(0, 1e-6, size) for size in layers[1:]],
        bias_row=(0.0, 1.5)[seed % 2],
    )
    for matrix in network.conductances:
        rows, columns = matrix.shape
        kept = random.random(matrix.shape) < 0.8
        kept[random.integers(rows, size=columns), np.arange(columns)] = True
        matrix[...] = kept * 10 ** random.uniform(-6, -4, matrix.shape)
    tile = [(128, 128), (5, 4), (8, 16)][seed % 3]
    wired = NonidealNetwork(network, wire_resistance=float(10 ** random.uniform(0, 3)), tile=tile)
    return wired, random.uniform(-1, 1, (2, layers[0])), random.uniform(-1, 1, (2, layers[-1]))


def beta_of(network: NonidealNetwork) -> float:
    """Three tenths of the limit of a unique equilibrium, S."""
    outputs = network.layers[-1]
    resistance = np.linalg.inv(network.nodal_matrix)[-outputs:, -outputs:]
    factor = np.broadcast_to(network.periphery.nudge_factor, outputs)
    return 0.3 / float(np.linalg.eigvals(factor[:, None] * resistance).real.max())


def around(middle: float, spread: float) -> Callable[[np.random.Generator, int], Array]:
    return lambda random, size: middle + spread * random.normal(size=size)


IMPERFECTIONS: dict[str, dict[str, Callable[[np.random.Generator, int], Array]]] = {
    "diodes": {
        "saturation_factor": lambda random, size: np.exp(0.5 * random.normal(size=size)),
        "emission_factor": around(1, 0.03),
    },
    "temperatures": {"temperature_mismatch": around(0, 3)},
    "forward gains": {"forward_factor": around(1, 0.1)},
    "return gains": {"return_factor": around(1, 0.1)},
    "offsets": {"offset": around(0, 0.01)},
    "loaded nodes": {"input_conductance": lambda random, size: 1e-5 * random.random(size)},
    "saturation": {"saturation_voltage": lambda random, size: random.uniform(0.3, 2, size)},
    "output resistance": {
        "output_resistance": lambda random, size: 1e4 * random.random(size) * (random.random(size) < 0.7)
    },
    "source resistance": {
        "source_resistance": lambda random, size: 1e4 * random.random(size) * (random.random(size) < 0.7)
    },
    "nudges": {"nudge_factor": around(1, 0.1), "target_offset": around(0, 0.1)},
}
JUNCTIONS = ("diodes", "temperatures")


def random_chip(seed: int, names: Sequence[str], hidden: int, *, wires: bool) -> tuple[NonidealNetwork, Array, Array]:
    """``random_network`` with the imperfections of ``names``; those of diodes only if the law has junctions."""
    wired, inputs, targets = random_network(seed, hidden)
    ideal, random = wired.ideal, np.random.default_rng([7, seed])
    junctions = isinstance(ideal.single_diode, NgspiceDiode | Shockley)
    sizes = {
        "source_resistance": len(ideal.conductances[0]),
        "nudge_factor": ideal.layers[-1],
        "target_offset": ideal.layers[-1],
    }
    drawn: dict[str, Any] = {}
    for name in names:
        if name in JUNCTIONS and not junctions:
            continue
        for quantity, draw in IMPERFECTIONS[name].items():
            size = sizes.get(quantity)
            drawn[quantity] = draw(random, size) if size else [draw(random, n) for n in ideal.layers[1:-1]]
        if name == "temperatures":
            drawn["celsius"] = 60.0
    chip = NonidealNetwork(ideal, Periphery(**drawn), wired.wire_resistance if wires else 0.0, wired.tile)
    return chip, inputs, targets


def require_agreement(
    network: NonidealNetwork, inputs: Array, targets: Array, kind: str, solver: NonidealNgspiceSolver
) -> float:
    """Difference of the nudged outputs in volts, after both solvers agree in every phase."""
    nudges = [Nudge(targets, sign * beta_of(network), kind) for sign in (1, -1)]
    measured = solver.solve_phases(network, inputs, nudges)
    computed = NonidealNewtonSolver().solve_phases(network.in_spice(), inputs, nudges)
    for ours, theirs in zip(computed, measured, strict=True):
        assert ours.status.tolist() == theirs.status.tolist() == [Status.CONVERGED] * 2
        one, other = (np.concatenate(phase.voltages, axis=1) for phase in (ours, theirs))
        scale = np.maximum(1, np.abs(other).max(axis=1))
        assert (np.abs(one - other).max(axis=1) / scale).max() <= VOLTAGE_BOUND
    return float(np.abs(computed[1].outputs - computed[2].outputs).max())


@pytest.mark.parametrize("seed", range(18))
def test_reduced_and_measured_voltages_agree_to_a_nanovolt_in_every_phase(seed, solver, caplog):
    network, inputs, targets = random_network(seed)
    moved = require_agreement(network, inputs, targets, ("conductance", "current")[seed % 2], solver)
    assert caplog.messages == []  # in one sweep, without a second rung
    assert moved > 1e-4


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        (name, seed)
        for name in IMPERFECTIONS
        for seed in (1, 5, 7, 11, 13, 17)
        if name not in JUNCTIONS or seed not in (11, 13)
    ],
)
def test_every_imperfection_alone_is_the_same_in_ngspice(name, seed, solver, caplog):
    network, inputs, targets = random_chip(seed, [name], seed % 3, wires=False)
    kind = ("conductance", "current")[seed % 2]
    assert require_agreement(network, inputs, targets, kind, solver) > 1e-5
    assert caplog.messages == []
    nudge = Nudge(targets, beta_of(network))
    ideal, real = (
        NonidealNewtonSolver().solve(each, inputs, nudge) for each in (NonidealNetwork(network.ideal), network)
    )
    assert max(np.abs(a - b).max() for a, b in zip(ideal.voltages, real.voltages, strict=True)) > 1e-6  # it matters


@pytest.mark.parametrize("seed", range(18))
def test_all_imperfections_together_are_the_same_in_ngspice(seed, solver, caplog):
    network, inputs, targets = random_chip(seed, list(IMPERFECTIONS), 1 + seed % 3, wires=seed % 4 == 3)
    require_agreement(network, inputs, targets, ("conductance", "current")[seed // 2 % 2], solver)
    assert caplog.messages == []


def test_pairs_of_outputs_are_nudged_by_each_nodes_factor_towards_their_shifted_targets(solver):
    law = Antiparallel(Shockley(rail=-0.1))
    network = ResistiveNetwork.dense([3, 6, 4], outputs="pairs", amplifier_gain=3.0, input_gain=5.0, diode=law)
    own = Periphery(celsius=85.0, target_offset=[0.1, -0.1], nudge_factor=[1.1, 0.9, 1.0, 0.8], saturation_voltage=1.0)
    inputs, targets = np.random.default_rng(0).uniform(-1, 1, (2, 3)), np.eye(2)
    assert require_agreement(NonidealNetwork(network, own), inputs, targets, "current", solver) > 1e-3


def test_one_tile_of_32_by_32_agrees_to_a_nanovolt(solver):
    random = np.random.default_rng(7)
    network = ResistiveNetwork.dense([16, 32], bias=1e-7, input_gain=5.0)
    network.conductances[0][...] = 10 ** random.uniform(-6, -4, (32, 32))
    wired, inputs = NonidealNetwork(network, wire_resistance=3.0), random.uniform(-1, 1, (2, 16))
    assert wired.crossbars[0].wired.shape == (32, 32)
    measured, computed = solver.solve(wired, inputs).require(), NonidealNewtonSolver().solve(wired, inputs).require()
    np.testing.assert_allclose(measured.outputs, computed.outputs, rtol=0, atol=VOLTAGE_BOUND)
    ideal = NonidealNewtonSolver().solve(NonidealNetwork(network, wire_resistance=0.0), inputs)
    assert np.abs(ideal.outputs - computed.outputs).max() > 1e-3  # the wires matter


def test_the_plain_program_solves_the_written_netlist_whose_header_explains_the_wires(run_ngspice):
    network, inputs, targets = random_network(4)
    sample = inputs[:1]
    for nudge in (None, Nudge(targets[:1], beta_of(network)), Nudge(targets[:1], -beta_of(network))):
        equations = NonidealEquations.of(network, sample)
        if nudge is not None:
            equations = equations.nudged([nudge], None)
        text = static_netlist(compile_nonideal(network, sample, [equations.injection]))
        done = run_ngspice(text)
        assert done.code == 0
        found = NonidealNewtonSolver().solve(network.in_spice(), sample, nudge).outputs[0]
        bound = VOLTAGE_BOUND * max(1, np.abs(found).max())
        assert done.values == {f"v(o_{k})": pytest.approx(v, rel=0, abs=bound) for k, v in enumerate(found.tolist())}
    assert "R<l>wr_<i>_<j> is the row segment left of cell (i, j), R<l>wc_<i>_<j> the column segment below it" in text
    assert f"Wires: {network.wire_resistance:g} ohm a segment, tiles of at most 5 x 4" in text


@pytest.mark.parametrize("seed", [1, 8])  # ngspice's diode and Shockley's
def test_the_plain_program_solves_a_chips_netlist_in_which_every_device_has_its_own_parameters(seed, run_ngspice):
    network, inputs, targets = random_chip(seed, list(IMPERFECTIONS), seed % 3, wires=True)
    sample, nudge = inputs[:1], Nudge(targets[:1], beta_of(network))
    equations = NonidealEquations.of(network, sample).nudged([nudge], None)
    text = static_netlist(compile_nonideal(network, sample, [equations.injection]))
    done = run_ngspice(text)
    assert done.code == 0
    found = NonidealNewtonSolver().solve(network, sample, nudge).outputs[0]
    bound = VOLTAGE_BOUND * max(1, np.abs(found).max())
    assert done.values == {f"v(o_{k})": pytest.approx(v, rel=0, abs=bound) for k, v in enumerate(found.tolist())}
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    own, ideal = network.periphery, network.ideal
    law = ideal.single_diode
    model = "shockley" if isinstance(law, Shockley) else "diode"
    current = float(law.saturation_current * own.saturation_factor[0][0])
    emission = float(law.emission * own.emission_factor[0][0])
    mismatch = float(own.temperature_mismatch[0][0])
    assert lines["Xd1_0"][:6] == ["rail_p", "h1_0", model, f"is={current!r}", f"n={emission!r}", f"dtemp={mismatch!r}"]
    assert lines["Xa1_1"] == [
        "h1_1",
        "a1_1",
        "saturating_amplifier",
        f"gain={ideal.amplifier_gain[0]!r}",
        f"forward={float(own.forward_factor[0][1])!r}",
        f"back={float(own.return_factor[0][1])!r}",
        f"offset={float(own.offset[0][1])!r}",
        f"swing={float(own.saturation_voltage[0][1])!r}",
    ]
    row = int(np.flatnonzero(own.source_resistance)[0])
    net = f"xp_{row}" if row < network.layers[0] else f"xn_{row - network.layers[0]}"
    assert lines[f"Rs1_{row}"] == [net, f"r1_{row}", repr(float(own.source_resistance[row]))]
    assert lines[f"R1wr_{row}_0"][:2] == [f"r1_{row}", f"w1r_{row}_0"]
    assert {"temp=60.0", f"tnom={float(law.celsius)!r}"} <= set(lines[".options"])
    with pytest.raises(UserError, match='use form="flat"'):
        compile_nonideal(network, sample, form="norton")


def test_every_cell_and_every_segment_is_one_resistor_where_the_layout_has_it():
    network, inputs, _ = random_network(4)
    text = static_netlist(compile_nonideal(network, inputs[:1]))
    resistors = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("R")}
    expected = sum(2 * c.conductance.size + np.count_nonzero(c.conductance) for c in network.crossbars)
    assert len(resistors) == expected
    rows, _ = network.crossbars[1].wired.shape
    ohms = repr(network.crossbars[1].wired.wire_resistance)
    drive = "a1" if network.ideal.amplifier_gain[0] != 1 else "h1"
    assert resistors["R2wr_0_0"] == [f"{drive}_0", "w2r_0_0", ohms]
    assert resistors["R2wr_0_1"] == ["w2r_0_0", "w2r_0_1", ohms]
    assert resistors[f"R2wc_{rows - 1}_0"] == [f"w2c_{rows - 1}_0", "o_0", ohms]
    assert resistors["R2wc_0_0"] == ["w2c_0_0", "w2c_1_0", ohms]
    assert rows > 5  # the second tile of rows begins, and the first ends, at the node
    assert resistors["R2wc_4_0"] == ["w2c_4_0", "o_0", ohms]
    i, j = np.argwhere(network.crossbars[1].conductance > 0)[0].tolist()
    assert resistors[f"R2_{i}_{j}"][:2] == [f"w2r_{i}_{j}", f"w2c_{i}_{j}"]


def test_ideal_wires_leave_the_flat_netlist_as_it_is(solver):
    network, inputs, _ = random_network(1)
    ideal = NonidealNetwork(network.ideal, wire_resistance=0.0)
    text = static_netlist(compile_nonideal(ideal, inputs[:1]))
    assert "R1_0_0 " in text
    assert "w1r_" not in text.replace("w1r_<", "")
    measured, computed = solver.solve(ideal, inputs), NonidealNewtonSolver().solve(ideal.in_spice(), inputs)
    np.testing.assert_allclose(measured.outputs, computed.outputs, rtol=0, atol=1e-10)


def test_a_transposed_array_in_spice_is_another_circuit_and_the_reduction_follows_it(solver):
    conductance = np.zeros((4, 4))
    conductance[0] = [1e-5, 2e-5, 4e-5, 8e-5]
    conductance[3] = 1e-6
    outputs = []
    for matrix in (conductance, conductance.T.copy()):
        matrix[:, matrix.sum(axis=0) == 0] = 1e-6
        network = ResistiveNetwork.dense([2, 4], input_gain=5.0)
        network.conductances[0][...] = matrix
        wired = NonidealNetwork(network, wire_resistance=2e3)
        measured = solver.solve(wired, [[1.0, -0.5]]).require().outputs
        np.testing.assert_allclose(
            measured, NonidealNewtonSolver().solve(wired, [[1.0, -0.5]]).outputs, rtol=0, atol=1e-10
        )
        outputs.append(measured)
    # with rows and columns exchanged but each cell left at its distances, the plain transpose is not the answer
    turned = WiredCrossbar(conductance.T, 2e3).port_matrix
    same = np.roll(turned, (4, 4), axis=(0, 1))
    assert np.abs(same - WiredCrossbar(conductance, 2e3).port_matrix).max() > 0.01 * np.abs(turned).max()
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


def test_a_nudge_that_the_wires_make_indefinite_is_refused_before_ngspice_answers(solver):
    network = ResistiveNetwork.dense([2, 4, 3], amplifier_gain=2.0)
    wired, inputs, targets = NonidealNetwork(network, wire_resistance=1e6), np.ones((1, 2)), np.ones((1, 3))
    beta = -1.1 * beta_of(wired) / 0.3
    network.require_definite(beta)  # it is definite with ideal wires
    for each in (solver, NonidealNewtonSolver()):
        with pytest.raises(UserError, match=r"indefinite at net o_\d: in this circuit"):
            each.solve(wired, inputs, Nudge(targets, beta))
    with pytest.raises(UserError, match=r"indefinite at net o_\d: in this circuit"):
        compile_nonideal(wired, inputs, [None, (beta, beta * targets)])
