"""``eqprop-analog reram``: compares a crossbar of memristors programmed by pulses in ngspice with the pulse model."""

import argparse
import math
from pathlib import Path

import numpy as np

from eqprop_analog.cli import console, options
from eqprop_analog.devices.conductance.yakopcic2011 import Yakopcic2011
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.files import require_writable, write_text
from eqprop_analog.incoming import whole_number
from eqprop_analog.quantities import option
from eqprop_analog.spice.memristors import PulsedCrossbar, Write

SUMMARY = "Program a crossbar of memristors by pulses in ngspice (.tran), and compare it with the pulse model used in training."
EXAMPLES = """\
examples:
  3 x 3 cells, 20 pulses up and 20 down each:  --rows 3 --columns 3 --pulses 20
  with drivers of 10 ohm at every line:        --line-resistance 10ohm
  into another folder:                         --output reram

Afterwards `eqprop-analog technology fit reram/pulses.csv` fits a technology to the readings.

The device is that of Yakopcic et al. 2011, a subcircuit of behavioural sources (circuits/yakopcic2011.lib). A cell is
programmed by +V/2 on its row and -V/2 on its column. The output folder gets crossbar.cir (run it by `ngspice -b`), pulses.csv
with a reading after every pulse, and a plot."""
STATES = 0.05, 0.95
"""States of the device at the ends of the window."""
LARGEST_DIFFERENCE = 2e-3
"""Largest difference between ngspice and the model without line resistance, as a fraction of the window."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--rows", type=int, default=2, metavar="N", help="rows of the crossbar (default 2)")
    parser.add_argument("--columns", type=int, default=2, metavar="N", help="columns of the crossbar (default 2)")
    parser.add_argument(
        "--pulses", type=int, default=20, metavar="N", help="pulses up, and then down, for every cell (default 20)"
    )
    parser.add_argument(
        "--volts", type=option("V"), default=0.29, metavar="V", help="amplitude of a pulse (default 0.29V)"
    )
    parser.add_argument("--width", type=option("s"), default=2e-4, metavar="S", help="width of a pulse (default 0.2ms)")
    parser.add_argument(
        "--line-resistance",
        type=option("ohm"),
        default=0.0,
        metavar="R",
        help="resistance between a line and its driver (default 0)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the initial states of the cells (default 0)"
    )
    parser.add_argument("--output", type=Path, default=Path("reram"), metavar="DIR", help="default reram")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Simulate, compare with the model, and write the files."""
    sizes = [whole_number(getattr(arguments, name), f"--{name}", 1) for name in ("rows", "columns", "pulses")]
    rows, columns, count = sizes
    if rows * columns * count > 20_000:
        raise UserError(f"--pulses: {2 * rows * columns * count:,} pulses in one transient; expected at most 40,000")
    folder: Path = arguments.output
    require_writable(folder / "pulses.csv")
    device, random = Yakopcic2011(), np.random.default_rng(whole_number(arguments.seed, "--seed"))
    low, high = STATES
    crossbar = PulsedCrossbar(
        device,
        random.uniform(low, low + 0.3 * (high - low), (rows, columns)),
        float(arguments.volts),
        float(arguments.width),
        float(arguments.line_resistance),
    )
    law = device.pulses(crossbar.volts, crossbar.width, STATES)
    writes: list[Write] = [
        (i, j, sign) for sign in (1, -1) for _ in range(count) for i in range(rows) for j in range(columns)
    ]
    write_text(folder / "crossbar.cir", crossbar.netlist(writes))
    with console.stage(f"{len(writes)} pulses in ngspice", 1, "transient") as progress:
        states = crossbar.written(writes)
        progress(1, math.nan)
    simulated = device.conductance(states)
    window = np.array(device.conductance(np.array(STATES)))
    model = [simulated[0].copy()]
    for i, j, sign in writes:
        moved, pulses = model[-1].copy(), np.zeros((rows, columns))
        pulses[i, j] = sign
        law.apply(moved, pulses, window[0], window[1], random)
        model.append(moved)
    write_text(folder / "pulses.csv", _readings(simulated, writes))
    from eqprop_analog.plotting.memristors import memristors  # Matplotlib takes a second

    memristors(simulated, np.array(model), folder / "reram.png")
    difference = float(np.abs(simulated - np.array(model)).max() / np.ptp(window))
    _report(arguments, folder, (law.pulses_up, law.pulses_down), window, difference)


def _readings(simulated: np.ndarray, writes: list[Write]) -> str:
    """Return a table for ``eqprop-analog technology fit``: each cell is a device, read before its first and after each pulse."""
    lines = ["pulse,polarity,conductance (uS),device"]
    numbers = dict.fromkeys(np.ndindex(simulated.shape[1:]), 0)
    lines += [f"0,0,{1e6 * simulated[(0, *cell)]:.9g},r{cell[0]}c{cell[1]}" for cell in numbers]
    for moment, (i, j, sign) in enumerate(writes, start=1):
        numbers[i, j] += 1
        lines.append(f"{numbers[i, j]},{sign},{1e6 * simulated[moment, i, j]:.9g},r{i}c{j}")
    return "\n".join(lines) + "\n"


def _report(
    arguments: argparse.Namespace, folder: Path, pulses: tuple[float, float], window: np.ndarray, difference: float
) -> None:
    met = difference <= LARGEST_DIFFERENCE
    ideal = not arguments.line_resistance
    console.table(
        "memristors of Yakopcic et al. 2011: the pulse model against ngspice",
        ["", "value"],
        [
            ["window", f"{1e6 * window[0]:.4g} to {1e6 * window[1]:.4g} uS"],
            ["pulses from one end of the window to the other, up and down", f"{pulses[0]:.1f}, {pulses[1]:.1f}"],
            ["largest |ΔG| over the window", f"{difference:.1e}"],
            [
                "asked",
                f"at most {LARGEST_DIFFERENCE:g}: {'met' if met else 'NOT MET'}"
                if ideal
                else "no bound: the pulse model has no line resistance",
            ],
        ],
    )
    console.say(f"in {folder}: crossbar.cir, pulses.csv, reram.png")
    figures = {"window": window.tolist(), "pulses_up": pulses[0], "pulses_down": pulses[1], "difference": difference}
    options.report_figures(arguments, figures)
    if ideal and not met:
        raise NotMetError(
            f"pulse model and ngspice differ by {difference:.1e} of the window, more than {LARGEST_DIFFERENCE:g}"
        )
