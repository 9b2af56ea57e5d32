"""``eqprop-analog transient`` for a resistive network: waveforms and energy of its circuit over time."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.files import replacing, write_text
from eqprop_analog.networks.resistive.netlist import nodes
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.power import Power
from eqprop_analog.networks.resistive.transient import Phase, Waveforms, settle
from eqprop_analog.networks.resistive.waveforms_plot import waveforms
from eqprop_analog.text import shell_word

Array = np.ndarray


def run(
    arguments: argparse.Namespace,
    network: ResistiveNetwork,
    inputs: Float[Array, "samples inputs"],
    targets: Float[Array, "samples classes"],
) -> None:
    """Simulate, print, write plot, waveforms and netlist."""
    capacitance = arguments.capacitance if len(arguments.capacitance) > 1 else arguments.capacitance[0]
    result = settle(network, inputs, Nudge(targets, options.beta(arguments, network), network.nudge_kind), capacitance)
    console.table(
        f"{'-'.join(map(str, network.layers))} over time: {len(result.time)} steps of ngspice, slowest time constant "
        f"{result.time_constant:.3g} s, nudge of {result.beta[-1]:.3g} S on within {result.rise_time:.3g} s",
        ["figure", "free phase", "nudged phase"],
        [list(row) for row in zip(*([*figures] for figures in _columns(result)), strict=True)],
    )
    folder = arguments.output
    write_text(folder / "transient.cir", result.netlist)
    waveforms(result, folder / "waveforms.png")
    _write_csv(network, result, folder / "waveforms.csv")
    options.report_figures(arguments, _figures(network, result))
    command = f"ngspice -b {shell_word(folder / 'transient.cir')}"
    console.say(f"in {folder}: waveforms.png, waveforms.csv, transient.cir (run it: {command})")


def _columns(result: Waveforms) -> list[list[str]]:
    """Labels, and the values of each phase."""
    phases = [_rows(phase) for phase in (result.free, result.nudged)]
    return [[*phases[0]], *([*phase.values()] for phase in phases)]


def _rows(phase: Phase) -> dict[str, str]:
    energy = phase.energy
    crossbars = {f"dissipated in crossbar {l} (J)": joules for l, joules in enumerate(energy.crossbars.tolist(), 1)}
    numbers = {
        "duration (s)": phase.end - phase.begin,
        "settling time (s)": phase.settling_time,
        "delivered by the input rows (J)": energy.rows,
        "delivered by the bias rails (J)": energy.rails,
        "delivered by the bias currents (J)": energy.biases,
        "delivered by the nudge (J)": energy.nudge,
        "delivered by the amplifiers' supply (J)": energy.amplifiers,
        **crossbars,
        "dissipated in the diodes (J)": energy.diodes,
        "dissipated in the nudge's conductances (J)": energy.nudge_conductances,
        "stored in the capacitors (J)": phase.stored,
        "final power delivered (W)": phase.power.delivered.item(),
    }
    return {label: f"{number:.4g}" for label, number in numbers.items()} | {
        "largest |ΔV| from the operating point (V)": f"{phase.deviation:.1e}",
        "final KCL residual (A)": f"{phase.equilibrium.residual[0]:.1e}",
        "status": phase.equilibrium.status[0].name,
    }


def _figures(network: ResistiveNetwork, result: Waveforms) -> dict[str, Any]:
    return {
        "layers": network.layers,
        "beta": float(result.beta[-1]),
        "time_constant": result.time_constant,
        "rise_time": result.rise_time,
        "steps": len(result.time),
        "phases": {"free": _phase(result.free), "nudged": _phase(result.nudged)},
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "begin": phase.begin,
        "end": phase.end,
        "settling_time": phase.settling_time,
        "energy": _parts(phase.energy),
        "stored_energy": phase.stored,
        "power": _parts(phase.power),
        "voltages": [v[0].tolist() for v in phase.equilibrium.voltages],
        "deviation": phase.deviation,
        "residual": float(phase.equilibrium.residual[0]),
        "status": phase.equilibrium.status[0].name,
    }


def _parts(parts: Power) -> dict[str, Any]:
    return {name: np.squeeze(value).tolist() for name, value in vars(parts).items()}


def _write_csv(network: ResistiveNetwork, result: Waveforms, path: Path) -> None:
    nets = [net for layer in range(1, network.depth + 1) for net in nodes(network, layer)]
    header = ",".join(["time (s)", "beta (S)", *(f"{net} (V)" for net in nets)])
    table = np.column_stack([result.time, result.beta, *result.voltages])
    with replacing(path) as temporary:
        np.savetxt(temporary, table, fmt="%.12g", delimiter=",", header=header, comments="")
