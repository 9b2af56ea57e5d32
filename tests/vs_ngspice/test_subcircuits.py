"""Subcircuits with their testbench are equivalent to the flat circuit, and the parameters have their effect."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.hierarchy import PINS, hierarchical_netlist

BOUND = 1e-9
"""Volts."""
INPUTS = np.array([[0.3, -0.8, 0.5, 1.0]])
PRINTED = re.compile(r"^(\w+_(?:free|nudged)) = (\S+)$", re.MULTILINE)
PAIRS = {"outputs": "pairs", "bias_row": -2.0}


def run(folder: Path, testbench: str, device: str) -> dict[str, float]:
    """What ngspice prints for the pair of files, by name; it must exit with 0."""
    (folder / "bench.cir").write_text(testbench)
    (folder / "bench.lib").write_text(device)
    done = subprocess.run(
        ["ngspice", "-b", "bench.cir"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: float(number) for name, number in PRINTED.findall(done.stdout)}


def solved(network: ResistiveNetwork, inputs: np.ndarray, nudge: Nudge) -> dict[str, float]:
    """The surrogate's outputs in both phases, under the testbench's names."""
    network = network.in_spice()
    free = SurrogateSolver().solve(network, inputs)
    nudged = SurrogateSolver().solve(network, inputs, nudge, free)
    return {
        f"o_{k}_{phase}": float(v)
        for phase, found in (("free", free), ("nudged", nudged))
        for k, v in enumerate(found.outputs[0])
    }


def require_agreement(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours == pytest.approx(theirs, rel=0, abs=BOUND)
    assert max(abs(ours[f"o_{k}_free"] - ours[f"o_{k}_nudged"]) for k in range(len(ours) // 2)) > 1e-6


def made(diode: Law | None = None, **settings: float | str) -> ResistiveNetwork:
    gains = settings.pop("amplifier_gain", 6.0)
    layers = [4, 6, 5, 4]
    return ResistiveNetwork.dense(
        layers, seed=4, diode=diode, amplifier_gain=gains, input_gain=5.0, bias=1e-8, **settings
    )


@pytest.mark.parametrize(
    "network",
    [
        *(made(), made(amplifier_gain=1.0), made(Shockley(), bias_row=1.5), made(Clamp(0.1, 50.0))),
        *(made(PiecewiseLinear()), made(Antiparallel(NgspiceDiode(1e-12, 1.7, 0.1, 60.0)))),
    ],
    ids=["amplified", "plain", "shockley, bias row", "clamp", "piecewise linear", "antiparallel"],
)
def test_the_testbench_measures_what_the_surrogate_computes_in_both_phases(
    network: ResistiveNetwork, tmp_path: Path
) -> None:
    nudge = Nudge(np.array([[1.0, 0.0, 0.3, -0.2]]), 0.3 * float(np.linalg.eigvalsh(network.output_stiffness())[0]))
    files = hierarchical_netlist(network, INPUTS, nudge.injection(None), "bench.lib")
    require_agreement(run(tmp_path, files.testbench, files.network), solved(network, INPUTS, nudge))


def test_pairs_of_outputs_are_nudged_by_currents(tmp_path: Path) -> None:
    network = made(**PAIRS)
    nudge = Nudge(np.array([[1.0, 0.0]]), 1e-7, "current")
    free = SurrogateSolver().solve(network, INPUTS)
    g, c = nudge.injection(network.readout(free.outputs))
    files = hierarchical_netlist(network, INPUTS, (g, network.along_readout(c)), "bench.lib")
    assert ".param i_3=" in files.testbench
    assert "beta" not in files.testbench
    require_agreement(run(tmp_path, files.testbench, files.network), solved(network, INPUTS, nudge))


def test_changed_parameters_change_the_solution_as_the_surrogate_says(tmp_path: Path) -> None:
    network = made(bias_row=1.0)
    files = hierarchical_netlist(network, INPUTS, (1e-8, np.full((1, 4), 1e-8)), "bench.lib")
    inputs, target, beta = np.array([[-0.4, 0.8, 0.1, 0.0]]), np.array([[0.5, -0.5, 0.0, 1.0]]), 3e-8
    changed = {f"x_{i}": x for i, x in enumerate(inputs[0].tolist())} | {"beta": beta, "bias_row": -0.7, "rail": 0.15}
    changed |= {"diode_is": 3e-12, "diode_n": 1.4}
    changed |= {f"y_{k}": y for k, y in enumerate(target[0].tolist())}
    text = files.testbench
    for name, value in changed.items():
        text, count = re.subn(rf"^\.param {name}=.*$", f".param {name}={value!r}", text, flags=re.MULTILINE)
        assert count == 1, name
    other = ResistiveNetwork(
        network.conductances,
        network.biases,
        NgspiceDiode(3e-12, 1.4, rail=0.15),
        network.amplifier_gain,
        network.input_gain,
        bias_row=-0.7,
    )
    require_agreement(run(tmp_path, text, files.network), solved(other, inputs, Nudge(target, beta)))


def test_a_spread_of_the_diodes_gives_each_a_saturation_current_of_its_own(tmp_path: Path) -> None:
    """Equivalent to numbers for the currents that the header states, diode_is exp(diode_spread z)."""
    network = made()
    files = hierarchical_netlist(network, INPUTS, (1e-8, np.full((1, 4), 1e-8)), "bench.lib")
    spread = 0.7
    text, count = re.subn(
        r"^\.param diode_spread=0.0$", f".param diode_spread={spread}", files.testbench, flags=re.MULTILINE
    )
    assert count == 1
    drawn: list[float] = []

    def number(found: re.Match[str]) -> str:
        drawn.append(float(found[1]))
        return repr(network.diode.spice[1]["is"] * float(np.exp(spread * drawn[-1])))

    literal = re.sub(r"\{diode_is\*exp\((-?[\d.]+)\*diode_spread\)\}", number, files.network)
    assert len(set(drawn)) == len(drawn) == 6 + 5
    varied, expected = run(tmp_path, text, files.network), run(tmp_path, text, literal)
    assert varied == pytest.approx(expected, rel=0, abs=1e-12)
    nominal = run(tmp_path, files.testbench, files.network)
    assert abs(varied["o_0_free"] - nominal["o_0_free"]) > 1e-5


def test_what_has_more_pins_than_a_subcircuit_may_have_is_several(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    network = ResistiveNetwork.dense([520, 510, 3], seed=3, amplifier_gain=4.0, input_gain=2.0, bias=1e-9)
    first, second = network.conductances
    first *= random.random(first.shape) < 0.004
    first[random.integers(len(first), size=510), np.arange(510)] = 1e-7
    second *= random.random(second.shape) < 0.2
    inputs, nudge = random.uniform(-1, 1, (1, 520)), Nudge(np.array([[1.0, 0.0, 0.5]]), 1e-9)
    files = hierarchical_netlist(network, inputs, nudge.injection(None), "bench.lib")
    subcircuits = re.findall(r"^\.subckt (\S+)((?:[^\n]*)(?:\n\+[^\n]*)*)", files.network, re.MULTILINE)
    names = [name for name, _ in subcircuits]
    assert [name for name in names if name.startswith("crossbar_1")] == [
        f"crossbar_1_{a}_{b}" for a in range(2) for b in range(2)
    ]
    assert "crossbar_2" in names
    assert {"layer_1_0", "layer_1_1", "layer_2"} <= set(names)
    assert max(len(pins.replace("+", "").split()) for _, pins in subcircuits) <= PINS
    resistors = re.findall(r"^(R\d+_\d+_\d+) ", files.network, re.MULTILINE)
    assert len(resistors) == len(set(resistors)) == np.count_nonzero(first) + np.count_nonzero(second)
    require_agreement(run(tmp_path, files.testbench, files.network), solved(network, inputs, nudge))


@pytest.mark.parametrize("columns", [2, 3])
def test_ngspice_takes_as_many_pins_as_are_given_to_it(columns: int, tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([501, columns, 1], seed=1)
    for matrix in network.conductances:
        np.add(matrix, 1e-9, out=matrix)
    inputs, nudge = np.random.default_rng(0).uniform(-1, 1, (1, 501)), Nudge(np.array([[1.0]]), 1e-9)
    files = hierarchical_netlist(network, inputs, nudge.injection(None), "bench.lib")
    assert len(re.findall(r"^\.subckt crossbar_1", files.network, re.MULTILINE)) == (1 if 1002 + columns == PINS else 2)
    require_agreement(run(tmp_path, files.testbench, files.network), solved(network, inputs, nudge))


def test_a_testbench_that_cannot_be_solved_does_not_end_with_0(tmp_path: Path) -> None:
    files = hierarchical_netlist(made(), INPUTS, (1e-8, np.zeros((1, 4))), "bench.lib")
    text = files.testbench.replace(".dc Vphase", "Vone o_0 0 1\nVtwo o_0 0 2\n.dc Vphase")
    with pytest.raises(AssertionError):
        run(tmp_path, text, files.network)
