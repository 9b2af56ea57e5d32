"""The text of netlists: readable and correct names, one line per resistor, and agreement with another reader."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from PySpice.Spice.Parser import SpiceParser

from eqprop_analog import ResistiveNetwork
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.netlist import static_netlist, sweep_netlist

RESISTOR = re.compile(r"^(R\S+) (\S+) (\S+) (\S+)$", re.MULTILINE)
Resistor = tuple[str, str, float]


def resistors(text: str) -> dict[str, Resistor]:
    """Nets and ohms of every resistor by its name; every name occurs once."""
    found = RESISTOR.findall(text)
    assert len({name for name, *_ in found}) == len(found)
    return {name: (one, other, float(ohms)) for name, one, other, ohms in found}


@pytest.fixture(scope="module")
def large() -> ResistiveNetwork:
    net = ResistiveNetwork.dense([784, 100, 10], seed=0, amplifier_gain=10.0)
    net.conductances[0][784, 12] = 0.25e-6
    net.conductances[0][783, 12] = 0.5e-6
    net.conductances[1][99, 3] = 2e-6
    return net


@pytest.fixture(scope="module")
def large_text(large: ResistiveNetwork) -> str:
    return static_netlist(compile_network(large, np.linspace(0, 1, 784)[None], form="flat"))


def test_the_first_crossbars_resistors_are_named_by_row_and_column(large_text: str) -> None:
    found = resistors(large_text)
    assert found["R1_784_12"] == ("xn_0", "h1_12", 4e6)
    assert found["R1_783_12"] == ("xp_783", "h1_12", 2e6)
    assert found["R2_99_3"] == ("a1_99", "o_3", 5e5)


def test_there_is_one_resistor_for_every_conductance_above_zero(large: ResistiveNetwork, large_text: str) -> None:
    found = resistors(large_text)
    assert len(found) == sum(np.count_nonzero(matrix) for matrix in large.conductances)
    for number, matrix in enumerate(large.conductances, start=1):
        rebuilt = np.zeros_like(matrix)
        for name, (_, _, ohms) in found.items():
            crossbar, row, column = map(int, name[1:].split("_"))
            if crossbar == number:
                rebuilt[row, column] = 1 / ohms
        np.testing.assert_allclose(rebuilt, matrix, rtol=1e-15, atol=0)


def test_every_layer_has_its_nets(large_text: str) -> None:
    words = set(large_text.split())
    assert {f"h1_{j}" for j in range(100)} | {f"a1_{j}" for j in range(100)} | {f"o_{k}" for k in range(10)} <= words
    assert {f"x{sign}_{i}" for sign in "pn" for i in range(784)} <= words
    assert not {"h1_100", "o_10", "xp_784", "h2_0"} & words


def test_rows_are_driven_at_plus_and_minus_x(large_text: str) -> None:
    volts = dict(re.findall(r"^(Vx\S+) \S+ 0 (\S+)$", large_text, re.MULTILINE))
    assert float(volts["Vxp_783"]) == 1.0
    assert float(volts["Vxn_783"]) == -1.0
    assert float(volts["Vxp_0"]) == float(volts["Vxn_0"]) == 0.0


def small() -> tuple[ResistiveNetwork, np.ndarray]:
    net = ResistiveNetwork.dense([3, 5, 4, 2], seed=5, amplifier_gain=(3.0, 1.0), bias=1e-8)
    net.conductances[1][...] = np.maximum(net.conductances[1], 1e-8)
    net.conductances[1][2, :] = 0
    return net, np.array([[0.5, -1.0, 0.25]])


def wiring(net: ResistiveNetwork) -> Iterator[tuple[str, Resistor]]:
    """Every resistor with its name: crossbar, drive row, column."""
    rows = [
        [f"xp_{i}" for i in range(3)] + [f"xn_{i}" for i in range(3)],
        [f"a1_{j}" for j in range(5)],
        [f"h2_{j}" for j in range(4)],  # a gain of 1 is no amplifier
    ]
    columns = ["h1", "h2", "o"]
    for l, matrix in enumerate(net.conductances):
        for i, j in zip(*np.nonzero(matrix), strict=True):
            yield f"R{l + 1}_{i}_{j}", (rows[l][i], f"{columns[l]}_{j}", 1 / float(matrix[i, j]))


def test_every_resistor_joins_its_drive_row_to_its_column() -> None:
    net, inputs = small()
    assert resistors(static_netlist(compile_network(net, inputs, form="flat"))) == dict(wiring(net))


def test_pyspices_own_parser_reads_the_same_resistors_sources_and_devices() -> None:
    net, inputs = small()
    text = static_netlist(compile_network(net, inputs, form="flat"))
    without_control = re.sub(r"\.control\n.*?\.endc\n", "", text, flags=re.DOTALL)  # which is not in its grammar
    elements = list(SpiceParser(source=without_control).build_circuit().elements)
    read = {e.name: (*map(str, e.node_names), float(e.resistance)) for e in elements if e.name.startswith("R")}
    assert read == dict(wiring(net))
    nets = {e.name: tuple(map(str, e.node_names)) for e in elements}
    assert nets["Vxn_2"] == ("xn_2", "0")
    assert nets["Ib1_4"] == ("0", "h1_4")
    assert nets["Xd1_0"] == ("rail_p", "h1_0")  # excitatory: from the upper rail into the node
    assert nets["Xd2_3"] == ("h2_3", "rail_n")  # inhibitory: from the node into the lower rail
    assert nets["Xa1_4"] == ("h1_4", "a1_4")
    assert len(elements) == len(read) + 6 + 2 + (5 + 4 + 2) + (5 + 4) + 5


def test_the_sweep_says_the_same_circuit_as_the_static_file() -> None:
    net, inputs = small()
    static = static_netlist(compile_network(net, inputs, form="flat"))
    sweep = sweep_netlist(compile_network(net, np.repeat(inputs, 3, axis=0), form="flat"))
    assert resistors(static) == resistors(sweep)
    assert ".dc Vpoint 0 2 1" in sweep
    assert "pwl" not in sweep  # three times the same sample


def test_numbers_are_written_as_spice_reads_them() -> None:
    net, inputs = small()
    for injection in (None, (np.float64(1e-8), np.full((1, 2), 1e-9))):
        for form in ("flat", "norton"):
            text = static_netlist(compile_network(net, inputs, [injection], form))
            assert "np." not in text
            assert not re.search(r"\b(nan|inf|None)\b", text)
