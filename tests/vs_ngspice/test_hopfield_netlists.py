"""A written Hopfield netlist is the whole circuit: names, golden files, buffers, and what plain ngspice finds in it."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySpice.Spice.Parser import SpiceParser

from eqprop_analog import HopfieldNetwork, LeakyIntegratorSolver, Nudge, UserError
from eqprop_analog.cli import main
from eqprop_analog.devices.buffer import Buffer, HardSigmoid, Sigmoid
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import compile_hopfield, default_swing
from eqprop_analog.spice.elements import Conductances
from eqprop_analog.spice.netlist import library, static_netlist

FOLDER = Path(__file__).parents[2] / "netlists"
BOUND = 1e-9
"""Volts."""
BETA = 0.5
RESISTOR = re.compile(r"^(R\S+) (\S+) (\S+) (\S+)$", re.MULTILINE)
INPUTS = np.random.default_rng(0).uniform(0, 1, (1, 3))
TARGETS = np.array([[1.0, 0.0]])
RunNgspice = Callable[[str], Any]


def stored(kind: str) -> HopfieldNetwork:
    return HopfieldNetwork.load(FOLDER / f"hopfield_{kind}.npz")


def solution(kind: str, solver: str, phase: str) -> np.ndarray:
    """States of h1_0, h1_1, h1_2, o_0, o_1, volts."""
    with (FOLDER / "hopfield_solution.csv").open(newline="") as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if (row["network"], row["solver"], float(row["beta"])) == (kind, solver, BETA * (phase == "nudged"))
        )
    return np.array([float(row[name]) for name in row if name.endswith("(V)")])


def resistors(text: str) -> dict[str, tuple[str, str, str]]:
    return {name: (one, other, ohms) for name, one, other, ohms in RESISTOR.findall(text)}


@pytest.mark.parametrize("phase", ["free", "nudged"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_the_stored_network_makes_the_stored_netlist(kind: str, phase: str, tmp_path: Path):
    network, name = FOLDER / f"hopfield_{kind}.npz", f"hopfield_{kind}_{phase}.cir"
    options = ["--network", network, "--phase", phase, "--beta", BETA, "--output", tmp_path / name]
    assert main(["netlist", *map(str, options)]) == 0
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("solver", ["surrogate", "ngspice"])
@pytest.mark.parametrize("phase", ["free", "nudged"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_plain_ngspice_prints_the_stored_solution(kind: str, phase: str, solver: str, run_ngspice: RunNgspice):
    text = (FOLDER / f"hopfield_{kind}_{phase}.cir").read_text()
    nets = ["hp1_0", "hp1_1", "hp1_2", "op_0", "op_1"]
    done = run_ngspice(text.replace("\nop\n", "\nop\n" + "".join(f"print v({net})\n" for net in nets[:3])))
    assert done.code == 0
    assert "warning" not in done.text.lower()
    states = np.array([done.values[f"v({net})"] for net in nets]) / default_swing(stored(kind))
    np.testing.assert_allclose(states, solution(kind, solver, phase), rtol=0, atol=BOUND)


@pytest.mark.parametrize("phase", ["free", "nudged"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_the_stored_solution_fulfils_the_networks_equations(kind: str, phase: str):
    equations = HopfieldEquations.of(stored(kind), INPUTS)
    if phase == "nudged":
        equations = equations.nudged([Nudge(TARGETS, BETA)], None)
    states = tuple(np.split(solution(kind, "ngspice", phase)[None], [3], axis=1))
    assert equations.residual(states) < BOUND


def test_the_page_prints_what_ngspice_prints(run_ngspice: RunNgspice):
    page = (FOLDER / "hopfield.md").read_text()
    shown = re.findall(r"ngspice -b (\w+\.cir) .*v\((op_\d)\) = (\S+?):?(?:\s|$)", page)
    assert len(shown) == 2
    for name, net, volts in shown:
        done = run_ngspice((FOLDER / name).read_text())
        assert done.values[f"v({net})"] == pytest.approx(float(volts), rel=1e-12)


def test_the_pages_table_adds_up_to_kirchhoffs_law():
    page = (FOLDER / "hopfield.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (-?[\d.]+) \|$", page, re.MULTILINE)
    text = (FOLDER / "hopfield_tied_free.cir").read_text()
    states = dict(zip(("h1_0", "h1_1", "h1_2", "o_0", "o_1"), solution("tied", "ngspice", "free"), strict=True))
    K, computed = default_swing(stored("tied")), {}
    for name, (one, other, ohms) in resistors(text).items():
        if "o_0" in (one, other):
            row = one if other == "o_0" else "0"
            volts = {"p": K, "n": -K}.get(row[1:2], 0) * states.get(row.replace("p", "").replace("n", ""), 0)
            computed[name] = 1e9 * (volts - states["o_0"]) / float(ohms)
    computed["Ib2_0"] = 1e9 * float(re.findall(r"^Ib2_0 0 o_0 (\S+)$", text, re.MULTILINE)[0])
    assert {name: float(current) for name, current in rows} == pytest.approx(computed, rel=0, abs=0.5001e-5)
    assert sum(computed.values()) == pytest.approx(0, abs=1e-5)


def test_tied_weights_are_two_equal_conductances_and_untied_ones_are_not():
    for kind in ("tied", "untied"):
        found = resistors((FOLDER / f"hopfield_{kind}_free.cir").read_text())
        pairs = [(found[f"R2_{i}_{j}"], found[f"Rr2_{j}_{i}"]) for i in range(3) for j in range(2)]
        assert [one[2] == other[2] for one, other in pairs] == [kind == "tied"] * 6
        for (_, column, _), (_, back, _) in pairs:
            assert (column[:2], back[:3]) == ("o_", "h1_")


def network() -> HopfieldNetwork:
    net = HopfieldNetwork.dense([3, 4, 3, 2], 5, initial="fan-in", untied=True)
    net.weights[1][2, 1] = 0
    return net


def test_every_weight_is_a_resistor_from_the_output_of_its_sign():
    net = network()
    text = static_netlist(compile_hopfield(net, INPUTS, form="flat", swing=4.0))
    expected = {}
    for l, weights in enumerate(net.weights, start=1):
        source, column = ("x", "h1", "h2")[l - 1], ("h1", "h2", "o")[l - 1]
        for i, j in zip(*np.nonzero(weights), strict=True):
            sign = "p" if weights[i, j] > 0 else "n"
            row = f"{source[0]}{sign}{source[1:]}_{i}"
            expected[f"R{l}_{i}_{j}"] = (row, f"{column}_{j}", 4e6 / abs(weights[i, j]))
    for l, weights in enumerate(net.returning, start=2):
        for j, i in zip(*np.nonzero(weights.T), strict=True):
            sign = "p" if weights[i, j] > 0 else "n"
            row = f"h{sign}2_{j}" if l == 2 else f"o{sign}_{j}"
            expected[f"Rr{l}_{j}_{i}"] = (row, f"h{l - 1}_{i}", 4e6 / abs(weights[i, j]))
    found = {name: found for name, found in resistors(text).items() if not name.startswith("Rl")}
    assert {name: found[:2] for name, found in found.items()} == {name: nets[:2] for name, nets in expected.items()}
    for name, (_, _, ohms) in found.items():
        assert float(ohms) == pytest.approx(expected[name][2], rel=1e-14)


def test_pyspices_own_parser_reads_the_same_circuit():
    net = network()
    pulled = HopfieldEquations.of(net, INPUTS).nudged([Nudge(TARGETS, 0.2)], None)
    text = static_netlist(compile_hopfield(net, INPUTS, pulled, "flat"))
    without_control = re.sub(r"\.control\n.*?\.endc\n", "", text, flags=re.DOTALL)  # which is not in its grammar
    elements = list(SpiceParser(source=without_control).build_circuit().elements)
    nets = {e.name: tuple(map(str, e.node_names)) for e in elements}
    found = resistors(text)
    assert {name: nets[name] for name in nets if name.startswith("R")} == {n: f[:2] for n, f in found.items()}
    assert nets["Xb2_1"] == ("h2_1", "hp2_1", "hn2_1")
    assert nets["Xb3_0"] == ("o_0", "op_0", "on_0")
    assert nets["Ib1_3"] == ("0", "h1_3")
    assert nets["Vxn_2"] == ("xn_2", "0")
    assert nets["Gnudge_1_1"][:2] == ("0", "o_1")
    sources, biases, buffers, nudge = 6, 9, 9, 1 + 2 + 2 + 2
    assert len(elements) == len(found) + sources + biases + buffers + nudge


@pytest.mark.parametrize("form", ["flat", "norton"])
def test_every_net_has_a_path_to_ground_and_without_the_leaks_it_would_still_be_asked_for(form: str):
    net = network()
    for weights in (*net.weights, *net.returning):
        weights[...] = 0  # then only the leaks hold the nodes
    circuit = compile_hopfield(net, INPUTS, form=form)  # type: ignore[arg-type]
    circuit.validate()
    bare = replace(
        circuit,
        sections=tuple(
            replace(section, elements=tuple(e for e in section.elements if not isinstance(e, Conductances)))
            for section in circuit.sections
        ),
    )
    with pytest.raises(UserError, match="net h1_0: no DC path to ground"):
        bare.validate()


@pytest.mark.parametrize("buffer", [HardSigmoid(), HardSigmoid(0.5), Sigmoid(), Sigmoid(3.0)], ids=str)
def test_the_buffers_subcircuit_is_its_law(buffer: Buffer, run_ngspice: RunNgspice):
    volts = np.array([-1e3, -2.0, -0.1, 0.0, 0.3, 0.5, 0.999, 1.0, 1.5, 1e3])
    model, parameters = buffer.spice
    tail = " ".join([model, *(f"{name}={value}" for name, value in parameters.items()), "swing=7"])
    lines = [f"V{k} u{k} 0 {v!r}\nX{k} u{k} p{k} n{k} {tail}" for k, v in enumerate(volts.tolist())]
    prints = [f"print v(p{k})\nprint v(n{k})" for k in range(len(volts))]
    text = ["* buffers", library(model), *lines, ".control\nset numdgt=15\nop", *prints, "quit 0\n.endc\n.end\n"]
    done = run_ngspice("\n".join(text))
    for sign, net in ((7, "p"), (-7, "n")):
        found = [done.values[f"v({net}{k})"] for k in range(len(volts))]
        np.testing.assert_allclose(found, sign * buffer.output(volts), rtol=0, atol=1e-14 * 7)


def test_where_newton_begins_names_the_minimum(run_ngspice: RunNgspice):
    """Two nodes that excite each other: u = 1.5 s - 0.25."""
    biases = (np.array([-0.25]), np.array([-0.25]))
    net = HopfieldNetwork((Dense(1, 1), Dense(1, 1)), (np.zeros((1, 1)), np.array([[1.5]])), biases)
    circuit = compile_hopfield(net, np.zeros((1, 1)))
    for begin, states in ((-0.2, 0.0), (1.2, 1.0)):
        done = run_ngspice(static_netlist(circuit, np.full(2, begin)))
        assert done.values["v(op_0)"] == pytest.approx(default_swing(net) * states, abs=BOUND)


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
def test_kernels_are_parameters_that_every_place_shares(untied: bool, run_ngspice: RunNgspice):
    one = Convolution((1, 4, 4), channels=2, kernel=2)
    two = Convolution(one.pooled, channels=2, kernel=2)
    net = HopfieldNetwork.build([one, two, Dense(8, 2)], 3, initial="fan-in", untied=untied)
    inputs = np.random.default_rng(1).uniform(0, 1, (1, 16))
    text = static_netlist(compile_hopfield(net, inputs, form="flat"))
    expected = [("1", net.weights[0], 9), ("2", net.weights[1], 4 if untied else 8)]
    for prefix, kernel, places in [*expected, *(("r2", kernel, 4) for kernel in net.returning[:1])]:
        for index in np.ndindex(kernel.shape):
            name = f"w{prefix}_{'_'.join(map(str, index))}"
            assert text.count(f"\n.param {name}={float(kernel[index])!r}\n") == 1
            assert len(re.findall(rf"abs\({name}\)", text)) == places
    done = run_ngspice(text)
    states = LeakyIntegratorSolver(step=0.1).solve(net, inputs).outputs[0]
    found = np.array([done.values[f"v(op_{k})"] for k in range(2)]) / default_swing(net)
    np.testing.assert_allclose(found, states, rtol=0, atol=BOUND)


def test_numbers_are_written_as_spice_reads_them():
    net = network()
    free = HopfieldEquations.of(net, INPUTS)
    rest = LeakyIntegratorSolver().solve(net, INPUTS)
    nudges = [
        Nudge(TARGETS, 0.1),
        Nudge(TARGETS, np.float64(0.1), "current"),
        Nudge(TARGETS, 1, "feedback", "cross-entropy"),
    ]
    for form in ("flat", "norton"):
        for equations in (free, *(free.nudged([nudge], rest) for nudge in nudges)):
            text = static_netlist(compile_hopfield(net, INPUTS, equations, form))  # type: ignore[arg-type]
            assert "np." not in text
            assert not re.search(r"\b(nan|inf|None)\b", text)
