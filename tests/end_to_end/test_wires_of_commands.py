"""Wires, links and nonlinear cells as options of commands and keys of specifications, against the circuit built in Python."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.devices.cells import CubicCell, SinhCell
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.whole_chip.network import WholeChip
from eqprop_analog.networks.whole_chip.newton import WholeChipNewtonSolver

AGREE = 1e-9
"""Volts."""
SHAPE = ("--layers", 3, 4, 2, "--seed", 1)
WIRED = ("--wire-resistance", "20kohm", "--tile", 3, 2, "--link-resistance", "5kohm")
INPUTS = ("--inputs", "0.3,-0.2,0.9")


def chip(cell: object = None) -> WholeChip:
    """The network that SHAPE and WIRED describe."""
    return WholeChip(
        ResistiveNetwork.dense([3, 4, 2], 1), wire_resistance=2e4, tile=(3, 2), link_resistance=5e3, cell=cell
    )


@pytest.mark.parametrize(("words", "cell"), [((), None), (("--cell", "sinh", "scale=50mV"), SinhCell(0.05))])
def test_a_netlist_is_the_circuit_with_its_wires_and_cells(run, words, cell):
    assert run("netlist", *SHAPE, *WIRED, *words, *INPUTS, "--output", "chip.cir").code == 0
    done = subprocess.run(["ngspice", "-b", "chip.cir"], capture_output=True, text=True, check=True, timeout=60)
    printed = dict(re.findall(r"^v\((o_\d)\) = (\S+)$", done.stdout, re.MULTILINE))
    expected = WholeChipNewtonSolver().solve(chip(cell), [[0.3, -0.2, 0.9]]).require().outputs[0]
    np.testing.assert_allclose([float(printed[f"o_{k}"]) for k in range(2)], expected, rtol=0, atol=AGREE)
    ideal = NonidealNewtonSolver().solve(NonidealNetwork(chip().ideal), [[0.3, -0.2, 0.9]]).outputs[0]
    assert np.abs(ideal - expected).max() > 1e-4


def test_simulate_and_verify_solve_nonlinear_cells_without_wires(run):
    ResistiveNetwork.dense([3, 4, 2], 1).save("net.npz")
    cells = ("--cell", "cubic", "scale=0.2")
    assert run("simulate", *SHAPE, *cells, *INPUTS, "--targets", "1,0", "--json", "out.json").code == 0
    solved = json.loads(Path("out.json").read_text())
    expected = WholeChipNewtonSolver().solve(WholeChip(chip().ideal, cell=CubicCell(0.2)), [[0.3, -0.2, 0.9]])
    np.testing.assert_allclose(solved["phases"]["free"]["voltages"]["o"], expected.outputs, rtol=0, atol=AGREE)
    assert run("verify", "net.npz", *cells, *INPUTS, "--targets", "1,0", "--json", "verified.json").code == 0
    (agreement,) = json.loads(Path("verified.json").read_text())["agreement"]
    assert (agreement["form"], agreement["met"]) == ("flat", True)
    assert agreement["largest_difference"] == pytest.approx(solved["agreement"]["largest_difference"], abs=1e-11)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--cell", "sin"), ("sinh", "linear")),
        (("--cell", "sinh"), ("scale",)),
        (("--cell", "sinh", "scale=5ohm"), ("scale", "volts")),
        (("--cell", "sinh", "0.5"), ("--cell", "NAME=VALUE")),
        (("--cell", "linear", "scale=1"), ("scale",)),
        (("--link-resistance", 3), ("link_resistance", "wire_resistance")),
        (("--tile", 4, 4), ("--tile", "--wire-resistance")),
        (("--wire-resistance", "-2ohm"), ("wire_resistance", "-2")),
        (("--wire-resistance", "2S"), ("ohm",)),
        (("--wire-resistance", 2, "--form", "norton"), ("flat",)),
        (("--wire-resistance", 2, "--specification", "everything"), ("--wire-resistance", "--specification")),
        (("--model", "hopfield", "--cell", "linear"), ("--cell", "resistive", "hopfield")),
    ],
)
def test_what_does_not_go_together_is_refused(run, words, named):
    result = run("netlist", *SHAPE, *words, "--output", "x.cir")
    assert result.code == 2
    assert all(each in result.err for each in named), result.err
    assert not Path("x.cir").exists()


def test_a_specification_states_links_and_cells_and_its_chips_have_them(run):
    text = (
        '[cell]\nlaw = "sinh"\nscale = "80mV"\n[wires]\nresistance = "1kohm"\ntile = [3, 2]\nlink_resistance = 300.0\n'
    )
    Path("mine.toml").write_text(text)
    words = (*SHAPE, "--specification", "mine.toml", *INPUTS, "--output", "chip.cir")
    assert run("netlist", *words).code == 0
    done = subprocess.run(["ngspice", "-b", "chip.cir"], capture_output=True, text=True, check=True, timeout=60)
    printed = dict(re.findall(r"^v\((o_\d)\) = (\S+)$", done.stdout, re.MULTILINE))
    network = ResistiveNetwork.dense([3, 4, 2], 1)
    drawn = Chip.drawn(Specification.load("mine.toml"), network, 1)
    drawn.program(network)
    circuit = drawn.circuit()
    assert isinstance(circuit, WholeChip)
    assert (circuit.cell, circuit.link_resistance, circuit.wire_resistance) == (SinhCell(0.08), 300.0, 1e3)
    expected = drawn.solver().solve(circuit, [[0.3, -0.2, 0.9]]).require().outputs[0]
    np.testing.assert_allclose([float(printed[f"o_{k}"]) for k in range(2)], expected, rtol=0, atol=AGREE)
    assert "scale" in run("specifications", "--keys").out


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"cell": {"law": "sinh"}}, "scale"),
        ({"cell": {"law": "quartic", "scale": 1.0}}, "quartic"),
        ({"cell": {"law": "sinh", "scale": "1A"}}, "volts"),
        ({"wires": {"link_resistance": 2.0}}, "resistance above 0"),
        ({"wires": {"resistance": 1.0, "link_resistance": -2.0}}, "link_resistance"),
    ],
)
def test_a_specification_of_other_cells_and_links_is_refused(table, named):
    with pytest.raises(UserError, match=named):
        Specification.of(table)
