"""A written netlist is the whole circuit: plain ``ngspice -b FILE`` finds in it what the surrogate computed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Clamp, Law, NgspiceDiode
from eqprop_analog.networks.resistive.netlist import Form, compile_network
from eqprop_analog.spice.netlist import static_netlist

BOUND = 1e-9
"""Volts."""
INPUTS = np.array([[0.3, -0.8, 0.5, 1.0]])
TARGETS = np.array([[1.0, 0.0, 0.3]])
RunNgspice = Callable[[str], Any]


def network(diode: Law | None = None, gain: float = 6.0) -> ResistiveNetwork:
    return ResistiveNetwork.dense([4, 6, 5, 3], seed=4, diode=diode, amplifier_gain=gain, input_gain=5.0, bias=1e-8)


def beta(network: ResistiveNetwork, phase: str) -> float:
    signs = {"free": 0, "plus": 1, "minus": -1}
    return float(signs[phase] * 0.3 * np.linalg.eigvalsh(network.output_stiffness())[0])


@pytest.mark.parametrize("form", ["flat", "norton"])
@pytest.mark.parametrize("phase", ["free", "plus", "minus"])
@pytest.mark.parametrize(
    "net",
    [network(), network(gain=1.0), network(NgspiceDiode(1e-12, 1.7, 0.5, -10.0)), network(Clamp(0.1, 200.0))],
    ids=["amplified", "plain", "cold", "clamp"],
)
def test_plain_ngspice_prints_the_surrogates_outputs(
    net: ResistiveNetwork, phase: str, form: Form, run_ngspice: RunNgspice
) -> None:
    g = beta(net, phase)
    injection, nudge = ((g, g * TARGETS), Nudge(TARGETS, g)) if g else (None, None)
    done = run_ngspice(static_netlist(compile_network(net, INPUTS, [injection], form)))
    assert done.code == 0
    assert "warning" not in done.text.lower()
    assert list(done.values) == ["v(o_0)", "v(o_1)", "v(o_2)"]
    computed = SurrogateSolver().solve(net, INPUTS, nudge).outputs[0]
    np.testing.assert_allclose(list(done.values.values()), computed, rtol=0, atol=BOUND)


def test_outputs_are_printed_to_15_digits(run_ngspice: RunNgspice) -> None:
    done = run_ngspice(static_netlist(compile_network(network(), INPUTS, form="flat")))
    printed = [line.split(" = ")[1] for line in done.text.splitlines() if line.startswith("v(o_")]
    assert len(printed) == 3
    for text in printed:
        assert len(text.split("e")[0].lstrip("-").replace(".", "")) >= 15


@pytest.mark.parametrize("seed", [22, 84, 147, 281])
def test_plain_ngspice_finds_ideal_clamps_where_they_are(seed: int, run_ngspice: RunNgspice) -> None:
    # 1 µΩ carries the rounding of a node's voltage as a current of nA: with an abstol below that, Newton's iteration does not
    # end, and the stepping that ngspice then tries leaves its gmin behind.
    random = np.random.default_rng(seed)
    net = ResistiveNetwork.dense(
        [20, 6, 12, 9], seed, diode=Clamp(-0.2), amplifier_gain=12.0, input_gain=10.0, bias=1e-6
    )
    for matrix in net.conductances:
        matrix[...] = 10 ** random.uniform(-8, -4, matrix.shape)
    inputs = random.uniform(-1, 1, (1, 20))
    done = run_ngspice(static_netlist(compile_network(net, inputs)))
    assert done.code == 0
    computed = SurrogateSolver().solve(net.in_spice(), inputs)
    scale = max(1.0, *(float(np.abs(v).max()) for v in computed.voltages))
    np.testing.assert_allclose(list(done.values.values()), computed.outputs[0], rtol=0, atol=BOUND * scale)


def test_a_current_nudge_is_written_as_a_current_source(run_ngspice: RunNgspice) -> None:
    net = network()
    free = SurrogateSolver().solve(net, INPUTS)
    nudge = Nudge(TARGETS, 2e-8, "current")
    text = static_netlist(compile_network(net, INPUTS, [nudge.injection(free.outputs)], "flat"))
    assert "Inudge_2 0 o_2 " in text
    done = run_ngspice(text)
    assert done.code == 0
    computed = SurrogateSolver().solve(net, INPUTS, nudge, start=free).outputs[0]
    np.testing.assert_allclose(list(done.values.values()), computed, rtol=0, atol=BOUND)


def test_extreme_but_legal_values_survive_the_text(run_ngspice: RunNgspice) -> None:
    net = ResistiveNetwork.dense([2, 2, 1], seed=0)
    net.conductances[0][...] = [[1e-15, 1e-3], [1e-6, 0], [1 / 3e6, 1e-12], [0, 1e-9]]
    net.conductances[1][...] = [[1e-7], [123.456e-9]]
    inputs = np.array([[1e-7, 1e3]])
    done = run_ngspice(static_netlist(compile_network(net, inputs, form="flat")))
    computed = SurrogateSolver().solve(net, inputs).outputs[0]
    np.testing.assert_allclose(list(done.values.values()), computed, rtol=1e-9, atol=0)


def test_a_written_file_carries_its_subcircuits_and_says_what_it_is() -> None:
    text = static_netlist(compile_network(network(), INPUTS, form="flat"))
    title, *rest = text.splitlines()
    assert "4-6-5-3" in title
    assert "flat" in title
    assert ".include" not in text
    assert text.count(".subckt diode ") == text.count(".subckt amplifier ") == 1
    assert rest[-1] == ".end"


def test_a_file_whose_circuit_ngspice_cannot_solve_does_not_end_with_0(run_ngspice: RunNgspice) -> None:
    text = static_netlist(compile_network(network(), INPUTS, form="flat"))
    unsolvable = text.replace(".control", "Vone o_0 0 1\nVtwo o_0 0 2\n\n.control")
    assert run_ngspice(unsolvable).code != 0
