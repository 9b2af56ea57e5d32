"""``eqprop-analog wires``: what learning on the chip absorbs of its wires, as a map of wire resistance and array size."""

import argparse
from pathlib import Path

from eqprop_analog.cli import console, options
from eqprop_analog.cli.samples import add_own_data
from eqprop_analog.cli.settings import add_settings
from eqprop_analog.cli.train import overridden
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.files import locked, require_writable, write_csv
from eqprop_analog.networks.resistive.wire_map import Errors, WireMap
from eqprop_analog.networks.resistive.wires_plot import draw_map
from eqprop_analog.quantities import option

SUMMARY = "Train through wires of several resistances in arrays of several sizes; report where learning still compensates them."
EXAMPLES = """\
For every wire resistance and array size, one network learns in place through the wires, and another network that learned with
ideal wires is transferred to the same arrays. The default is a small network on 1,438 images of 8 x 8 pixels. The relevant
quantity is r G N², the resistance of a segment times the mean conductance of a cell times the square of the array size, so the
map also applies to cells of other resistances. The command writes wires.csv, wires.json and wires.png to --output. Every point
has a run folder that train, verify and report accept. Finished points are not trained again.

examples:
  the map, one process:                     --output map
  updates from every cell's own voltage:    --sizes 128 --resistances 10kohm 30kohm --read-at cells --output cells
  MNIST on arrays of 128 x 128 cells:       --preset mnist-100-wires --sizes 128 --resistances 10kohm 30kohm
  choose settings by the validation images: --validation"""
PRESET, OUTPUT = "digits-wires", Path("runs/wires")
RESISTANCES = (1e3, 3e3, 1e4, 3e4, 1e5)
"""Default wire resistances, ohms."""
SIZES = (16, 32, 64, 128)
MARGIN = 0.02
"""Default increase of the error over that with ideal wires: two images in a hundred."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--preset", default=PRESET, metavar="NAME", help=f"a preset, or a TOML file (default {PRESET})")
    parser.add_argument(
        "--resistances",
        nargs="+",
        type=option("ohm"),
        default=RESISTANCES,
        metavar="OHMS",
        help="resistance of one wire segment between two cells (default 1, 3, 10, 30 and 100 kohm)",
    )
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="arrays of N x N cells (default 16 32 64 128)"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        metavar="X",
        help=f"largest increase of the error over that with ideal wires that is accepted, a fraction (default {MARGIN})",
    )
    add_settings(parser)
    add_own_data(parser)
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data set's files (default: cache, then download)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", default=OUTPUT, help=f"default {OUTPUT}")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train the missing points, transfer the ideal network, print and write the map."""
    settings = overridden(arguments)
    for name, option_name in (("wire_resistance", "--resistances"), ("tile", "--sizes")):
        if settings.pop(name, None) is not None:
            raise UserError(f"--{name.replace('_', '-')}: this setting is varied by the map; use {option_name}")
    if not 0 <= arguments.margin < 1:
        raise UserError(f"--margin: expected a fraction from 0 to 1, got {arguments.margin:g}")
    if min(arguments.sizes) < 1:
        raise UserError(f"--sizes: expected at least 1, got {min(arguments.sizes)}")
    workers, folder = settings.pop("workers", 1), arguments.output
    wires = WireMap(arguments.preset, settings, tuple(arguments.resistances), tuple(arguments.sizes), folder)
    wires.ideal()
    require_writable(folder / "wires.json")
    with locked(folder):
        found = wires.measured(workers, arguments.data_dir, console.stage)
        limits = found.limits(arguments.margin)
        _show(folder, found, limits, arguments.margin)
        write_csv(folder / "wires.csv", found.rows)
        figures = {
            "preset": arguments.preset,
            "held_out": found.held_out,
            "ideal_error": found.ideal,
            "mean_conductance": found.mean_conductance,
            "margin": arguments.margin,
            "points": list(found.rows),
            "limits": limits,
        }
        options.report_figures(arguments, figures, folder / "wires.json")
        draw_map(found, folder / "wires.png")
    console.say(f"in {folder}: wires.csv, wires.json, wires.png, and a run folder for each point")
    failures = [row for row in found.rows if row["failure"] is not None]
    if failures:
        raise NotMetError(
            f"{len(failures)} of {len(found.rows)} points failed; first failure: {failures[0]['failure']}"
        )


def _show(folder: Path, found: Errors, limits: list[dict[str, float | str | None]], margin: float) -> None:
    console.table(
        f"{folder}: {found.held_out} error (%), with ideal wires {100 * found.ideal:.2f}",
        ["array", "wire (ohm)", "r G N²", "transferred", "trained through the wires"],
        [
            [
                f"{row['size']} x {row['size']}",
                f"{row['wire_resistance']:g}",
                f"{row['product']:.2g}",
                f"{100 * row['transferred_error']:.2f}",
                "failed" if row["error"] is None else f"{100 * row['error']:.2f}",
            ]
            for row in found.rows
        ],
    )
    console.table(
        f"largest wire resistance within {100 * margin:g} % of the error with ideal wires",
        ["array", "transferred (ohm)", "trained (ohm)", "mean cell / wire resistance"],
        [
            [
                f"{row['size']} x {row['size']}",
                *(
                    "none" if row[name] is None else f"{row[name]:g}"
                    for name in ("transferred_wire_resistance", "wire_resistance")
                ),
                "" if row["cell_over_wire"] is None else f"{row['cell_over_wire']:.2g}",
            ]
            for row in limits
        ],
    )
