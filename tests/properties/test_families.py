"""The contract of core.Network and core.Equations, for every registered family, and the direction of imports."""

import ast
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import eqprop_analog
from eqprop_analog import (
    GraphNetwork,
    HopfieldNetwork,
    NgspiceSolver,
    Nudge,
    ResistiveNetwork,
    SurrogateSolver,
    UserError,
    contrast,
)
from eqprop_analog.core import Family, families, family_of, load_network, register
from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Status
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.experiments.agreement import compare
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import UniformRates
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.periphery import Periphery

PACKAGE = Path(eqprop_analog.__file__).parent
X, Y = np.array([[0.3, -0.8], [0.9, 0.4], [-0.5, 0.1]]), np.array([[0.4, 0.1], [0.2, 0.3], [0.1, 0.5]])


def resistive() -> ResistiveNetwork:
    made = ResistiveNetwork.dense([2, 4, 2], seed=3, amplifier_gain=3.0, input_gain=2.0, bias=1e-8)
    for matrix in made.conductances:
        matrix[...] = 1e-6 * 10 ** np.random.default_rng(1).uniform(-0.5, 0.5, matrix.shape)
    return made


def hopfield() -> HopfieldNetwork:
    return HopfieldNetwork.dense([2, 5, 2], seed=1, initial="fan-in", buffer=Sigmoid(gain=2.0))


def graph() -> GraphNetwork:
    made = nx.MultiGraph(nx.gnm_random_graph(9, 24, seed=1))
    made.add_edge(3, 7, anode=3)
    return GraphNetwork.from_graph(made, [0, 1], [4, (5, 6)], {2: 0.5})


def nonideal() -> NonidealNetwork:
    return NonidealNetwork(resistive(), Periphery(offset=0.01), 3.0)


NETWORKS = {"resistive": resistive, "hopfield": hopfield, "graph": graph, "nonideal": nonideal}
every = pytest.mark.parametrize("family", NETWORKS)


def test_these_are_all_families() -> None:
    assert set(families()) >= NETWORKS.keys()
    assert all(family_of(make()).name == name for name, make in NETWORKS.items())


@every
def test_equilibria_satisfy_their_equations_and_have_the_shapes_that_the_network_says(family: str) -> None:
    network = NETWORKS[family]()
    free, plus, minus = family_of(network).surrogate().solve_phases(network, X, nudges(network))
    for phase, nudge in ((free, None), (plus, plus.nudge), (minus, minus.nudge)):
        assert [v.shape for v in phase.require().voltages] == network.phase_shapes(3)
        equations = network.equations(network.check_inputs(X))
        equations = equations if nudge is None else equations.nudged([nudge], free)
        assert len(equations) == 3
        nodes = equations.unknowns(phase.voltages)
        again = certified(equations, nodes, 1e-9, nudge)
        assert again.good.all()
        for one, other in zip(again.voltages, phase.voltages, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
        moved = tuple(each + 0.1 for each in nodes)
        assert certified(equations, moved, 1e-9, nudge).status.tolist() == [Status.STALLED] * 3
        broken = tuple(np.where(np.arange(3)[:, None] == 1, np.nan, each) for each in nodes)
        assert certified(equations, broken, 1e-9, nudge).status.tolist()[1] == Status.SIMULATOR_FAILED


def nudges(network: Any, factor: float = 1.0) -> list[Nudge]:
    return [Nudge(Y, sign * factor * network.usual_beta()) for sign in (1, -1)]


@every
def test_select_and_nudged_go_together(family: str) -> None:
    network = NETWORKS[family]()
    equations = network.equations(network.check_inputs(X))
    both = equations.nudged(nudges(network), None)
    assert len(both) == 6
    nodes = both.unknowns(tuple(np.tile(v, (2, 1)) for v in family_of(network).surrogate().solve(network, X).voltages))
    residual, excess = both.imbalance(nodes)
    for sample in range(6):
        alone = both.select(np.array([sample]))
        found = alone.imbalance(tuple(each[[sample]] for each in nodes))
        np.testing.assert_allclose(np.concatenate(found), [residual[sample], excess[sample]], rtol=1e-9, atol=1e-18)


@every
def test_one_ngspice_solver_and_one_comparison_take_it(family: str) -> None:
    network = NETWORKS[family]()
    assert compare(network, X, Y, network.usual_beta()).met
    assert NgspiceSolver().solve(network, X).good.all()


@every
def test_the_surrogate_takes_it_by_its_familys_own_solver(family: str) -> None:
    network = NETWORKS[family]()
    one, other = (solver.solve(network, X) for solver in (SurrogateSolver(), family_of(network).surrogate()))
    for ours, theirs in zip(one.voltages, other.voltages, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if family != "resistive":
        with pytest.raises(UserError, match="settings apply to layered resistive networks"):
            SurrogateSolver(sweeps=3).solve(network, X)


@pytest.mark.parametrize("family", ["resistive", "hopfield", "graph"])
def test_its_contrast_is_its_exact_gradient_which_one_trainer_descends(family: str) -> None:
    network = NETWORKS[family]()
    solver = family_of(network).surrogate()
    free, plus, minus = solver.solve_phases(network, X, nudges(network, 1e-3))
    exact = implicit_gradient(network, X, Y, free)
    assert exact.keys() == network.arrays().keys()
    for name, slope in contrast(network, X, plus, minus).items():
        np.testing.assert_allclose(slope, exact[name], rtol=0, atol=2e-5 * np.abs(exact[name]).max())
    before = {name: values.copy() for name, values in network.arrays().items()}
    rate = 0.02 * min(np.abs(before[name]).max() / np.abs(exact[name]).max() for name in before if before[name].any())
    PhaseLearner(network, solver, Rule(UniformRates(rate), network.usual_beta())).learn(X, Y)
    after = solver.solve(network, X).outputs
    assert ((network.readout(after) - Y) ** 2).sum() < ((network.readout(free.outputs) - Y) ** 2).sum()


@pytest.mark.parametrize("family", ["resistive", "hopfield", "graph"])
def test_a_file_says_of_which_family_it_is(family: str, tmp_path: Path) -> None:
    network = NETWORKS[family]()
    network.save(tmp_path / "net.npz")
    again = load_network(tmp_path / "net.npz")
    assert type(again) is type(network)
    for name, values in network.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], values)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(UserError, match="resistive"):
        register(Family("resistive", GraphNetwork, "", families()["graph"].surrogate))


def test_a_network_of_no_family_is_refused() -> None:
    with pytest.raises(UserError, match="not registered"):
        family_of(object())


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports at import time."""
    tree = ast.parse(path.read_text())
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {str(node.module).removeprefix("eqprop_analog.") for node in nodes}


def test_the_report_does_not_import_the_run_that_imports_it() -> None:
    assert not any("experiments.run" in imported(path) for path in (PACKAGE / "report").glob("*.py"))
