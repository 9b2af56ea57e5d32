"""Networks on graphs against hand calculation, dense linear algebra, finite differences, and the layered networks' own code."""

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import (
    Clamp,
    Equilibrium,
    GraphNetwork,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    Shockley,
    SparseNewtonSolver,
    Status,
    SurrogateSolver,
    UserError,
    contrast,
    edge_contrast,
)
from eqprop_analog.core.nudge import cost
from eqprop_analog.devices import Law
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import UniformRates, descend
from eqprop_analog.networks.graph.equations import GraphEquations, output_resistance
from eqprop_analog.networks.graph.topologies import square_lattice, with_diodes

US = 1e-6
SOLVER = SparseNewtonSolver()
LAWS = pytest.mark.parametrize(
    "law",
    [None, NgspiceDiode(rail=0.1), Shockley(), PiecewiseLinear(on_resistance=1e4), Clamp(on_resistance=1e4)],
    ids=["resistors", "ngspice", "shockley", "piecewise-linear", "clamp"],
)


def mixed(law: Law | None, seed: int = 0, side: int = 5) -> tuple[GraphNetwork, np.ndarray, np.ndarray]:
    """A periodic lattice with conductances over two decades, a current source and, with a law, diodes; inputs, targets."""
    random = np.random.default_rng(seed)
    graph = square_lattice(side, side, periodic=True)
    for edge in graph.edges:
        graph.edges[edge]["conductance"] = US * 10 ** random.uniform(-1, 1)
    graph.nodes[2, 3]["current"] = 0.3 * US
    held = [(0, 0), (2, 2), (side - 1, 1)]
    if law is not None:
        graph = with_diodes(graph, 0.3, held, seed)
    network = GraphNetwork.from_graph(graph, held[:2], [(1, 1), ((3, 3), (0, 2))], {held[2]: -0.5}, diode=law)
    return network, random.uniform(-2, 2, (3, 2)), random.uniform(-1, 1, (3, 2))


def dense(network: GraphNetwork, inputs: np.ndarray, g: float = 0.0, y: float | np.ndarray = 0.0) -> np.ndarray:
    """All node voltages of a network of resistors, assembled edge by edge and solved by NumPy's dense solver."""
    count = len(network.names)
    laplacian, right = np.zeros((count, count)), np.tile(network.currents, (len(inputs), 1))
    edges = [(*pair, conductance) for pair, conductance in zip(network.resistors, network.conductances, strict=True)]
    for one, other, conductance in edges:
        for a, b in ((one, other), (other, one)):
            laplacian[a, a] += conductance
            laplacian[a, b] -= conductance
    for k, (plus, minus) in enumerate(network.outputs):
        readout = np.zeros(count)
        readout[plus] = 1
        if minus >= 0:
            readout[minus] = -1
        laplacian += g * np.outer(readout, readout)
        right = right + np.outer(np.broadcast_to(np.atleast_2d(y), (len(inputs), len(network.outputs)))[:, k], readout)
    held = np.concatenate([network.inputs, network.rails])
    values = np.concatenate([inputs, np.tile(network.rail_volts, (len(inputs), 1))], axis=1)
    laplacian[held] = np.eye(count)[held]
    right[:, held] = values
    return np.linalg.solve(laplacian, right.T).T


class TestVoltages:
    def test_voltage_divider_by_hand(self):
        graph = nx.Graph()
        graph.add_edge("in", "mid", conductance=3 * US)
        graph.add_edge("mid", "ground", conductance=1 * US)
        network = GraphNetwork.from_graph(graph, ["in"], ["mid", ("in", "mid")], {"ground": 0.0})
        found = SOLVER.solve(network, [[2.0]])
        assert found.outputs[0] == pytest.approx([1.5, 0.5], rel=1e-15)
        assert network.names == ("n_in", "n_mid", "n_ground")

    def test_complete_graph_has_resistance_two_over_n(self):
        graph = nx.complete_graph(7)
        graph.nodes[3]["current"] = 1e-6
        network = GraphNetwork.from_graph(graph, [], [3], {5: 0.0})
        assert SOLVER.solve(network, np.zeros((1, 0))).outputs[0, 0] == pytest.approx(2 / 7, rel=1e-14)

    def test_diode_conducts_from_anode_to_cathode_and_beside_a_resistor_sits_where_its_law_says(self):
        law = NgspiceDiode(rail=0.3)
        for anode, volts in (("in", 2.0), ("mid", -2.0)):
            graph = nx.Graph([("in", "mid", {"anode": anode}), ("mid", "ground", {"conductance": US})])
            network = GraphNetwork.from_graph(graph, ["in"], ["mid"], {"ground": 0.0}, diode=law)
            forward, backward = SOLVER.solve(network, [[volts], [-volts]]).outputs[:, 0]
            # the law's own node: a diode from its rail into the node; here the rail is the input, at 2 V
            expected = np.sign(volts) * float(NgspiceDiode(rail=2.0).solve(np.array([US]), np.array([0.0]))[0])
            assert forward == pytest.approx(expected, rel=1e-12)
            assert abs(backward) < 2e-3

    @pytest.mark.parametrize("seed", range(3))
    def test_resistors_agree_with_dense_linear_algebra_free_and_nudged(self, seed):
        network, inputs, targets = mixed(None, seed)
        free = SOLVER.solve(network, inputs)
        np.testing.assert_allclose(free.voltages[0], dense(network, inputs), rtol=0, atol=1e-13)
        beta = 0.5 / np.linalg.eigvalsh(output_resistance(network))[-1]
        for b in (beta, -beta):
            found = SOLVER.solve(network, inputs, Nudge(targets, b), free)
            np.testing.assert_allclose(found.voltages[0], dense(network, inputs, b, b * targets), rtol=0, atol=1e-13)
            found = SOLVER.solve(network, inputs, Nudge(targets, b, "current"), free)
            pulled = dense(network, inputs, 0.0, -b * (free.outputs - targets))
            np.testing.assert_allclose(found.voltages[0], pulled, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("law", [NgspiceDiode(), Shockley(), PiecewiseLinear(), Clamp(on_resistance=1.0)])
    def test_a_layered_network_drawn_as_a_graph_has_the_layered_networks_voltages_and_gradient(self, law):
        layered = ResistiveNetwork.dense([2, 4, 3], seed=3, diode=law)
        random = np.random.default_rng(3)
        for matrix in layered.conductances:
            matrix[...] = random.uniform(0.1, 2, matrix.shape) * US
        graph = nx.MultiGraph()
        rows = ["+0", "+1", "-0", "-1"]
        for i, j in np.ndindex(4, 4):
            graph.add_edge(f"x{rows[i].replace('-', 'n')}", f"h{j}", conductance=layered.conductances[0][i, j])
        for i, j in np.ndindex(4, 3):
            graph.add_edge(f"h{i}", f"o{j}", conductance=layered.conductances[1][i, j])
        for j in range(4):
            rail, other = ("up", f"h{j}") if j < 2 else (f"h{j}", "down")
            graph.add_edge(rail, other, anode=rail)
        network = GraphNetwork.from_graph(
            graph,
            [f"x{row.replace('-', 'n')}" for row in rows],
            ["o0", "o1", "o2"],
            {"up": law.rail, "down": -law.rail},
            diode=law,
        )
        inputs, targets = random.uniform(-3, 3, (5, 2)), random.uniform(-1, 1, (5, 3))
        volts = np.concatenate([inputs, -inputs], axis=1)
        nudges = [Nudge(targets, 0.1 * US), Nudge(targets, -0.1 * US)]
        ours, theirs = (
            SOLVER.solve_phases(network, volts, nudges),
            SurrogateSolver().solve_phases(layered, inputs, nudges),
        )
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.outputs, other.outputs, rtol=0, atol=1e-11)
        by_edge = edge_contrast(network, ours[1], ours[2])
        by_layer = contrast(layered, inputs, theirs[1], theirs[2])
        expected = np.concatenate([matrix.ravel() for matrix in by_layer.conductances])
        order = np.argsort(network.conductances), np.argsort(np.concatenate([m.ravel() for m in layered.conductances]))
        np.testing.assert_allclose(by_edge[order[0]], expected[order[1]], rtol=0, atol=1e-6 * np.abs(expected).max())

    def test_a_network_without_free_nodes_is_solved(self):
        network = GraphNetwork.from_graph(nx.Graph([(0, 1)]), [0], [(0, 1)], {1: 0.0})
        found = SOLVER.solve(network, [[1.0], [2.0]])
        assert found.outputs[:, 0].tolist() == [1.0, 2.0]
        assert found.residual.tolist() == [0.0, 0.0]
        assert found.good.all()


class TestEquations:
    @LAWS
    @pytest.mark.parametrize("beta", [0.0, 0.3 * US])
    def test_net_currents_are_minus_the_gradient_of_the_energy(self, law, beta):
        network, inputs, targets = mixed(law)
        equations = GraphEquations.of(network, inputs)
        if beta:
            equations = equations.nudged([Nudge(targets, beta)], None)
        v = equations.held(np.random.default_rng(1).uniform(-0.4, 0.4, (3, len(network.names))))
        found = equations.residuals(v)
        for k, node in enumerate(network.free):
            step = np.zeros_like(v)
            step[:, node] = 1e-6
            slope = (equations.energy(v + step) - equations.energy(v - step)) / 2e-6
            np.testing.assert_allclose(-slope, found[:, k], rtol=0, atol=1e-7 * np.abs(found).max())

    @LAWS
    def test_response_inverts_the_slope_of_the_net_currents(self, law):
        network, inputs, _ = mixed(law)
        equations = GraphEquations.of(network, inputs)
        random = np.random.default_rng(1)
        v = equations.held(
            SOLVER.solve(network, inputs).voltages[0] + random.uniform(-0.02, 0.02, equations.sources.shape)
        )
        currents = np.random.default_rng(2).normal(0, US, (3, len(network.free)))
        moved = equations.response(v, currents)
        change = equations.residuals(v + 1e-7 * moved) - equations.residuals(v - 1e-7 * moved)
        np.testing.assert_allclose(-change / 2e-7, currents, rtol=0, atol=1e-6 * np.abs(currents).max())
        assert (moved[:, network.held] == 0).all()

    def test_many_samples_are_solved_in_several_factorisations_like_one_by_one(self):
        network, _, _ = mixed(NgspiceDiode(rail=0.0), side=7)
        inputs = np.random.default_rng(0).uniform(-2, 2, (200, 2))
        together = SOLVER.solve(network, inputs)
        assert together.good.all()
        for k in (0, 99, 199):
            alone = SOLVER.solve(network, inputs[k])
            np.testing.assert_allclose(together.voltages[0][k], alone.voltages[0][0], rtol=0, atol=1e-13)

    def test_energy_without_nudge_is_the_networks(self):
        network, inputs, _ = mixed(NgspiceDiode(rail=0.1))
        found = SOLVER.solve(network, inputs).voltages[0]
        np.testing.assert_allclose(network.energy(found), GraphEquations.of(network, inputs).energy(found), rtol=1e-13)


class TestDefiniteness:
    def chain(self) -> GraphNetwork:
        graph = nx.Graph()
        graph.add_edge("in", "h", conductance=1 * US)
        graph.add_edge("h", "out", conductance=10 * US)
        return GraphNetwork.from_graph(graph, ["in"], ["out"])

    def test_output_resistance_is_the_chains(self):
        assert output_resistance(self.chain())[0, 0] == pytest.approx(1.1e6, rel=1e-13)

    def test_nudge_beyond_what_holds_the_output_is_refused_by_name(self):
        network, limit = self.chain(), 1 / 1.1e6
        SOLVER.solve(network, [[1.0]], Nudge([[0.5]], -0.999 * limit)).require()
        for beta in (-1.001 * limit, -8 * US):
            with pytest.raises(UserError, match=r"indefinite at output n_out: .* only 9\.091e-07 S"):
                SOLVER.solve(network, [[1.0]], Nudge([[0.5]], beta))

    @pytest.mark.parametrize("seed", range(3))
    def test_the_bound_is_where_the_dense_matrix_turns_indefinite(self, seed):
        network, _, _ = mixed(None, seed)
        limit = 1 / np.linalg.eigvalsh(output_resistance(network))[-1]
        equations = GraphEquations.of(network, np.zeros((1, 2)))
        unit = np.eye(len(network.names))[network.free]
        base = -(
            (equations.residuals(unit) - equations.residuals(0 * unit))
            + np.zeros((len(network.free), len(network.free)))
        )
        readout = network.incidence[-2:, network.free].toarray()
        for factor, definite in ((0.999, True), (1.001, False)):
            lowest = np.linalg.eigvalsh(base - factor * limit * readout.T @ readout)[0]
            assert (lowest > 0) == definite


class TestGradient:
    @LAWS
    def test_implicit_gradient_is_the_finite_difference_of_the_cost(self, law):
        network, inputs, targets = mixed(law)
        for name in ("squared-error", "cross-entropy"):
            exact = implicit_gradient(network, inputs, targets, SOLVER.solve(network, inputs), name)["conductances"]
            for edge in np.argsort(-np.abs(exact))[:5]:
                ends, before = [], network.conductances[edge]
                for factor in (1 + 1e-5, 1 - 1e-5):
                    network.conductances[edge] = factor * before
                    ends.append(cost(name, SOLVER.solve(network, inputs).outputs, targets).mean())
                network.conductances[edge] = before
                assert (ends[0] - ends[1]) / (2e-5 * before) == pytest.approx(exact[edge], rel=1e-6)

    @LAWS
    @pytest.mark.parametrize("kind", ["conductance", "current"])
    def test_contrast_nears_it_with_the_square_of_beta_or_with_beta(self, law, kind):
        network, inputs, targets = mixed(law, side=4)
        free = SOLVER.solve(network, inputs)
        exact = implicit_gradient(network, inputs, targets, free)["conductances"]
        limit = 1 / np.linalg.eigvalsh(output_resistance(network))[-1]
        errors = {"centred": [], "one-sided": []}
        for beta in limit * np.array([3e-3, 1e-3]):
            phases = {b: SOLVER.solve(network, inputs, Nudge(targets, b, kind), free) for b in (beta, -beta)}
            for name, other in (("centred", phases[-beta]), ("one-sided", free)):
                found = edge_contrast(network, phases[beta], other)
                errors[name].append(np.abs(found - exact).max() / np.abs(exact).max())
        piecewise = isinstance(law, Clamp | PiecewiseLinear)
        order = {name: np.log(big / small) / np.log(3) for name, (big, small) in errors.items()}
        assert errors["centred"][1] < 1e-5
        assert order["one-sided"] == pytest.approx(1, abs=0.05)
        if law is None and kind == "current":  # everything is linear, so the only error is rounding
            assert max(errors["centred"]) < 1e-8
        elif not piecewise:  # whose currents are straight lines between the kinks
            assert order["centred"] == pytest.approx(2, abs=0.1)

    def test_current_nudge_of_cross_entropy_gives_its_gradient(self):
        network, inputs, _ = mixed(NgspiceDiode(rail=0.1))
        targets = np.eye(2)[[0, 1, 0]]
        free = SOLVER.solve(network, inputs)
        plus, minus = (
            SOLVER.solve(network, inputs, Nudge(targets, b, "current", "cross-entropy"), free) for b in (1e-10, -1e-10)
        )
        exact = implicit_gradient(network, inputs, targets, free, "cross-entropy")["conductances"]
        np.testing.assert_allclose(edge_contrast(network, plus, minus), exact, rtol=0, atol=1e-6 * np.abs(exact).max())

    def test_update_stays_in_the_window_and_goes_downhill(self):
        network, inputs, targets = mixed(NgspiceDiode(rail=0.1))
        costs, free = [], None
        for _ in range(5):
            free = SOLVER.solve(network, inputs, start=free)
            PhaseLearner(network, SOLVER, Rule(UniformRates(2e-13), 1e-9)).learn(inputs, targets)
            costs.append(cost("squared-error", free.outputs, targets).mean())
        assert (np.diff(costs) < 0).all()
        steep = np.where(np.arange(len(network.conductances)) % 2, 1.0, -1.0)
        descend(network, {"conductances": steep}, UniformRates(1.0))
        assert set(network.conductances) == set(network.conductance_window)

    def test_phases_that_cannot_be_compared_are_refused(self):
        network, inputs, targets = mixed(None)
        free = SOLVER.solve(network, inputs)
        with pytest.raises(UserError, match="same beta"):
            edge_contrast(network, free, free)
        failed = Equilibrium(free.voltages, free.residual, np.array([Status.STALLED] * 3), Nudge(targets, US))
        with pytest.raises(UserError, match="sample 0: STALLED"):
            edge_contrast(network, failed, free)
        with pytest.raises(UserError, match="25"):
            edge_contrast(network, Equilibrium((free.outputs,), free.residual, free.status), free)


class TestRefusals:
    def test_inputs_starts_and_targets_of_another_shape_are_refused(self):
        network, inputs, targets = mixed(None)
        free = SOLVER.solve(network, inputs)
        with pytest.raises(UserError, match=r"inputs: expected shape \(batch, 2\)"):
            SOLVER.solve(network, inputs[:, :1])
        with pytest.raises(UserError, match="NaN or infinite"):
            SOLVER.solve(network, np.full((1, 2), np.inf))
        with pytest.raises(UserError, match="start: expected voltages of shape"):
            SOLVER.solve(network, inputs[:1], start=free)
        with pytest.raises(UserError, match=r"nudge: expected a target of shape \(3, 2\)"):
            SOLVER.solve(network, inputs, Nudge(targets[:2], US))
        with pytest.raises(UserError, match="pass it as start=free"):
            SOLVER.solve(network, inputs, Nudge(targets, US, "current"))
        nudged = SOLVER.solve(network, inputs, Nudge(targets, US))
        with pytest.raises(UserError, match="got a nudged"):
            SOLVER.solve(network, inputs, Nudge(targets, US, "current"), nudged)

    def test_too_few_iterations_are_called_stalled(self):
        network, inputs, _ = mixed(NgspiceDiode(rail=0.0))
        assert SparseNewtonSolver(max_iterations=2).solve(network, inputs).status.tolist() == [Status.STALLED] * 3


class TestFiles:
    @LAWS
    def test_a_saved_network_comes_back_the_same(self, law, tmp_path):
        network, inputs, _ = mixed(law)
        network.conductances[0] = 0.0
        network.save(tmp_path / "net.npz")
        again = GraphNetwork.load(tmp_path / "net.npz")
        assert (again.names, again.diode, again.conductance_window) == (
            network.names,
            network.diode,
            network.conductance_window,
        )
        for name in ("resistors", "conductances", "inputs", "outputs", "rails", "rail_volts", "currents", "diodes"):
            np.testing.assert_array_equal(getattr(again, name), getattr(network, name))
            assert getattr(again, name).dtype == getattr(network, name).dtype
        np.testing.assert_array_equal(
            SOLVER.solve(again, inputs).voltages[0], SOLVER.solve(network, inputs).voltages[0]
        )

    def test_files_that_are_no_graph_network_are_refused_in_one_sentence(self, tmp_path):
        path = tmp_path / "net.npz"
        with pytest.raises(UserError, match="no such network file"):
            GraphNetwork.load(path)
        ResistiveNetwork.dense([2, 2]).save(path)
        with pytest.raises(UserError, match='expected format "eqprop-analog graph network 1"'):
            GraphNetwork.load(path)
        network, _, _ = mixed(NgspiceDiode())
        network.save(path)
        whole = path.read_bytes()
        for damaged in (whole[:200], b"", whole[:-100]):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match="not a network file"):
                GraphNetwork.load(path)

    def test_a_file_whose_indices_point_nowhere_is_refused(self, tmp_path):
        network, _, _ = mixed(None)
        network.outputs[0, 0] = 99
        network.save(tmp_path / "net.npz")
        with pytest.raises(UserError, match="outputs: expected nodes 0 to 24, got"):
            GraphNetwork.load(tmp_path / "net.npz")
