"""A second, independent simulator: gnucap solves crossbars of this package, in agreement with the surrogate."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Antiparallel, Law, NgspiceDiode, Shockley
from eqprop_analog.devices.exponential import BOLTZMANN, ELEMENTARY_CHARGE, ZERO_CELSIUS
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.dialects import DIALECTS
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.spice.reading.statements import Statement

pytestmark = pytest.mark.skipif(
    shutil.which("gnucap") is None, reason="gnucap is not installed (Debian: apt install gnucap)"
)

K_OVER_Q = 1.3806226e-23 / 1.6021918e-19
"""V/K: gnucap's constants, those of SPICE2."""
PLAIN, AMPLIFIED = 1e-9, 1e-6
"""Volts: measured 3.8e-10 V and 2.1e-7 V over these circuits."""


def as_in_gnucap(diode: Law) -> Law:
    """The law of gnucap's junction: exponential in both directions, at the temperature with our thermal voltage."""
    if isinstance(diode, Antiparallel):
        return Antiparallel(as_in_gnucap(diode.law))
    assert isinstance(diode, Shockley | NgspiceDiode)
    kelvin = (diode.celsius + ZERO_CELSIUS) * K_OVER_Q / (BOLTZMANN / ELEMENTARY_CHARGE)
    return Shockley(diode.saturation_current, diode.emission, diode.rail, kelvin - ZERO_CELSIUS)


def solved(text: str, nets: tuple[str, ...], folder: Path) -> np.ndarray:
    """Volts of ``nets`` that gnucap prints."""
    outputs = text[text.index(".print op") :].splitlines()[0]
    (folder / "a.cir").write_text(text.replace(outputs, ".print op " + " ".join(f"v({net})" for net in nets)))
    done = subprocess.run(
        ["gnucap", "-b", "a.cir"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert "did not converge" not in done.stdout
    assert "?" not in done.stdout, done.stdout
    words = done.stdout.strip().splitlines()[-1].lower().split()[1:]
    return np.array([Statement("gnucap", 1, "").value(word) for word in words])


@pytest.mark.parametrize("gain", [1.0, 4.0])
@pytest.mark.parametrize(
    "diode",
    [NgspiceDiode(), Shockley(), Shockley(1e-12, 1.7, 0.3, 60.0), Antiparallel(Shockley(rail=-0.1))],
    ids=["SPICE diode", "Shockley", "another Shockley", "antiparallel"],
)
def test_gnucap_finds_the_surrogates_voltages_within_its_constants(diode: Law, gain: float, tmp_path: Path) -> None:
    worst = 0.0
    for seed in range(4):
        network = ResistiveNetwork.dense(
            [4, 6, 3], seed, diode=diode, amplifier_gain=gain, input_gain=10.0, bias=1e-8, bias_row=1.0
        )
        inputs = np.random.default_rng(seed).uniform(-1, 1, (1, 4))
        beta = 0.3 * float(np.linalg.eigvalsh(network.output_stiffness())[0])
        nudge = Nudge(np.array([[1.0, 0.0, 0.5]]), beta) if seed % 2 else None
        made = compile_network(network, inputs, [nudge.injection(None) if nudge else None], "flat")
        found = solved(static_netlist(made, dialect=DIALECTS["gnucap"]), made.probes, tmp_path)
        computed = SurrogateSolver().solve(replace(network, diode=as_in_gnucap(diode)), inputs, nudge)
        worst = max(worst, np.abs(found - np.concatenate(computed.voltages, axis=1)[0]).max())
    assert worst <= (PLAIN if gain == 1 else AMPLIFIED)


def test_the_bound_would_see_ngspices_constants(tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([4, 6, 3], 0, diode=Shockley(), input_gain=10.0)
    inputs = np.random.default_rng(0).uniform(-1, 1, (1, 4))
    made = compile_network(network, inputs, form="flat")
    found = solved(static_netlist(made, dialect=DIALECTS["gnucap"]), made.probes, tmp_path)
    computed = SurrogateSolver().solve(network, inputs)
    assert np.abs(found - np.concatenate(computed.voltages, axis=1)[0]).max() > 100 * PLAIN
