"""``eqprop-analog energy`` for a resistive network: power of every part, settling times, and the resulting energy."""

import argparse
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options
from eqprop_analog.cli.energy import LARGEST
from eqprop_analog.errors import NotMetError
from eqprop_analog.files import require_writable, write_csv
from eqprop_analog.networks.resistive import power_plot as drawing
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.power import Power
from eqprop_analog.networks.resistive.power_report import NOT_COUNTED, PHASES, EnergyReport, PhaseCost, energy_report
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray
BOUND = 1e-9
"""Bound on the relative difference of delivered and dissipated power, and of every part in ngspice and the surrogate."""


def run(
    arguments: argparse.Namespace,
    network: ResistiveNetwork,
    inputs: Float[Array, "samples inputs"],
    targets: Float[Array, "samples classes"],
) -> None:
    """Compute, measure, print, write figures, table and plot."""
    folder = arguments.output
    require_writable(folder / "energy.json")
    beta = options.beta(arguments, network)
    resistors = network.resistors_in_circuit
    points = len(PHASES) * len(inputs)
    measure = resistors * points <= LARGEST if arguments.ngspice is None else arguments.ngspice
    report = energy_report(
        network,
        inputs,
        targets,
        beta,
        arguments.capacitance,
        arguments.fraction,
        ngspice=measure,
        time_limit=TIME_LIMIT if arguments.time_limit is None else arguments.time_limit,
    )
    _show_powers(report, "-".join(map(str, network.layers)))
    if measure:
        _show_measured(report, resistors)
    _show_energies(report)
    if not measure:
        advice = (
            "" if arguments.ngspice is False else "; use --ngspice to measure anyway, or --samples N for fewer images"
        )
        console.say(f"not measured in ngspice: {resistors:,} resistors x {points} operating points{advice}")
    console.say(f"not counted: {NOT_COUNTED}")
    figures = _figures(report, network, resistors)
    write_csv(folder / "power.csv", _table(report))
    drawing.power_by_part(report, folder / "power.png")
    options.report_figures(arguments, figures, folder / "energy.json")
    console.say(f"in {folder}: energy.json, power.csv, power.png")
    if not figures["met"]:
        raise NotMetError(
            f"delivered and dissipated power, or ngspice and the surrogate, differ by more than {BOUND:g}"
        )


def _show_powers(report: EnergyReport, layers: str) -> None:
    powers = [phase.power for phase in report.phases]
    console.table(
        f"{layers}, β = {report.beta:.3g} S: power at the equilibrium in the surrogate, mean of {len(report.stored)} samples",
        ["W", "free", "+β", "-β"],
        _rows("from", [power.sources for power in powers]),
        [["delivered", *(f"{power.delivered.mean():.4g}" for power in powers)]],
        _rows("in", [power.sinks for power in powers]),
        [["dissipated", *(f"{power.dissipated.mean():.4g}" for power in powers)]],
        [["heat, with a negative conductance counted as a supply", *(f"{power.heat.mean():.4g}" for power in powers)]],
        [["largest |delivered - dissipated|, relative", *(f"{power.imbalance.max():.1e}" for power in powers)]],
    )


def _rows(side: str, phases: list[dict[str, np.ndarray]]) -> list[list[str]]:
    return [[f"{side} {part}", *(f"{phase[part].mean():.4g}" for phase in phases)] for part in phases[0]]


def _show_measured(report: EnergyReport, resistors: int) -> None:
    found = [phase.measured for phase in report.phases if phase.measured]
    differences = [each.differences for each in found]
    worst = max(report.imbalance, report.difference or 0.0)
    console.table(
        f"ngspice, v·i of every device, {resistors:,} resistors: largest relative difference from the power in the surrogate",
        ["", "free", "+β", "-β"],
        [[part, *(f"{each[part].max():.1e}" for each in differences)] for part in differences[0]],
        [["largest |delivered - dissipated|, relative", *(f"{each.power.imbalance.max():.1e}" for each in found)]],
        [[f"required: at most {BOUND:g}", "", "", "met" if worst <= BOUND else "NOT MET"]],
    )


def _show_energies(report: EnergyReport) -> None:
    phases, percent = report.phases, f"{100 * report.fraction:g} %"
    farads = ", ".join(f"{c:g}" for c in dict.fromkeys(report.capacitance))
    console.table(
        f"{farads} F at every node: time to settle within {percent} of the change, and energy; mean over the samples",
        ["", "free", "+β", "-β"],
        [
            ["slowest time constant (s)", *(f"{phase.time_constant.mean():.4g}" for phase in phases)],
            ["settling time (s)", *(f"{phase.settling_time.mean():.4g}" for phase in phases)],
            ["upper bound for any state of the diodes (s)", *(f"{phase.longest:.4g}" for phase in phases)],
            ["energy (J)", *(f"{phase.energy.mean():.4g}" for phase in phases)],
        ],
        [
            ["inference: the free phase (J)", f"{report.inference.mean():.4g}", "", ""],
            ["training sample: all three phases (J)", f"{report.training.mean():.4g}", "", ""],
            ["stored in the capacitances, not counted (J)", f"{report.stored.mean():.4g}", "", ""],
        ],
    )


def _figures(report: EnergyReport, network: ResistiveNetwork, resistors: int) -> dict[str, Any]:
    return {
        "units": {"power": "W", "time": "s", "energy": "J", "capacitance": "F", "beta": "S"},
        "layers": network.layers,
        "resistors": resistors,
        "samples": len(report.stored),
        "beta": report.beta,
        "capacitance": report.capacitance,
        "settled_fraction": report.fraction,
        "phases": {name: _phase(phase) for name, phase in zip(PHASES, report.phases, strict=True)},
        "energy_per_inference": _summary(report.inference),
        "energy_per_training_sample": _summary(report.training),
        "stored_in_capacitances": _summary(report.stored),
        "largest_imbalance": report.imbalance,
        "largest_difference_from_ngspice": report.difference,
        "bound": BOUND,
        "met": max(report.imbalance, report.difference or 0.0) <= BOUND,
        "not_counted": NOT_COUNTED,
    }


def _phase(phase: PhaseCost) -> dict[str, Any]:
    figures = {
        "status": phase.equilibrium.status[0].name,
        "surrogate": _power(phase.power),
        "time_constant": _summary(phase.time_constant),
        "settling_time": _summary(phase.settling_time),
        "settling_time_bound": phase.longest,
        "energy": _summary(phase.energy),
    }
    if phase.measured:
        figures["ngspice"] = _power(phase.measured.power)
        figures["relative_difference"] = {part: float(d.max()) for part, d in phase.measured.differences.items()}
    return figures


def _power(power: Power) -> dict[str, Any]:
    """Means over the samples, and the worst balance."""
    return {
        "sources": {part: float(watts.mean()) for part, watts in power.sources.items()},
        "sinks": {part: float(watts.mean()) for part, watts in power.sinks.items()},
        "delivered": float(power.delivered.mean()),
        "dissipated": float(power.dissipated.mean()),
        "heat": float(power.heat.mean()),
        "largest_imbalance": float(power.imbalance.max()),
    }


def _summary(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "smallest": float(values.min()), "largest": float(values.max())}


def _table(report: EnergyReport) -> list[dict[str, Any]]:
    """One row for each sample, phase and part: its power in the surrogate and, if requested, in ngspice."""
    rows: list[dict[str, Any]] = []
    for name, phase in zip(PHASES, report.phases, strict=True):
        theirs = phase.measured.power if phase.measured else None
        for side in ("sources", "sinks"):
            found = getattr(theirs, side) if theirs else {}
            for part, watts in getattr(phase.power, side).items():
                where = {"phase": name, "side": side, "part": part}
                beside = found[part].tolist() if found else [""] * len(watts)
                for sample, (ours, other) in enumerate(zip(watts.tolist(), beside, strict=True)):
                    rows.append({"sample": sample, **where, "surrogate (W)": ours, "ngspice (W)": other})
    return rows
