"""LTspice's and Xyce's netlists, which do not run here, read by parsers of other projects: the same elements, the same values.

The subcircuits' own arithmetic is run in ngspice, which reads LTspice's and Xyce's expressions once temperatures are numbers.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySpice.Spice.Parser import SpiceParser
from spicelib import SpiceEditor

from eqprop_analog import HopfieldNetwork, Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.networks.hopfield.netlist import compile_hopfield
from eqprop_analog.networks.resistive.hierarchy import hierarchical_netlist
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import DIALECTS, control
from eqprop_analog.spice.netlist import static_netlist

INPUTS = np.array([[0.3, -0.8, 0.5]])
TARGETS = np.array([[1.0, 0.0]])
BETA = 1e-10
LAWS = (
    NgspiceDiode(),
    Shockley(1e-12, 1.7, 0.3),
    Clamp(0.1, 50.0),
    PiecewiseLinear(),
    Antiparallel(Shockley(rail=-0.1)),
)
Element = tuple[tuple[str, ...], str, dict[str, float]]
"""Nets, value or subcircuit, parameters."""


def network(diode: Law | None = None) -> ResistiveNetwork:
    gains = (4.0, 1.0)
    made = ResistiveNetwork.dense(
        [3, 5, 4, 2], 5, diode=diode, amplifier_gain=gains, bias=1e-8, input_gain=2.0, bias_row=-1.0
    )
    made.conductances[1][2, 0] = 1e-6 / 3
    return made


def circuit(diode: Law | None = None) -> Circuit:
    return compile_network(network(diode), INPUTS, [(BETA, BETA * TARGETS)], "flat")


def elements(net: ResistiveNetwork) -> Iterator[tuple[str, Element]]:
    """Every element of the nudged flat circuit, from the network's own arrays."""
    volts = net.input_gain * INPUTS[0]
    rows = [f"x{sign}_{i}" for sign in "pn" for i in range(3)] + ["xb"]
    drives, nodes = [rows, [f"a1_{j}" for j in range(5)], [f"h2_{j}" for j in range(4)]], ["h1", "h2", "o"]
    for row, volt in zip(rows, [*volts, *-volts, net.bias_row], strict=True):
        yield f"V{row}", ((row, "0"), repr(float(volt)), {})
    for sign, name in ((1, "p"), (-1, "n")):
        yield f"Vrail_{name}", ((f"rail_{name}", "0"), repr(sign * net.diode.rail), {})
    for l, (matrix, bias) in enumerate(zip(net.conductances, net.biases, strict=True)):
        for i, j in np.argwhere(matrix):
            yield f"R{l + 1}_{i}_{j}", ((drives[l][i], f"{nodes[l]}_{j}"), repr(1 / float(matrix[i, j])), {})
        for j, amperes in enumerate(bias):
            yield f"Ib{l + 1}_{j}", (("0", f"{nodes[l]}_{j}"), repr(float(amperes)), {})
    yield from devices(net)
    for k in range(2):
        yield f"Vy_{k}", ((f"y_{k}", "0"), repr(float(TARGETS[0, k])), {})
        yield f"Rnudge_{k}", ((f"y_{k}", f"o_{k}"), repr(1 / BETA), {})


def devices(net: ResistiveNetwork) -> Iterator[tuple[str, Element]]:
    """Its diodes and amplifiers."""
    model, parameters = net.diode.spice
    members = ("p", "n") if isinstance(net.diode, Antiparallel) else ("",)
    for layer, size in ((1, 5), (2, 4)):
        for member, side in zip(members, net.diode_sides(layer), strict=True):
            for j in range(size):
                node = f"h{layer}_{j}"
                pair = ("rail_p", node) if side[j] > 0 else (node, "rail_n")
                yield f"Xd{member}{layer}_{j}", (pair, model, parameters)
    for j in range(5):
        yield f"Xa1_{j}", ((f"h1_{j}", f"a1_{j}"), "amplifier", {"gain": 4.0})


def by_spicelib(path: Path) -> dict[str, Element]:
    """Every element of the main circuit, names in upper case."""
    editor = SpiceEditor(path)
    return {name: _of_spicelib(editor, name) for name in editor.get_components()}


def _of_spicelib(editor: Any, name: str) -> Element:
    value = editor.get_component_value(name)
    own = {key: number for key, number in editor.get_component_parameters(name).items() if key != "Value"}
    return tuple(editor.get_component_nodes(name)), str(value), own if name[0] == "X" else {}


@pytest.mark.parametrize(
    ("dialect", "diode"),
    [
        (name, law)
        for name in DIALECTS
        for law in LAWS
        if name != "gnucap" or not isinstance(law, Clamp | PiecewiseLinear)
    ],
)
def test_spicelib_reads_every_element_and_value(dialect: str, diode: Law, tmp_path: Path) -> None:
    path = tmp_path / "network.cir"
    path.write_text(static_netlist(circuit(diode), dialect=DIALECTS[dialect]))
    read = by_spicelib(path)
    for name in [name for name in read if name == "VPOINT"]:
        del read[name]  # Xyce's sweep
    expected = {name.upper(): element for name, element in elements(network(diode))}
    assert read.keys() == expected.keys()
    for name, (nets, value, parameters) in expected.items():
        assert read[name][0] == nets, name
        assert read[name][2] == parameters, name
        assert read[name][1] == value if name[0] == "X" else float(read[name][1]) == float(value), name
    editor = SpiceEditor(path)
    assert set(editor.get_subcircuit_names()) == {network(diode).diode.spice[0], "amplifier"}
    amplifier = editor.get_subcircuit_named("amplifier")
    assert set(amplifier.get_components()) == {"EFORWARD", "VSENSE", "FBACK"}


@pytest.mark.parametrize("dialect", ["ltspice", "xyce"])
def test_pyspice_reads_every_element_its_nets_and_its_value(dialect: str) -> None:
    parser = SpiceParser(source=static_netlist(circuit(), dialect=DIALECTS[dialect]))
    read = {each.name: each for each in parser.build_circuit().elements if each.name != "Vpoint"}
    expected = dict(elements(network()))
    assert read.keys() == expected.keys()
    for name, (nets, value, _) in expected.items():
        each = read[name]
        assert tuple(map(str, each.node_names)) == nets
        if name[0] in "RVI":  # of an X with parameters PySpice 1.5 loses the subcircuit's name
            assert float(each.resistance if name[0] == "R" else each.dc_value) == float(value)


@pytest.mark.parametrize("dialect", ["ltspice", "xyce"])
def test_both_read_the_subcircuits_and_the_testbench(dialect: str, tmp_path: Path) -> None:
    files = hierarchical_netlist(network(), INPUTS, (BETA, BETA * TARGETS), "device.lib", DIALECTS[dialect])
    (tmp_path / "device.lib").write_text(files.network)
    (tmp_path / "bench.cir").write_text(files.testbench)
    (tmp_path / "device.cir").write_text(files.network + ".end\n")
    expected = {name.upper(): element for name, element in elements(network())}
    device, bench = SpiceEditor(tmp_path / "device.cir"), SpiceEditor(tmp_path / "bench.cir")
    inside = {}
    for part in device.get_components():
        subcircuit = device.get_subcircuit_named(device.get_component_value(part))
        inside |= {name: _of_spicelib(subcircuit, name) for name in subcircuit.get_components()}
    parts = {name: element for name, element in expected.items() if name[0] in "IX" or re.match(r"R\d", name)}
    assert inside.keys() == parts.keys()
    for name, (nets, value, parameters) in parts.items():
        varied = parameters
        if "DIODE" in str(value).upper():
            varied = {key: given for key, given in inside[name][2].items() if f"{{diode_{key}" in given.lower()}
            assert varied.keys() == parameters.keys()
        assert inside[name][::2] == (nets, varied), name
        assert inside[name][1] == value if name[0] == "X" else float(inside[name][1]) == float(value), name
    sources = {name for name in expected if name[0] == "V"}
    assert set(bench.get_components()) == sources | {"VPHASE", "BNUDGE_0", "BNUDGE_1"}
    given = {name: float(bench.get_parameter(name)) for name in bench.get_all_parameter_names()}
    assert given == {
        **{f"X_{i}": x for i, x in enumerate(INPUTS[0])},
        "VOLTS_PER_UNIT": 2.0,
        "BIAS_ROW": -1.0,
        "RAIL": 0.2,
        "DIODE_IS": 1e-9,
        "DIODE_N": 1.0,
        "DIODE_SPREAD": 0.0,
        "BETA": BETA,
        "Y_0": 1.0,
        "Y_1": 0.0,
    }
    read = SpiceParser(source=files.network)
    resistors = sum(len(re.findall("Element R", repr(list(each)))) for each in read.subcircuits)
    assert resistors == sum(np.count_nonzero(matrix) for matrix in network().conductances)


def in_ngspice(text: str, outputs: tuple[str, ...], folder: Path) -> list[float]:
    """A netlist of another dialect as ngspice solves it: its options and analysis are replaced, temp is a number."""
    text = re.sub(r"^\.(options|meas|measure|op|dc|print|end)\b.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\btemp\+", "27+", text, flags=re.IGNORECASE)
    ending = control(["op", *(f"print v({net})" for net in outputs)], outputs[-1])
    options = DIALECTS["ngspice"].options({"reltol": 1e-9, "abstol": 1e-12, "gmin": 1e-12, "itl1": 500}, ())
    (folder / "a.cir").write_text("\n".join([text, *options, *ending, ".end", ""]))
    done = subprocess.run(
        ["ngspice", "-b", "a.cir"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [float(number) for number in re.findall(r"^v\(\w+\) = (\S+)$", done.stdout, re.MULTILINE)]


@pytest.mark.parametrize("dialect", ["ltspice", "xyce"])
@pytest.mark.parametrize("diode", LAWS, ids=repr)
def test_the_dialects_own_subcircuits_are_the_laws(dialect: str, diode: Law, tmp_path: Path) -> None:
    net = network(diode)
    text = static_netlist(circuit(diode), dialect=DIALECTS[dialect])
    computed = SurrogateSolver().solve(net, INPUTS, Nudge(TARGETS, BETA)).outputs[0]
    np.testing.assert_allclose(in_ngspice(text, ("o_0", "o_1"), tmp_path), computed, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dialect", ["ltspice", "xyce"])
@pytest.mark.parametrize("buffer", [HardSigmoid(), Sigmoid()], ids=repr)
def test_a_hopfield_circuit_is_the_same_in_every_dialect(dialect: str, buffer: Any, tmp_path: Path) -> None:
    net = HopfieldNetwork.dense([3, 3, 2], 0, buffer=buffer, initial="fan-in")
    made = compile_hopfield(net, INPUTS, form="flat")
    texts = [static_netlist(made, dialect=DIALECTS[name]) for name in ("ngspice", dialect)]
    one, other = (in_ngspice(text, made.outputs, tmp_path) for text in texts)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_what_a_dialect_cannot_say_is_refused_with_the_reason() -> None:
    hopfield = compile_hopfield(HopfieldNetwork.dense([3, 3, 2], 0), INPUTS)
    for made in (circuit(Clamp()), hopfield):
        with pytest.raises(UserError, match="gnucap has no behavioural sources"):
            static_netlist(made, dialect=DIALECTS["gnucap"])
    with pytest.raises(UserError, match=r"gnucap cannot measure o_0 in two phases"):
        hierarchical_netlist(network(), INPUTS, (BETA, BETA * TARGETS), "a.lib", DIALECTS["gnucap"])


def test_dialects_differ_where_their_manuals_say() -> None:
    files = {
        name: hierarchical_netlist(network(), INPUTS, (BETA, BETA * TARGETS), "a.lib", DIALECTS[name]).testbench
        for name in ("ngspice", "ltspice", "xyce")
    }
    static = {name: static_netlist(circuit(), dialect=each) for name, each in DIALECTS.items()}
    for name, text in static.items():
        assert (".control" in text) == (name == "ngspice")
        assert (".options nonlin" in text) == (name == "xyce")
        # no suffix, which some programs read differently
        assert not re.search(r"^[^*.\n]\S* .*\d[a-zA-Z]+$", text, re.MULTILINE)
        assert text.endswith("\n.end\n")
    assert "I={beta}*V(phase)*(V(y_0)-V(o_0))" in files["ltspice"]
    assert "I={beta*V(phase)*(V(y_0)-V(o_0))}" in files["xyce"]
    assert ".meas dc o_1_nudged FIND V(o_1) AT 1" in files["ltspice"]
    assert ".measure dc o_1_nudged MAX v(o_1) FROM=0.5 TO=1" in files["xyce"]
    assert ".meas dc o_1_nudged find v(o_1) at=1" in files["ngspice"]
    assert ".meas op v_o_0 FIND V(o_0)" in static["ltspice"]
    assert ".print dc precision=15 v(o_0) v(o_1)" in static["xyce"]
    assert ".print op v(o_0) v(o_1)" in static["gnucap"]


def test_gnucap_refuses_a_gmin_that_it_does_not_have() -> None:
    made = circuit(NgspiceDiode(gmin=1e-9))
    with pytest.raises(
        UserError, match="gnucap has no gmin across its junctions, and the network's diodes have 1e-09 S"
    ):
        static_netlist(made, dialect=DIALECTS["gnucap"])
    for name in ("ltspice", "xyce"):
        assert "gmin=1e-09" in static_netlist(made, dialect=DIALECTS[name])
