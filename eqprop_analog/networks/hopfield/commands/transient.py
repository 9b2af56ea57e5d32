"""``eqprop-analog transient`` for a Hopfield network: compares the circuit over time with its integrated equations."""

import argparse
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.files import replacing, write_text
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.pools import nets
from eqprop_analog.networks.hopfield.transient import HopfieldWaveforms, settle_hopfield
from eqprop_analog.networks.hopfield.waveforms_plot import relaxation
from eqprop_analog.text import shell_word

Array = np.ndarray


def run(
    arguments: argparse.Namespace,
    network: HopfieldNetwork,
    inputs: Float[Array, "samples inputs"],
    targets: Float[Array, "samples classes"],
) -> None:
    """Simulate and integrate; print, and write plot, waveforms and netlist."""
    if len(arguments.capacitance) != 1:
        raise UserError(
            "--capacitance: expected one value, because all nodes of a Hopfield network have the same capacitance, "
            f"got {len(arguments.capacitance)}"
        )
    nudge = Nudge(targets, options.beta(arguments, network))
    result = settle_hopfield(network, inputs, nudge, arguments.capacitance[0])
    layers = range(1, network.depth + 1)
    console.table(
        f"{'-'.join(map(str, network.layers))} over time: {len(result.time)} steps of ngspice, nudge of {nudge.beta:.3g} from "
        f"{result.switch:.3g} s",
        ["figure", "free phase", "nudged phase"],
        [
            ["slowest time constant (s)", *(f"{seconds:.3g}" for seconds in result.time_constants)],
            *([f"half of the response of layer {l} after (s)", "", f"{result.arrivals[l - 1]:.3g}"] for l in layers),
            ["final KCL residual (V)", *(f"{phase.residual[0]:.1e}" for phase in (result.free, result.nudged))],
            ["status", *(phase.status[0].name for phase in (result.free, result.nudged))],
        ],
    )
    console.say(f"largest |u(ngspice) - u(integrated)| over all nodes and moments: {result.deviation:.1e} V")
    folder = arguments.output
    write_text(folder / "transient.cir", result.netlist)
    relaxation(result, folder / "waveforms.png")
    _write_csv(network, result, folder / "waveforms.csv")
    options.report_figures(arguments, _figures(network, result, nudge))
    command = f"ngspice -b {shell_word(folder / 'transient.cir')}"
    console.say(f"in {folder}: waveforms.png, waveforms.csv, transient.cir (run it: {command})")


def _figures(network: HopfieldNetwork, result: HopfieldWaveforms, nudge: Nudge) -> dict[str, Any]:
    phases = {"free": result.free, "nudged": result.nudged}
    return {
        "layers": network.layers,
        "beta": nudge.beta,
        "steps": len(result.time),
        "switch": result.switch,
        "rise_time": result.rise_time,
        "end": float(result.time[-1]),
        "time_constants": dict(zip(phases, result.time_constants, strict=True)),
        "arrivals": [float(seconds) if np.isfinite(seconds) else None for seconds in result.arrivals],
        "deviation": result.deviation,
        "phases": {
            name: {
                "states": [s[0].tolist() for s in phase.voltages],
                "residual": float(phase.residual[0]),
                "status": phase.status[0].name,
            }
            for name, phase in phases.items()
        },
    }


def _write_csv(network: HopfieldNetwork, result: HopfieldWaveforms, path: Any) -> None:
    names = [net for layer in range(1, network.depth + 1) for net in nets(network, layer)]
    header = ",".join(["time (s)", *(f"{net} (V)" for net in names), *(f"{net} integrated (V)" for net in names)])
    table = np.column_stack([result.time, *result.nodes, *result.integrated])
    with replacing(path) as temporary:
        np.savetxt(temporary, table, fmt="%.12g", delimiter=",", header=header, comments="")
