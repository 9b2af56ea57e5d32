"""From a measured diode and measured pulses to chips that learn, confirmed in ngspice, and to a netlist that is read back."""

import json
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from chip_studies import make_chips_in_this_process

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import DiodeWithResistance, Tabulated, law_from
from eqprop_analog.devices.conductance import Window
from eqprop_analog.networks.resistive.chips.mapping import scaling_notes

GASES = Path(__file__).parents[2] / "docs" / "data" / "gases.csv"
PULSES = """\
impedance_scaling = true
[conductance.window]
lowest = 5e-6
highest = 8e-5
[conductance.spread]
factor = 0.1
[conductance.pulses]
law = "soft-bounds"
up = 0.05
down = 0.06
"""
CONVERGED = """\
layers = [4, 6, 4]
amplifier_gain = 4.0
conductance_window = [5e-6, 8e-5]
input_gain = 10.0
kind = "current"
beta = 2e-5
conductance_rates = [2e-10, 5e-10]
bias_rates = [5e-8, 1e-9]
epochs = 2
"""
"""A preset that needs no compiled training."""


def make_law(run: Any, action: str) -> None:
    """mine.toml by ``device ACTION`` from a curve of a known diode."""
    v = np.arange(-0.5, 0.81, 0.02)
    i = -DiodeWithResistance(2e-9, 1.8, 15.0, 0.0).current(-v)
    rows = "".join(f"{1e3 * a!r},{1e6 * b!r}\n" for a, b in zip(v.tolist(), i.tolist(), strict=True))
    Path("iv.csv").write_text("V (mV),I (uA)\n" + rows)
    result = run("device", action, "iv.csv", "--output", "mine.toml")
    assert result.code == 0, result.err


@pytest.mark.parametrize("action", ["table", "fit"])
def test_chips_with_a_measured_diode_learn_are_confirmed_and_written(
    action: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chips_in_this_process(monkeypatch)
    make_law(run, action)
    Path("pulses.toml").write_text(PULSES)
    Path("converged.toml").write_text(CONVERGED)
    data = ("--dataset", GASES, "--target-column", "gas", "--preset", "converged.toml")
    command = ("chips", "--specification", "pulses.toml", *data, "--diode", "mine.toml", "--chips", 1)
    result = run(*command, "--images", 5, "--output", "out", "--json", "f.json")
    assert result.code == 0, result.err
    figures = json.loads(Path("f.json").read_text())
    assert [(row["protocol"], row["met"]) for row in figures["ngspice"]] == [
        (protocol, True) for protocol in ("in-situ", "ex-situ", "fine-tuned")
    ]
    (software,) = figures["software"]
    assert {row["ideal_error"] for row in figures["summary"]} == {software["test_error"]}
    learned = {row["protocol"]: len(row["training_errors"]) for row in figures["chips"]}
    assert learned == {"in-situ": 2, "ex-situ": 0, "fine-tuned": 1}
    assert matplotlib.image.imread(Path("out/chips.png")).std() > 0.01
    given = law_from(figures["study"]["training"]["diode"])
    ideal, chip = (ResistiveNetwork.load(Path("out", name)) for name in ("ideal.npz", "ex-situ.npz"))
    assert ideal.diode == chip.diode == given  # the devices' own window: nothing is scaled
    assert isinstance(given, Tabulated if action == "table" else DiodeWithResistance)
    assert ideal.conductance_window == (5e-6, 8e-5)

    np.save("x.npy", [[0.5, -0.2, 0.3, 0.9]])
    written = ("netlist", "--network", "out/ideal.npz", "--specification", "pulses.toml", "--chip", 0)
    assert run(*written, "--inputs", "x.npy", "--output", "chip.cir").code == 0
    done = subprocess.run(["ngspice", "-b", "chip.cir"], capture_output=True, text=True, check=True)
    outputs = [float(line.split("=")[1]) for line in done.stdout.splitlines() if line.startswith("v(o_")]
    solved = run("simulate", "--network", "chip.cir", "--inputs", "x.npy", "--json", "s.json")
    assert solved.code == 0, solved.err
    free = json.loads(Path("s.json").read_text())["phases"]["free"]
    np.testing.assert_allclose(list(free["voltages"].values())[-1][0], outputs, atol=1e-9)
    assert run("netlist", "--network", "chip.cir", "--output", "again.npz").code == 0
    again = ResistiveNetwork.load("again.npz")
    assert again.diode == given
    for ours, theirs in zip(again.conductances, chip.conductances, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # chips are trained in float32


def test_scaling_a_table_says_what_becomes_of_it() -> None:
    law = Tabulated((-1.0, 0.0, 1.0), (-1e-9, 0.0, 2e-6), 0.3, spice_text=".subckt a b c\n.ends", spice_name="a")
    notes = " ".join(scaling_notes(ResistiveNetwork.dense([2, 3, 2], diode=law), Window(0.0, 5e-5)))
    assert "currents from (-1e-09 ... 2e-06) to (-5e-10 ... 1e-06) A" in notes
    assert "without spice_name" in notes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--study", "imperfections-quick", "--diode", "clamp"), ["--diode", "[training]"]),
        (("--preset", "mnist-100"), ["--preset", "--specification"]),
        (
            ("--specification", "everything", "--dataset", GASES.parent / "springs.csv", "--target-column", "3"),
            ["regression"],
        ),
        (("--specification", "everything", "--diode", "absent.toml"), ["absent.toml"]),
        (("--specification", "everything", "--preset", "hopfield-1h"), ["resistive"]),
        (("--specification", "everything", "--target-error", "7"), ["target_error"]),
    ],
)
def test_what_chips_cannot_be_made_of_is_refused(options: tuple[object, ...], words: list[str], run: Any) -> None:
    result = run("chips", *options, "--output", "out")
    assert result.code == 2
    assert all(word in result.err for word in words), result.err
    assert not Path("out").exists()
