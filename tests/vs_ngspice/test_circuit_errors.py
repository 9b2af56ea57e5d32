"""Invalid circuits are refused before they reach ngspice, by an error that names the net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.devices import Clamp
from eqprop_analog.networks.crossbars import Dense
from eqprop_analog.networks.resistive.family import LADDER
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    Amplifiers,
    Conductances,
    Crossbar,
    CurrentSources,
    Diodes,
    Element,
    NudgeSources,
    VoltageSources,
)

INPUTS = np.array([[0.4, -0.7]])
FORMS = ("flat", "norton")
RunNgspice = Callable[[str], Any]


def network() -> ResistiveNetwork:
    net = ResistiveNetwork.dense([2, 4, 3], seed=0, amplifier_gain=2.0)
    for matrix in net.conductances:
        matrix[...] = np.random.default_rng(0).uniform(1e-7, 1e-6, matrix.shape)
    return net


def circuit(*elements: Element) -> Circuit:
    """Any elements as a circuit."""
    return Circuit("by hand", (), (Section("all", elements),), (), {}, ("h1_0",), ("o_0",))


def sources(*nets: str, volts: float = 1.0) -> VoltageSources:
    return VoltageSources(nets, np.full((1, len(nets)), volts))


def currents(*nets: str, amperes: float = 1e-6) -> CurrentSources:
    return CurrentSources("b", nets, np.full((1, len(nets)), amperes))


def crossbar(rows: tuple[str, ...], columns: tuple[str, ...], siemens: float = 1e-6, number: int = 1) -> Crossbar:
    return Crossbar(number, rows, columns, Dense(np.full((len(rows), len(columns)), siemens)))


def diodes(*nets: str) -> Diodes:
    return Diodes("1_", tuple(("rail_p", net) for net in nets), "diode", {})


DRIVEN = (sources("xp_0"), crossbar(("xp_0",), ("h1_0",)))
RAILS = sources("rail_p", "rail_n")


def test_a_small_circuit_made_by_hand_is_accepted() -> None:
    made = circuit(*DRIVEN, RAILS, diodes("h1_0"), Amplifiers(1, ("h1_0",), ("a1_0",), 2.0))
    made.validate()
    judged = {name for name, kind in made.graph().nodes(data="kind") if kind == "net"}
    assert judged == {"0", "xp_0", "h1_0", "a1_0", "rail_p", "rail_n"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param([*DRIVEN, currents("lost")], "net lost: floating, only Ib_0 ", id="floating"),
        pytest.param([*DRIVEN, crossbar(("p",), ("q",), number=2)], "net [pq]: floating, only crossbar_2 ", id="loose"),
        pytest.param(
            [*DRIVEN, crossbar(("p",), ("q",), number=2), currents("p", "q")],
            "net p: no DC path to ground .*q",
            id="island of resistors",
        ),
        pytest.param(
            [*DRIVEN, RAILS, diodes("h1_9"), currents("h1_9")], "net h1_9: no DC path to ground", id="only a diode"
        ),
        pytest.param(
            [*DRIVEN, Amplifiers(1, ("h1_9",), ("a1_9",), 2.0), currents("h1_9")],
            "net h1_9: no DC path",
            id="sensed only",
        ),
        pytest.param([sources("xp_0", "xp_0"), *DRIVEN[1:]], "net xp_0: two ideal voltage sources .* loop", id="loop"),
        pytest.param(
            [*DRIVEN, sources("a1_0"), Amplifiers(1, ("h1_0",), ("a1_0",), 2.0)],
            "net a1_0: two ideal voltage sources .* loop",
            id="source against amplifier",
        ),
        pytest.param(
            [sources("xp_0", volts=np.nan), *DRIVEN[1:]], "net xp_0: source voltage is not finite", id="volts"
        ),
        pytest.param([*DRIVEN, currents("h1_0", amperes=np.inf)], "net h1_0: source current is not finite", id="amps"),
        pytest.param(
            [*DRIVEN, Conductances("n1", ("h1_0",), np.zeros(1))], "net h1_0: no positive conductance", id="no siemens"
        ),
        pytest.param(
            [*DRIVEN, Amplifiers(1, ("h1_0",), ("a1_0",), -1.0)], "net h1_0: amplifier gain -1.0 is not", id="gain"
        ),
        pytest.param(
            [*DRIVEN, NudgeSources((("h1_0", "0"),), np.array([np.nan]), np.zeros((1, 1)))],
            "net h1_0: nudge is not finite",
            id="nudge",
        ),
    ],
)
def test_a_circuit_made_by_hand_is_refused_by_net(wrong: list[Element], named: str) -> None:
    with pytest.raises(UserError, match=named):
        circuit(*wrong).validate()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("layer", "column", "net"), [(0, 2, "h1_2"), (1, 1, "o_1")])
def test_a_column_of_zeros_is_refused_by_net(layer: int, column: int, net: str, form: str) -> None:
    wrong = network()
    wrong.conductances[layer][:, column] = 0
    refused = pytest.raises(UserError, match=f"net {net}: .*column.* all zero")
    with refused:
        compile_network(wrong, INPUTS, form=form)
    with refused:
        compile_network(wrong, INPUTS, [(-1e-9, np.zeros((1, 3)))], form)


@pytest.mark.parametrize("solver", [SurrogateSolver, NgspiceSolver])
def test_both_solvers_refuse_a_column_of_zeros_by_net(solver: type) -> None:
    wrong = network()
    wrong.conductances[0][:, 2] = 0
    with pytest.raises(UserError, match="net h1_2"):
        solver().solve(wrong, INPUTS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beta", [0.0, -1e-9])
@pytest.mark.parametrize(("value", "said"), [(-1e-6, "is negative"), (np.nan, "not finite"), (np.inf, "not finite")])
@pytest.mark.parametrize(("layer", "net"), [(0, "h1_1"), (1, "o_1")])
def test_a_conductance_that_is_none_is_refused_by_net(
    layer: int, net: str, value: float, said: str, beta: float, form: str
) -> None:
    wrong = network()
    wrong.conductances[layer][3, 1] = value
    injection = (beta, np.zeros((1, 3))) if beta else None
    with pytest.raises(UserError, match=f"net {net}: conductance R{layer + 1}_3_1 .*{said}"):
        compile_network(wrong, INPUTS, [injection], form)


@pytest.mark.parametrize("solver", [SurrogateSolver, NgspiceSolver])
@pytest.mark.parametrize("value", [-1e-6, np.nan])
@pytest.mark.parametrize(("layer", "net"), [(0, "h1_1"), (1, "o_1")])
def test_both_solvers_and_a_file_refuse_a_conductance_that_is_none_by_net(
    layer: int, net: str, value: float, solver: type, tmp_path: Path
) -> None:
    wrong = network()
    wrong.conductances[layer][3, 1] = value
    with pytest.raises(UserError, match=net):
        solver().solve(wrong, INPUTS)
    wrong.save(tmp_path / "wrong.npz")
    with pytest.raises(UserError, match=net):
        ResistiveNetwork.load(tmp_path / "wrong.npz")


def chain() -> ResistiveNetwork:
    """Input –1 µS– h –10 µS– out: held by 1·10/11 = 0.909 µS, although 10 µS end at the output (design.md, section 3)."""
    net = ResistiveNetwork.dense([1, 1, 1], seed=0, diode=Clamp(rail=-100.0))
    net.conductances[0][...] = [[1e-6], [0]]
    net.conductances[1][...] = 1e-5
    return net


@pytest.mark.parametrize("beta", [-8e-6, -0.92e-6])
def test_a_nudge_that_makes_the_circuit_indefinite_is_refused_by_net(beta: float, ngspice: NgspiceSolver) -> None:
    x, target = np.array([[1.0]]), np.array([[0.5]])
    refused = pytest.raises(UserError, match=r"indefinite at net o_0: .* only 9.09\de-07 S")
    for form in FORMS:
        with refused:
            compile_network(chain(), x, [(beta, beta * target)], form)
    for solver in (SurrogateSolver(), ngspice):
        with refused:
            solver.solve(chain(), x, Nudge(target, beta))
        with refused:
            solver.solve_phases(chain(), x, [Nudge(target, -beta), Nudge(target, beta)])


def test_a_nudge_up_to_the_edge_of_definiteness_is_solved_by_both(ngspice: NgspiceSolver) -> None:
    x, nudge = np.array([[1.0]]), Nudge(np.array([[1.5]]), -0.9e-6)
    measured, computed = ngspice.solve(chain(), x, nudge), SurrogateSolver().solve(chain(), x, nudge)
    held = 10e-6 / 11
    expected = (held * 1.0 + nudge.beta * 1.5) / (held + nudge.beta)
    for found in (measured, computed):
        assert found.good.all()
        assert found.outputs[0, 0] == pytest.approx(expected, rel=1e-9)
    assert expected < 1.0  # away from the target, as a negative nudge pushes


def test_a_residual_cannot_see_that_a_circuit_is_indefinite(run_ngspice: RunNgspice) -> None:
    text = (
        "* 1-1-1 chain, free output 1 V, nudged by -8 uS from a target of 1.5 V\n"
        "V1 x 0 1\nR1 x h 1e6\nR2 h o 1e5\nVy y 0 1.5\nRnudge y o -1.25e5\n"
        ".control\nset numdgt=15\nop\nprint v(h)\nprint v(o)\nquit 0\n.endc\n.end\n"
    )
    found = run_ngspice(text)
    h, o = found.values["v(h)"], found.values["v(o)"]
    assert abs(1e-6 * (1 - h) + 1e-5 * (o - h)) < 1e-15
    assert abs(1e-5 * (h - o) - 8e-6 * (1.5 - o)) < 1e-15
    assert o > 1.5  # past the target, the wrong way for a negative nudge


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("nudged", [False, True])
def test_the_graph_is_bipartite_and_holds_every_net_of_the_netlist(form: str, nudged: bool) -> None:
    injection = (1e-8, np.full((1, 3), 1e-8)) if nudged else None
    compiled = compile_network(network(), INPUTS, [injection], form)
    graph = compiled.graph()
    kinds = dict(graph.nodes(data="kind"))
    assert set(kinds.values()) == {"net", "device"}
    for one, other in graph.edges:
        assert {kinds[one], kinds[other]} == {"net", "device"}
    for line in (line for element in compiled.elements for line in element.lines()):
        name, *nets = line.split()[:3]
        assert set(nets) <= {net for net, kind in kinds.items() if kind == "net"} or "y_" in line, line
        if name[0] in "IX" and "nudge" not in name:
            assert kinds[name] == "device"
            assert set(graph[name]) == set(nets)
    assert set(compiled.probes) <= set(kinds)


@pytest.mark.parametrize("form", FORMS)
def test_an_unused_input_and_an_unused_hidden_node_are_legal(form: str, ngspice: NgspiceSolver) -> None:
    net = network()
    net.conductances[0][1, :] = 0
    net.conductances[1][3, :] = 0
    compile_network(net, INPUTS, form=form)
    measured = NgspiceSolver.solve(ngspice, net, INPUTS)
    computed = SurrogateSolver().solve(net, INPUTS)
    assert max(np.abs(a - b).max() for a, b in zip(measured.voltages, computed.voltages, strict=True)) < 1e-11


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(UserError, match='expected "flat" or "norton", got "delta"'):
        compile_network(network(), INPUTS, form="delta")  # type: ignore[arg-type]


def test_a_sample_without_a_free_phase_has_no_nudged_one(monkeypatch):
    network, inputs, targets = ResistiveNetwork.dense([4, 6, 2]), np.full((3, 4), 0.5), np.eye(2)[[0, 1, 0]]
    answers = NgspiceSolver._sweep
    free = True

    def without_the_first(solver, rung, samples, circuit):
        nonlocal free
        for chunk, swept in answers(solver, rung, samples, circuit):
            if free and chunk[0] == 0:
                swept[: len(swept) // len(chunk)] = np.nan
            free &= rung is not LADDER[-1]
            yield chunk, swept

    monkeypatch.setattr(NgspiceSolver, "_sweep", without_the_first)
    solver = NgspiceSolver()
    try:
        phases = solver.solve_phases(network, inputs, [Nudge(targets, beta, "current") for beta in (1e-7, -1e-7)])
    finally:
        solver.close()
    assert [phase.good.tolist() for phase in phases] == [[False, True, True]] * 3
