"""Properties of sweeps that netlist files do not have: expanded subcircuits, ordered samples, sources without delay."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, NgspiceDiode, NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.core.network import in_double
from eqprop_analog.experiments.solvers import solver_of
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.resistive.netlist import compile_network, without_last_amplifiers
from eqprop_analog.spice import netlist as netlists
from eqprop_analog.spice.inlined import Inlined, read_subcircuit
from eqprop_analog.spice.netlist import static_netlist, sweep_netlist
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.order import alike
from eqprop_analog.spice.ngspice.workers import Workers

RunNgspice = Callable[[str], Any]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)")


def batch(samples: int = 12, seed: int = 0) -> tuple[ResistiveNetwork, np.ndarray, np.ndarray]:
    """A network with diodes and amplifiers, inputs, targets."""
    network = ResistiveNetwork.dense(
        [6, 8, 3], seed, diode=NgspiceDiode(1e-9, rail=0.2), amplifier_gain=4.0, input_gain=5.0
    )
    random = np.random.default_rng(seed)
    return network, random.uniform(-1, 1, (samples, 6)), np.eye(3)[random.integers(0, 3, samples)]


def iterations(run_ngspice: RunNgspice, text: str) -> int:
    """Number of Newton iterations of a whole sweep."""
    told = run_ngspice(text.replace(".end\n", ".control\nrun\nrusage totiter\n.endc\n.end\n"))
    (found,) = re.findall(r"iterations\s*=\s*(\d+)", told.text)
    return int(found)


def test_sources_follow_a_new_sample_from_the_first_iteration_on(run_ngspice: RunNgspice) -> None:
    """A linear circuit needs two iterations per point; the second one only confirms convergence."""
    network = ResistiveNetwork.dense([6, 3], 1)
    inputs = np.random.default_rng(1).uniform(-1, 1, (7, 6))
    one, seven = (
        iterations(run_ngspice, sweep_netlist(compile_network(network, x, [None, None]))) for x in (inputs[:1], inputs)
    )
    assert seven - one == 2 * 6 * 2


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_subcircuits_written_out_are_what_ngspice_makes_of_them(
    ngspice: NgspiceSolver, monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    network, inputs, targets = batch(5)
    circuit = compile_network(network, inputs, [None, (1e-8, 1e-8 * targets)])
    if offset:
        sections = [
            replace(
                section,
                elements=tuple(
                    replace(each, parameters={"offset": np.linspace(-offset, offset, 8)})
                    if hasattr(each, "gain")
                    else each
                    for each in section.elements
                ),
            )
            for section in circuit.sections
        ]
        circuit = replace(circuit, sections=tuple(sections))
    text = sweep_netlist(circuit)
    assert "\nX" not in text
    assert ("vsense" in text) == bool(offset)  # an ammeter of 0 V is omitted
    lines = netlists._lines
    monkeypatch.setattr(netlists, "_lines", lambda *given, inline: lines(*given, inline=not inline))
    as_they_are = sweep_netlist(circuit)
    assert as_they_are.count("\nX") == 16
    jobs = [
        ngspice._work.submit(libngspice.sweep_text, each, circuit.probes, circuit.points)
        for each in (text, as_they_are)
    ]
    measured, expected = map(ngspice._work.result, jobs)
    assert np.abs(measured - expected).max() <= 1e-12 * np.abs(expected).max()


class TestInlined:
    TEXT = """* a divider
.subckt half top middle params: r=100 n=2
R1 top inside {r}
R2 Inside middle {r / n}
D1 middle 0 junction dtemp={n}
.model junction D(IS={r*1e-12} N=1)
.ends half"""

    def test_devices_have_the_names_that_ngspice_gives_them_and_one_model_serves_all_alike(self) -> None:
        given = ["Xa in out half r=50", "R9 in 0 5", "Xb in 0 half r=50", "Xc x y half"]
        assert "\n".join(Inlined([self.TEXT]).lines(given)).split("\n") == [
            ".model half_junction_0 d(is=5e-11 n=1)",
            "r.Xa.r1 in Xa.inside 50.0",
            "r.Xa.r2 Xa.inside out 25.0",
            "d.Xa.d1 out 0 half_junction_0 dtemp=2.0",
            "R9 in 0 5",
            "r.Xb.r1 in Xb.inside 50.0",
            "r.Xb.r2 Xb.inside 0 25.0",
            "d.Xb.d1 0 0 half_junction_0 dtemp=2.0",
            ".model half_junction_1 d(is=1e-10 n=1)",
            "r.Xc.r1 x Xc.inside 100.0",
            "r.Xc.r2 Xc.inside y 50.0",
            "d.Xc.d1 y 0 half_junction_1 dtemp=2.0",
        ]

    def test_lines_are_read_as_those_of_any_netlist(self) -> None:
        line = "R9 top gnd\t'r * 2' $ twice\n* a comment\nR8 top 0\n+ 5\n.model other D(IS='r*1e-12')"
        found = read_subcircuit(self.TEXT.replace(".ends", f"{line}\n.ends"))
        assert found
        filled = found.filled({"r": "50"})
        assert filled.devices[-2:] == (("r9", "top", "0", "100.0"), ("r8", "top", "0", "5"))
        assert filled.models["other"] == "d(is=5e-11)"

    @pytest.mark.parametrize(
        "line",
        [
            "Xin a b other",
            "B1 top 0 V={r}",
            "E1 top 0 value={V(middle)}",
            "V1 top 0 dc 1 ac 1",
            "R9 top 0 {r*unheard_of(3)}",
            "R9 top 0 {temper}",
            "R9 top 0 {{r}}",
            "R9 (top 0) 5",
            "E1 top 0 (middle 0) 2",
            "R9 top 0 5 tc=1,2",
            'R9 top 0 "5"',
            ".param x=2",
            ".func f(x) {x}",
            ".end",
            "K1 L1 L2 1",
        ],
    )
    def test_what_has_more_than_devices_is_left_to_ngspice(self, line: str) -> None:
        text = self.TEXT.replace(".ends", f"{line}\n.ends")
        assert read_subcircuit(text) is None
        inlined = Inlined([text])
        assert inlined.kept == [text]
        assert list(inlined.lines(["Xa in out half r=50"])) == ["Xa in out half r=50"]

    def test_a_subcircuit_is_found_whatever_its_case(self) -> None:
        (model, device) = Inlined([".subckt Plain A b\nR1 a B 5\n.ends\n", self.TEXT]).lines(
            ["R1 a b 1", "Xq in out PLAIN"]
        )
        assert (model, device) == ("R1 a b 1", "r.Xq.r1 in out 5")

    def test_what_another_subcircuit_is_made_of_stays_beside_it(self) -> None:
        outer = ".subckt pair a b\nXone a c half\nXtwo c b half\n.ends"
        assert Inlined([outer, self.TEXT]).kept == [outer, self.TEXT]

    @pytest.mark.parametrize("parameter", ["m=2", "n=0", "r=word"])
    def test_parameters_that_are_not_understood_are_ngspice_s_business(self, parameter: str) -> None:
        line = f"Xa in out half {parameter}"
        assert list(Inlined([self.TEXT]).lines([line, line])) == [self.TEXT, line, line]

    def test_an_ammeter_that_more_than_a_source_touches_stays(self) -> None:
        text = ".subckt meter a b\nE1 c 0 a 0 2\nR1 c 0 1\nVs c b 0\nF1 a 0 Vs 0.5\n.ends"
        (found,) = Inlined([text]).lines(["Xa in out meter"])
        assert "v.Xa.vs Xa.c out 0" in found.split("\n")


class TestOrder:
    def test_each_sample_follows_the_nearest_of_those_before_it_that_are_left(self) -> None:
        points = np.array([[0.0], [5.0], [1.0], [4.5], [0.0], [2.0]])
        assert alike(points).tolist() == [0, 4, 2, 5, 3, 1]

    @pytest.mark.parametrize("samples", [0, 1, 2, 1001, 2500])
    def test_every_sample_is_there_once(self, samples: int) -> None:
        order = alike(np.random.default_rng(0).normal(size=(samples, 3)))
        assert sorted(order.tolist()) == list(range(samples))

    def test_a_sample_s_equilibrium_is_the_same_whatever_is_beside_it(self, ngspice: NgspiceSolver) -> None:
        network, inputs, targets = batch(30)
        shuffled = np.random.default_rng(1).permutation(30)
        one = ngspice.solve_phases(network, inputs, [Nudge(targets, 1e-8), Nudge(targets, -1e-8)])
        nudges = [Nudge(targets[shuffled], beta) for beta in (1e-8, -1e-8)]
        other = ngspice.solve_phases(network, inputs[shuffled], nudges)
        for phase, again in zip(one, other, strict=True):
            assert np.abs(phase.outputs[shuffled] - again.outputs).max() <= 1e-11

    def test_it_saves_iterations(self, run_ngspice: RunNgspice) -> None:
        """Two kinds of images in turn, or one kind after the other."""
        network, inputs, targets = batch(20)
        inputs = inputs[np.arange(20) % 2] + np.random.default_rng(2).uniform(-0.01, 0.01, (20, 6))

        def taken(order: np.ndarray) -> int:
            asked = [None, (1e-8, 1e-8 * targets[order]), (-1e-8, -1e-8 * targets[order])]
            return iterations(run_ngspice, sweep_netlist(compile_network(network, inputs[order], asked)))

        assert taken(alike(inputs)) < 0.8 * taken(np.arange(20))


def test_all_phases_certified_together_have_each_its_own_nudge_and_residual(ngspice: NgspiceSolver) -> None:
    network, inputs, targets = batch(4)
    nudges = [Nudge(targets, 1e-8), Nudge(targets, -1e-8)]
    phases = ngspice.solve_phases(network, inputs, nudges)
    alone = [ngspice.solve(network, inputs, nudge) for nudge in (None, *nudges)]
    assert [phase.nudge for phase in phases] == [None, *nudges]
    expected = SurrogateSolver().solve_phases(network, inputs, nudges)
    for phase, single, reference in zip(phases, alone, expected, strict=True):
        assert phase.good.all()
        assert phase.residual.shape == (4,)
        assert np.abs(phase.outputs - reference.outputs).max() <= 1e-10
        assert np.abs(phase.outputs - single.outputs).max() <= 1e-11


class TestWhatATrainingLoopAsksEveryTime:
    def test_a_network_in_float64_is_not_copied(self) -> None:
        network = batch()[0]
        assert in_double(network) is network
        assert network.in_spice() is network
        single = network.astype(np.float32)
        assert {values.dtype for values in in_double(single).arrays().values()} == {np.dtype(np.float64)}

    def test_columns_that_a_resistor_drives(self) -> None:
        network = batch()[0]
        network.conductances[0][:, 3] = 0
        crossbar = network.crossbars[0]
        assert crossbar.driven().tolist() == [j != 3 for j in range(8)]
        assert np.array_equal(crossbar.driven(), np.isin(np.arange(8), crossbar.elements()[1]))


@pytest.mark.parametrize("settings", [{}, {"outputs": "pairs"}, {"bias_row": 1.0}], ids=["classes", "pairs", "bias"])
def test_a_circuit_without_its_last_amplifiers_has_the_voltages_of_the_one_with_them(
    ngspice: NgspiceSolver, settings: dict[str, Any]
) -> None:
    layers = [6, 8, 5, 4]
    network = ResistiveNetwork.dense(
        layers, 2, diode=NgspiceDiode(1e-9, rail=0.2), amplifier_gain=[3.0, 7.0], input_gain=5.0, **settings
    )
    network.biases[-1][...] = 1e-8 * np.arange(len(network.biases[-1]))
    random = np.random.default_rng(2)
    inputs, current = random.uniform(-1, 1, (4, 6)), random.uniform(-1e-8, 1e-8, (4, len(network.biases[-1])))
    phases = [None, (1e-8, current), (-1e-9, current)]
    whole = compile_network(network, inputs, phases)
    reduced = without_last_amplifiers(network, inputs, phases)
    texts = [sweep_netlist(each) for each in (whole, reduced)]
    assert [text.count("\ne.") for text in texts] == [13, 8]
    jobs = [ngspice._work.submit(libngspice.sweep, each) for each in (whole, reduced)]
    expected, measured = map(ngspice._work.result, jobs)
    assert np.abs(measured - expected).max() < 1e-11 * np.abs(expected).max()
    assert np.abs(expected[:, -1]).max() > 1e-3


def test_without_gain_there_is_no_amplifier_to_leave_out() -> None:
    network = ResistiveNetwork.dense([3, 4, 2], 0)
    inputs = np.ones((2, 3))
    assert sweep_netlist(without_last_amplifiers(network, inputs, [None])) == sweep_netlist(
        compile_network(network, inputs)
    )


def test_a_guess_is_of_the_voltages_that_a_reduced_circuit_stands_for(ngspice: NgspiceSolver) -> None:
    network, inputs, _ = batch(1)
    reduced = network.reduced_circuit(inputs, [None])
    equilibrium = SurrogateSolver().solve(network, inputs)
    guess = np.concatenate(equilibrium.voltages, axis=1)[0]
    (found,) = ngspice._work.result(ngspice._work.submit(libngspice.sweep, reduced, {}, guess))
    assert np.abs(found - guess).max() < 1e-11
    assert reduced.factors == (1.0,) * 8 + (4.0,) * 3


def test_training_solves_the_reduced_circuit_and_everything_else_the_one_with_amplifiers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, inputs, targets = batch(2)
    asked: list[bool] = []
    submit = Workers.submit

    def kept(self: Workers, function: Any, circuit: Any, *rest: Any) -> Any:
        asked.append(bool(circuit.factors))
        return submit(self, function, circuit, *rest)

    monkeypatch.setattr(Workers, "submit", kept)
    for solver in (solver_of("ngspice"), NgspiceSolver()):
        phases = solver.solve_phases(network, inputs, [Nudge(targets, beta) for beta in (1e-9, -1e-9)])
        solver.close()
        assert all(phase.good.all() for phase in phases)
    assert asked == [True, False]


def test_samples_of_a_hopfield_circuit_keep_their_starts_and_kernels_their_values() -> None:
    pooled = Convolution((1, 6, 6), channels=2, kernel=3, padding=1, pool=2)
    network = HopfieldNetwork.build([pooled, Convolution((2, 3, 3), 2, 2), Dense(8, 3)], 0)
    inputs = np.random.default_rng(0).uniform(0, 1, (4, 36))
    equations = network.equations(inputs)
    start = tuple(np.random.default_rng(1).uniform(0, 1, v.shape) for v in equations.initial())
    some = np.array([2, 0])
    whole = network.circuit(inputs, [equations], start=start).select(some)
    own = network.circuit(inputs[some], [equations.select(some)], start=tuple(v[some] for v in start))
    text = sweep_netlist(whole)
    assert text == sweep_netlist(own)
    assert ".param" not in text  # ngspice needs minutes for thousands of them
    kernel = static_netlist(network.circuit(inputs[:1], form="norton"))
    (name, factor) = re.findall(r"^R2_0_0 .* \{1/\((\S+)\*abs\((\S+)\)\)\}$", kernel, re.MULTILINE)[0][::-1]
    (weight,) = re.findall(rf"^\.param {name}=(\S+)$", kernel, re.MULTILINE)
    (written,) = re.findall(r"^R2_0_0 \S+ \S+ (\S+)$", text, re.MULTILINE)
    assert float(written) == pytest.approx(1 / (float(factor) * abs(float(weight))), rel=1e-15)


def test_some_samples_of_a_circuit_are_the_circuit_of_these_samples() -> None:
    network, inputs, targets = batch(6)
    some = np.array([4, 1, 3])
    for phases in ([None], [None, (1e-8, 1e-8 * targets), (-1e-8, -1e-8 * targets)]):
        chosen = [each and (each[0], each[1][some]) for each in phases]
        whole = compile_network(network, inputs, phases)
        for count in (3, 1):
            first = [each and (each[0], each[1][:count]) for each in chosen]
            made = sweep_netlist(compile_network(network, inputs[some[:count]], first))
            found = sweep_netlist(whole.select(some[:count]))
            assert NUMBER.sub("#", found) == NUMBER.sub("#", made)
            numbers = [np.array([float(each) for each in NUMBER.findall(text)]) for text in (found, made)]
            np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-13)  # a product of matrices rounds by their size


def test_the_free_phase_is_certified_with_the_nudged_ones_as_it_is_alone() -> None:
    network, inputs, targets = batch(5)
    free = network.equations(inputs)
    nudged = free.nudged([Nudge(targets, beta) for beta in (1e-8, -1e-8)], None)
    together = free.with_nudged(nudged)
    nodes = tuple(np.random.default_rng(0).uniform(-0.1, 0.1, (15, size)) for size in network.layers[1:])
    parts = [(free, tuple(v[:5] for v in nodes)), (nudged, tuple(v[5:] for v in nodes))]
    for found, *apart in zip(together.imbalance(nodes), *(each.imbalance(some) for each, some in parts), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(apart))
    whole = together.proof(nodes, together.imbalance(nodes)[1]).quick()
    for k, (each, some) in enumerate(parts):  # the softest phase's bound holds for all
        alone = each.proof(some, each.imbalance(some)[1]).quick()
        assert (whole[5 * k : 5 * k + len(alone)] >= alone * (1 - 1e-12)).all()
        assert (whole[5 * k : 5 * k + len(alone)] <= 1.5 * alone).all()
