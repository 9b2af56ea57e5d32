"""The surrogate and ngspice find the same equilibria of the same circuits, volt by volt, and so the same gradients."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import (
    Gradient,
    HopfieldNetwork,
    NgspiceSolver,
    Nudge,
    ResistiveNetwork,
    Status,
    SurrogateSolver,
    contrast,
)
from eqprop_analog.core import Network, family_of
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.experiments import agreement as verification
from eqprop_analog.experiments.agreement import compare, require_possible
from eqprop_analog.networks.nonideal.network import NonidealNetwork

Array = np.ndarray
Circuit = tuple[ResistiveNetwork, Array, Array]

VOLTAGE_BOUND = 1e-9
"""Of |ΔV|, as a fraction of the circuit's largest voltage, or of 1 V where that is less."""
GRADIENT_BOUND = 1e-6
"""Of |Δ dC/dθ|, as a fraction of the layer's largest."""
MOVED = 1e-5
"""A layer whose nodes a nudge moves by less than this fraction of the circuit's largest voltage is held by its diodes:
its gradient is the difference of two voltages that ngspice gives to 1e-11 (its reltol), so it cannot be had to 1e-6."""
CIRCUITS = {"ngspice": 20, "clamp": 20}
OTHERS = 6
"""Random circuits of each law."""


def diode(random: np.random.Generator) -> Law:
    return NgspiceDiode(
        saturation_current=10 ** random.uniform(-15, -6),
        emission=random.uniform(1, 2.5),
        rail=random.uniform(0, 1),
        celsius=random.uniform(-40, 125),
    )


def clamp(random: np.random.Generator) -> Law:
    on_resistance = 0.0 if random.random() < 0.5 else 10 ** random.uniform(-3, 4)
    return Clamp(rail=random.uniform(-0.5, 0.5), on_resistance=on_resistance)


def shockley(random: np.random.Generator) -> Law:
    junction = diode(random)
    assert isinstance(junction, NgspiceDiode)
    return Shockley(junction.saturation_current, junction.emission, junction.rail, junction.celsius)


def piecewise_linear(random: np.random.Generator) -> Law:
    resistances = 10 ** random.uniform(-1, 4), 10 ** random.uniform(6, 20)
    return PiecewiseLinear(random.uniform(0, 0.7), *resistances, rail=random.uniform(-0.5, 0.5))


def pair_of(law: Callable[[np.random.Generator], Law]) -> Callable[[np.random.Generator], Law]:
    """Rails on either side of 0 V; for ideal clamps, below 0 V."""

    def pair(random: np.random.Generator) -> Law:
        single, rail = law(random), random.uniform(-0.5, 0.5)
        ideal = isinstance(single, Clamp) and single.on_resistance == 0
        return Antiparallel(replace(single, rail=-abs(rail) if ideal else rail))  # type: ignore[type-var]

    return pair


LAWS = {"ngspice": diode, "clamp": clamp, "shockley": shockley, "piecewise-linear": piecewise_linear}
LAWS |= {f"pair of {name}": pair_of(law) for name, law in LAWS.items()}
EVERY = [(law, seed) for law in LAWS for seed in range(CIRCUITS.get(law, OTHERS))]


def random_circuit(law: str, seed: int) -> Circuit:
    """Network, three inputs and targets: 1-4 hidden layers, 1-30 nodes each, conductances over four decades, a fifth zero.

    With the laws after the first two, one in two has a bias row, and one in two reads its outputs in pairs.
    """
    random = np.random.default_rng([list(LAWS).index(law), seed])
    hidden = int(random.integers(1, 5))
    layers = random.integers(1, 31, hidden + 2).tolist()
    others = law not in CIRCUITS
    pairs = others and seed % 2 == 1
    layers[-1] *= 1 + pairs
    gains = random.uniform(1, 20, hidden) ** random.integers(0, 2, hidden)  # one in two is no amplifier
    network = ResistiveNetwork.dense(
        layers,
        seed,
        diode=LAWS[law](random),
        amplifier_gain=gains.tolist(),
        input_gain=float(10 ** random.uniform(-1, 1)),  # inputs are in [-1, 1]: up to 10 V
        bias=[random.normal(0, 1e-6, size) for size in layers[1:]],
        bias_row=(0.0, 2.0, -3.0)[seed % 3] if others else 0.0,
        outputs="pairs" if pairs else "single",
    )
    for matrix in network.conductances:
        rows, columns = matrix.shape
        kept = random.random(matrix.shape) < 0.8
        kept[random.integers(rows, size=columns), np.arange(columns)] = True
        matrix[...] = kept * 10 ** random.uniform(-8, -4, matrix.shape)
    return network, random.uniform(-1, 1, (3, layers[0])), random.uniform(-1, 1, (3, network.classes))


def beta_of(network: ResistiveNetwork) -> float:
    """Three tenths of the limit of definiteness, S: the outputs change measurably, and -β is safe."""
    return 0.3 * float(np.linalg.eigvalsh(network.output_stiffness())[0])


def parameters(gradient: Gradient) -> tuple[Array, ...]:
    return (*gradient.conductances, *gradient.biases)


@pytest.fixture(params=EVERY, ids=lambda p: f"{p[0]}-{p[1]}")
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return random_circuit(*request.param)


def test_surrogate_and_ngspice_agree_to_a_nanovolt_in_every_phase_and_on_the_gradient(
    circuit: Circuit, ngspice: NgspiceSolver, caplog: pytest.LogCaptureFixture
) -> None:
    network, inputs, targets = circuit
    nudges = [Nudge(targets, beta, network.nudge_kind) for beta in (beta_of(network), -beta_of(network))]
    measured = ngspice.solve_phases(network, inputs, nudges)
    computed = SurrogateSolver().solve_phases(network.in_spice(), inputs, nudges)

    for phase in (*measured, *computed):
        assert phase.status.tolist() == [Status.CONVERGED] * len(inputs)
    assert caplog.messages == []  # in one sweep, without a second rung
    ours, theirs = (np.stack([np.concatenate(p.voltages, axis=1) for p in phases]) for phases in (computed, measured))
    scale = np.maximum(1, np.abs(theirs).max(axis=-1))
    assert (np.abs(ours - theirs).max(axis=-1) / scale).max() <= VOLTAGE_BOUND

    moved = [
        np.abs(plus - minus).max() > MOVED * scale.max()
        for plus, minus in zip(computed[1].voltages, computed[2].voltages, strict=True)
    ]
    assert moved[-1]
    by_layer = zip(
        parameters(contrast(network, inputs, computed[1], computed[2])),
        parameters(contrast(network, inputs, measured[1], measured[2])),
        moved * 2,
        strict=True,
    )
    for ours, theirs, tested in by_layer:
        assert not tested or np.abs(ours - theirs).max() <= GRADIENT_BOUND * np.abs(ours).max()


def test_the_random_circuits_reach_what_they_are_meant_to_test() -> None:
    circuits = [random_circuit(law, seed)[0] for law, seed in EVERY]
    assert {network.depth for network in circuits} == {2, 3, 4, 5}
    assert min(min(network.layers) for network in circuits) == 1
    assert max(max(network.layers[:-1]) for network in circuits) == 30
    gains = [gain for network in circuits for gain in network.amplifier_gain]
    assert 1.0 in gains
    assert max(gains) > 19
    assert {network.diode == network.in_spice().diode for network in circuits} == {True, False}  # ideal clamps too
    assert {(network.bias_row > 0, network.bias_row < 0, network.outputs) for network in circuits} >= {
        *((True, False, outputs) for outputs in ("single", "pairs")),
        *((False, True, outputs) for outputs in ("single", "pairs")),
    }


def test_nodes_of_a_large_hidden_layer_agree_to_a_nanovolt(ngspice: NgspiceSolver) -> None:
    network = ResistiveNetwork.dense([50, 300, 10], seed=1, amplifier_gain=10.0, input_gain=10.0)
    inputs = np.random.default_rng(1).uniform(0, 1, (1, 50))
    measured, computed = ngspice.solve(network, inputs), SurrogateSolver().solve(network, inputs)
    assert measured.status.tolist() == [Status.CONVERGED]
    assert max(np.abs(a - b).max() for a, b in zip(measured.voltages, computed.voltages, strict=True)) <= VOLTAGE_BOUND


@pytest.mark.parametrize("kind", ["squared-error", "cross-entropy"])
def test_current_nudges_agree_and_are_taken_at_the_free_equilibrium(kind: str, ngspice: NgspiceSolver) -> None:
    network = ResistiveNetwork.dense([3, 8, 4], seed=2, amplifier_gain=5.0, bias=1e-8)
    inputs = np.random.default_rng(2).uniform(-1, 1, (5, 3))
    targets = np.eye(4)[[0, 1, 2, 3, 0]]
    nudges = [Nudge(targets, beta, "current", kind) for beta in (1e-8, -1e-8)]
    measured = ngspice.solve_phases(network, inputs, nudges)
    computed = SurrogateSolver().solve_phases(network, inputs, nudges)
    assert np.abs(measured[1].outputs - measured[2].outputs).max() > 1e-3
    for ours, theirs in zip(computed, measured, strict=True):
        assert theirs.good.all()
        assert max(np.abs(a - b).max() for a, b in zip(ours.voltages, theirs.voltages, strict=True)) <= VOLTAGE_BOUND
    alone = ngspice.solve(network, inputs, nudges[0], start=measured[0])
    np.testing.assert_allclose(alone.outputs, measured[1].outputs, rtol=0, atol=VOLTAGE_BOUND)


def test_networks_without_hidden_layers_are_linear_circuits_that_agree(ngspice: NgspiceSolver) -> None:
    network = ResistiveNetwork.dense([6, 3], seed=3, bias=1e-8)
    inputs = np.random.default_rng(3).uniform(-10, 10, (4, 6))
    measured, computed = ngspice.solve(network, inputs), SurrogateSolver().solve(network, inputs)
    np.testing.assert_allclose(measured.outputs, computed.outputs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "network",
    [
        ResistiveNetwork.dense([4, 6, 2], seed=1),
        ResistiveNetwork.dense([8, 10, 10, 4], seed=1, amplifier_gain=4.0),
        HopfieldNetwork.dense([4, 6, 2], seed=0, initial="fan-in"),
    ],
    ids=["shallow", "deep", "hopfield"],
)
def test_targets_that_are_met_already_leave_no_gradient_to_disagree_on(network: Network) -> None:
    """Only rounding remains of it; a different gradient is still a disagreement."""
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, network.layers[0]))
    targets = network.readout(family_of(network).surrogate().solve(network, inputs).outputs)
    assert compare(network, inputs, targets, network.usual_beta()).met
    phases = family_of(network).surrogate().solve_phases(network, inputs, [Nudge(targets, b) for b in (1e-9, -1e-9)])
    off = tuple(
        replace(p, voltages=tuple(v + 1e-9 * np.sign(p.beta) * (-1) ** l for l, v in enumerate(p.voltages)))
        for p in phases
    )
    assert verification._worst_layer(network, inputs, phases, off) > 1e-3


def test_weights_of_both_directions_are_no_wires():
    """A Hopfield network of this size takes ngspice seconds, with or without KLU."""
    require_possible(HopfieldNetwork.dense([784, 512, 10]))
    assert HopfieldNetwork.dense([784, 512, 10]).wire_segments == 0


def test_segments_of_wire_are_counted_apart_from_the_cells():
    network = ResistiveNetwork.dense([2, 3, 1])
    network.conductances[0][0] = 0.0
    assert network.wire_segments == 0
    assert NonidealNetwork(network, wire_resistance=1.0).wire_segments == 2 * (4 * 3 + 3 * 1)
