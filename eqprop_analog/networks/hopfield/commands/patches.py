"""``eqprop-analog patches``: patches of a large Hopfield network in ngspice and the surrogate, with all other nodes held."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options, samples
from eqprop_analog.cli.simulate import require_met
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.experiments.agreement import Agreement, compare
from eqprop_analog.incoming import whole_number
from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.patches import cut, strongest

Array = np.ndarray

NODES = 40
"""Default number of free nodes of each layer."""
SUMMARY = (
    "Cut patches out of a Hopfield network that is too large for ngspice, and compare each with the whole network."
)
EXAMPLES = """\
For each sample, the whole network is relaxed once by coordinate descent. A patch keeps some nodes of consecutive layers free. In
the last layer they are drawn at random; in each earlier layer they are the nodes with the largest weights to the free nodes of
the next layer. All other nodes are held at their states. The patch is a self-contained circuit: ngspice solves it free and
nudged by ±β from the states of the whole network, and again from 0 V. Voltages, gradients and the winners of all pools must
agree with the surrogate, and the free states with those of the whole network. The exit code is 3 if a bound is not met.

examples:
  five patches of layers 2 and 3:      runs/p-conv/network.npz --layers 2 3 --samples 5 --json patches.json
  larger ones, on your own inputs:     net.npz --layers 3 4 --nodes 100 --inputs x.npy"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("network", type=Path, metavar="FILE.npz", help="a Hopfield network")
    parser.add_argument(
        "--layers",
        type=int,
        nargs="+",
        required=True,
        metavar="L",
        help="consecutive layers with free nodes, counted from 1",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=NODES,
        metavar="N",
        help=f"largest number of free nodes of each layer (default {NODES})",
    )
    samples.add_samples(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the random choice of patches (default 0)"
    )
    options.add_beta(parser)
    parser.add_argument(
        "--form", choices=["norton", "flat"], default="norton", help="form of the circuit (default norton)"
    )
    options.add_time_limit(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Solve a patch of every sample, compare and print."""
    network = HopfieldNetwork.load(arguments.network).astype(np.float64)
    count = whole_number(arguments.nodes, "--nodes", 1)
    inputs, _ = samples.solved(arguments, network, arguments.network)
    random = np.random.default_rng(arguments.seed)
    results: list[Agreement] = []
    rows, found = [], []
    with console.stage("patches in ngspice", len(inputs)) as progress:
        for number, x in enumerate(inputs[:, None]):
            whole = HopfieldDescentSolver().solve(network, x).require()
            keep = strongest(network, arguments.layers, count, random)
            patch, one, inside = cut(network, x, whole.voltages, keep)
            results.append(_compared(patch, one, inside, arguments))
            away = _distance(results[-1].phases[0], inside)
            rows.append(_row(number, patch, results[-1], away))
            found.append(results[-1].figures() | {"layers": patch.layers, "windows": _windows(patch), "whole": away})
            progress(number + 1, 0.0)
    console.table(
        f"{arguments.network}: patches of layers {', '.join(map(str, arguments.layers))} in ngspice, {arguments.form} form",
        [
            "patch",
            "nodes",
            "windows",
            "free |ΔV| to the whole (V)",
            "|ΔV| (V)",
            "gradients",
            "other winners",
            "from 0 V",
        ],
        rows,
    )
    starts = {
        key: sum((each.cold_starts or {}).get(key, 0) for each in results) for key in ("same", "elsewhere", "none")
    }
    console.say(f"cold starts: {', '.join(f'{count} {key}' for key, count in starts.items())}")
    options.report_figures(arguments, {"patches": found, "cold_starts": starts})
    require_met(results)


def _compared(
    patch: HopfieldNetwork, one: Float[Array, "1 1"], inside: Equilibrium, arguments: argparse.Namespace
) -> Agreement:
    """The equilibria of the patch, nudged towards 1 V at its first output."""
    target = np.zeros((1, patch.classes))
    target[:, 0] = 1
    beta = options.beta(arguments, patch)
    return compare(patch, one, target, beta, arguments.form, time_limit=arguments.time_limit, start=inside)


def _distance(one: Equilibrium, other: Equilibrium) -> float:
    return max(float(np.abs(v - w).max()) for v, w in zip(one.voltages, other.voltages, strict=True))


def _windows(patch: HopfieldNetwork) -> int:
    """Indices of the connections with pooling."""
    return sum(len(each.windows) for each in patch.connections if each.windows.shape[1] > 1)


def _row(number: int, patch: HopfieldNetwork, result: Agreement, away: float) -> list[str]:
    starts: dict[str, Any] = result.cold_starts or {}
    return [
        str(number),
        str(sum(patch.layers[1:])),
        str(_windows(patch)),
        f"{away:.1e}",
        f"{result.largest_difference:.1e}",
        f"{result.gradient_difference:.1e}",
        str(result.other_winners),
        ", ".join(key for key, value in starts.items() if value),
    ]
