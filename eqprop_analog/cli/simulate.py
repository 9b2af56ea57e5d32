"""``eqprop-analog simulate``: solves a network in ngspice, free and nudged, and compares it with the surrogate."""

import argparse
from collections.abc import Sequence
from typing import Any

from eqprop_analog.cli import console, options, samples, wiring
from eqprop_analog.core import Network
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.errors import NotMetError
from eqprop_analog.experiments.agreement import (
    LARGEST_DIFFERENCE,
    LARGEST_GRADIENT_DIFFERENCE,
    Agreement,
    compare,
)

SUMMARY = "Solve a network in ngspice, free and nudged by +beta and -beta, and compare the result with the surrogate."
EXAMPLES = """\
examples:
  an untrained 4-6-2 network, five example inputs:  --layers 4 6 2
  every resistor of a trained network:              --network runs/demo/network.npz --dataset mnist --samples 20 --form flat
  test samples 3 and 7 of a table of your own:      --network runs/gases/network.npz --dataset gases.csv --sample 3 7
  your own inputs and targets, figures as JSON:     --network net.npz --inputs x.npy --targets y.npy --beta 1e-7 --json out.json
  crossbars with wires and nonlinear cells:         --layers 4 6 2 --wire-resistance 20ohm --tile 4 4 --cell sinh scale=0.5V
  an untrained Hopfield network:                    --model hopfield --layers 6 5 3"""
SHOWN = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    wiring.add_wires(parser)
    samples.add_samples(parser)
    options.add_beta(parser)
    parser.add_argument(
        "--form",
        choices=["flat", "norton"],
        help="flat: every resistor; norton: crossbar 1 reduced (default: norton, if the network has this form)",
    )
    options.add_workers(parser, "ngspice processes")
    options.add_time_limit(parser)
    options.add_json(parser, "every voltage and figure")


def run(arguments: argparse.Namespace) -> None:
    """Solve with both, and print the outputs and the agreement."""
    options.count_workers(arguments)
    network = wiring.with_wires(arguments, options.network(arguments))
    inputs, targets = samples.solved(arguments, network, arguments.network)
    beta = options.beta(arguments, network)
    if arguments.form is None:
        arguments.form = network.forms[0]
    result = compare(network, inputs, targets, beta, arguments.form, arguments.workers, time_limit=arguments.time_limit)
    free = result.phases[0]
    shown = range(min(SHOWN, len(inputs)))
    console.table(
        f"ngspice, free phase, the first {len(shown)} of {len(inputs)} samples",
        ["", *(f"sample {sample}" for sample in shown)],
        [[f"o_{k} (V)", *(f"{free.outputs[sample, k]:.6f}" for sample in shown)] for k in range(network.layers[-1])],
        [
            [f"KCL residual ({network.residual_unit})", *(f"{free.residual[sample]:.1e}" for sample in shown)],
            ["status", *(free.status[sample].name for sample in shown)],
        ],
    )
    console.table("ngspice against the surrogate", ["figure", "value"], agreement_rows(result, network.residual_unit))
    figures: dict[str, Any] = {"layers": network.layers, "agreement": result.figures()}
    figures["phases"] = {
        name: _phase(network, phase) for name, phase in zip(("free", "plus", "minus"), result.phases, strict=True)
    }
    options.report_figures(arguments, figures)
    require_met([result])


def require_met(agreements: Sequence[Agreement]) -> None:
    """Raise NotMetError if ngspice and the surrogate differ by more than the bounds in ``agreement_rows``."""
    if not all(agreement.met for agreement in agreements):
        raise NotMetError("ngspice and the surrogate do not agree within the bounds in the table")


def agreement_rows(result: Agreement, residual_unit: str = "A") -> list[list[str]]:
    """Return the figures of a comparison, one row for each, with units."""
    return [
        ["compared", f"{result.form} form, {result.samples} samples x 3 phases x {result.nodes} nodes"],
        ["nudge ±β" + (" (S)" if residual_unit == "A" else ""), f"{result.beta:.3g}"],
        ["largest |ΔV| (V)", f"{result.largest_difference:.1e}"],
        ["median of the largest |ΔV| (V)", f"{result.median_difference:.1e}"],
        [f"largest KCL residual ({residual_unit})", f"{result.largest_residual:.1e}"],
        ["gradients, |Δ| over the layer's largest", f"{result.gradient_difference:.1e}"],
        *(
            [
                ["windows with another winner", str(result.other_winners)],
                ["cold starts: same, other, or no state", ", ".join(map(str, result.cold_starts.values()))],
            ]
            if result.cold_starts
            else []
        ),
        ["same predictions", "yes" if result.same_predictions else "NO"],
        [
            f"|ΔV| <= {LARGEST_DIFFERENCE:g}, gradients <= {LARGEST_GRADIENT_DIFFERENCE:g}",
            "met" if result.met else "NOT MET",
        ],
        ["ngspice, ms per equilibrium", f"{1e3 * result.ngspice_seconds / result.equilibria:.2f}"],
        ["surrogate, ms per equilibrium", f"{1e3 * result.surrogate_seconds / result.equilibria:.3f}"],
    ]


def _phase(network: Network, phase: Equilibrium) -> dict[str, Any]:
    return {
        "voltages": dict(zip(network.voltage_names, (v.tolist() for v in phase.voltages), strict=True)),
        "residual": phase.residual.tolist(),
        "status": [status.name for status in phase.status],
    }
