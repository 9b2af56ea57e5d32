"""``eqprop-analog device``: a law from a measured curve or from a SPICE device of one's own."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.characterization.curve import Curve, Noise, ordered, read_curve
from eqprop_analog.characterization.device_file import USUAL_CURRENT, fingerprint, usual_rail, write_device
from eqprop_analog.characterization.junction_fit import UNITS, JunctionFit, fit_junction
from eqprop_analog.characterization.tabulation import TOLERANCE, Table, tabulate
from eqprop_analog.cli import console, options
from eqprop_analog.devices import Law, Tabulated
from eqprop_analog.devices.law import require_celsius
from eqprop_analog.errors import UserError
from eqprop_analog.files import require_writable
from eqprop_analog.plotting import device as drawing
from eqprop_analog.quantities import option

SUMMARY = "Make a diode's law from a measured curve (CSV) or a SPICE device of your own: fit it, or tabulate it."
EXAMPLES = """\
examples:
  I_S, n and R_S of a diode, with confidence:  fit iv.csv
  any monotone device, noise of 2 % stated:    table iv.csv --relative-noise 0.02
  the device in place of every diode:          fit iv.csv --output mine.toml --rail 0.3

The file has a header with units, such as "V (mV),I (uA)": the voltage across the device and the current through it, from anode to
cathode. Every action writes FILE.toml (the law, the data, the residuals) and FILE.png. Other commands take the law as
`--diode FILE.toml`. It stands for the device from the rail into a node of the excitatory half of a layer; the inhibitory half has
the same device the other way round, from the node into the rail of opposite sign."""

Array = np.ndarray


def add_options(parser: argparse.ArgumentParser) -> None:
    """The action, and the options of all of them."""
    parser.add_argument(
        "action",
        choices=list(ACTIONS),
        metavar="ACTION",
        help="fit: I_S, n and R_S of a junction, to the forward points of a curve; table: a monotone table of a curve, which is "
        "the law in both solvers",
    )
    parser.add_argument(
        "curve",
        type=Path,
        nargs="?",
        metavar="FILE.csv",
        help="of fit and table: voltages and currents, units in the header",
    )
    curve = parser.add_argument_group("of fit and table")
    curve.add_argument("--voltage-column", metavar="NAME", help="its header (default: the one column in volts)")
    curve.add_argument("--current-column", metavar="NAME", help="its header (default: the one in amperes)")
    curve.add_argument("--noise", type=option("A"), metavar="AMPERES", help="of the currents, such as 20pA (default 0)")
    curve.add_argument(
        "--relative-noise", type=float, metavar="X", help="the same as a fraction of the current (default 0)"
    )
    parser.add_argument(
        "--celsius", type=option("°C"), metavar="DEGREES", help="of fit: of the measurement (default 27)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help=f"of a table from the smooth monotone curve through the points, relative (default {TOLERANCE:g})",
    )
    parser.add_argument(
        "--rail",
        type=option("V"),
        metavar="VOLTS",
        help=f"of the excitatory half (default: where the device carries {1e6 * USUAL_CURRENT:g} uA: nodes are kept above 0 V)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.toml", help="default: the curve's name with .toml")
    options.add_json(parser)


def _refuse_others(arguments: argparse.Namespace) -> None:
    """UserError for an option that the action has not, and for a curve that is missing."""
    own = OPTIONS[arguments.action]
    others = {name for names in OPTIONS.values() for name in names} - set(own)
    given = sorted(name for name in others if getattr(arguments, name, None) is not None)
    if given:
        what = given[0] if given[0] == "curve" else f"--{given[0].replace('_', '-')}"
        raise UserError(f"device {arguments.action}: {what} is of {_actions_with(given[0])}; leave it out")
    if "curve" in own and arguments.curve is None:
        raise UserError(
            f"device {arguments.action}: name the curve's file, such as `eqprop-analog device {arguments.action} iv.csv`"
        )


def _actions_with(name: str) -> str:
    return " and ".join(action for action, names in OPTIONS.items() if name in names)


def run(arguments: argparse.Namespace) -> None:
    """Do the action."""
    _refuse_others(arguments)
    ACTIONS[arguments.action](arguments)


def _fit(arguments: argparse.Namespace) -> None:
    celsius = 27.0 if arguments.celsius is None else float(arguments.celsius)
    require_celsius(celsius)
    path, curve, noise = _given(arguments)
    found = fit_junction(curve, noise, celsius)
    law = _at_rail(found.law, arguments)
    _show_fit(arguments.curve, law, found)
    made = {"made_by": "device fit", **_origin(arguments, noise), "notes": list(found.notes), "fit": found.figures()}
    _write(path, law, made, curve, found.model, {"used": found.used.astype(int).tolist()})
    _report(arguments, path, law, {"fit": found.figures(), "notes": list(found.notes)})


def _show_fit(source: Path, law: Law, found: JunctionFit) -> None:
    rows = [
        [name.replace("_", " "), f"{getattr(law, name):.5g} {UNITS[name]}".strip(), f"{low:.5g} to {high:.5g}"]
        for name, (low, high) in found.intervals.items()
    ]
    console.table(
        f"{source}: a junction, fitted to {int(found.used.sum())} forward points",
        ["parameter", "value", "95 % confidence"],
        rows,
        [
            ["median |residual|", f"{100 * found.median_relative:.3g} %", ""],
            ["largest |residual|", f"{100 * found.largest_relative:.3g} %", f"{found.largest_residual:.3g} A"],
        ],
    )
    for note in found.notes:
        console.say(note)


def _table(arguments: argparse.Namespace) -> None:
    path, curve, noise = _given(arguments)
    points = ordered(curve, noise)
    found = tabulate(points, TOLERANCE if arguments.tolerance is None else arguments.tolerance, noise.absolute)
    law = _at_rail(found.law, arguments)
    _show_table(str(arguments.curve), law, found, points.notes)
    made = {
        "made_by": "device table",
        **_origin(arguments, noise),
        "notes": list(points.notes),
        "table": found.figures(),
    }
    measured = Curve(points.voltage, points.measured, np.zeros(len(points.voltage), int), curve.source)
    _write(path, law, made, measured, found.at_points, {})
    _report(arguments, path, law, {"table": found.figures(), "notes": list(points.notes)})


def _show_table(source: str, law: Tabulated, found: Table, notes: Sequence[str]) -> None:
    knots = law.voltages, law.currents
    beyond = law.slope(law.rail - np.array([knots[0][0] - 1, knots[0][-1] + 1]))
    console.table(
        f"{source}: a monotone table",
        ["figure", "value"],
        [
            ["knots", f"{len(knots[0])}, from {knots[0][0]:.4g} V to {knots[0][-1]:.4g} V"],
            ["currents", f"{knots[1][0]:.4g} A to {knots[1][-1]:.4g} A"],
            ["largest |table - measured|", f"{found.largest_residual:.3g} A, {100 * found.largest_relative:.3g} %"],
            ["median error at points left out", f"{100 * found.left_out:.3g} %"],
            ["slopes beyond the ends", f"{beyond[0]:.3g} S and {beyond[1]:.3g} S"],
        ],
    )
    for note in notes:
        console.say(note)


def _given(arguments: argparse.Namespace) -> tuple[Path, Curve, Noise]:
    """Where to write, the curve, and its noise. Raises UserError."""
    path = _output(arguments, arguments.curve.stem)
    noise = Noise(arguments.noise or 0.0, arguments.relative_noise or 0.0)
    return path, read_curve(arguments.curve, arguments.voltage_column or "", arguments.current_column or ""), noise


def _output(arguments: argparse.Namespace, usual: str) -> Path:
    path: Path = arguments.output or Path(f"{usual}.toml")
    if path.suffix != ".toml":
        raise UserError(f"--output {path}: expected the name of a TOML file, such as {path.with_suffix('.toml')}")
    require_writable(path)
    return path


def _at_rail(law: Any, arguments: argparse.Namespace) -> Any:
    """The law with the rail asked for, or the usual one."""
    from dataclasses import replace

    rail = usual_rail(law) if arguments.rail is None else float(arguments.rail)
    return replace(law, rail=rail)


def _origin(arguments: argparse.Namespace, noise: Noise) -> dict[str, Any]:
    return {
        "source": {
            "file": arguments.curve.name,
            "sha256": fingerprint(arguments.curve),
            "noise_amperes": noise.absolute,
            "relative_noise": noise.relative,
        }
    }


def _write(
    path: Path, law: Any, made: Mapping[str, Any], curve: Curve, model: Array, more: Mapping[str, Sequence[int]]
) -> None:
    """The device file and its plot."""
    residual = model - curve.current
    relative = np.divide(residual, np.abs(curve.current), out=np.zeros_like(residual), where=curve.current != 0)
    points = {
        "voltage": curve.voltage.tolist(),
        "current": curve.current.tolist(),
        "law_current": model.tolist(),
        "residual": residual.tolist(),
        "relative_residual": relative.tolist(),
        **more,
    }
    write_device(path, law, {"units": "volts, amperes; residual = law - measured", **made}, points)
    along = np.unique(
        np.concatenate([np.linspace(curve.voltage.min(), curve.voltage.max(), drawing.POINTS), curve.voltage])
    )
    by_law = -law.current(law.rail - along)
    drawing.curve_and_law(
        path.with_suffix(".png"),
        curve.voltage,
        curve.current,
        (along, by_law),
        f"{curve.source}, rail {law.rail:g} V",
        "law",
    )


def _report(arguments: argparse.Namespace, path: Path, law: Any, figures: Mapping[str, Any]) -> None:
    console.say(
        f"{path}, {path.with_suffix('.png')}: the law with its rail at {law.rail:g} V, where the device carries "
        f"{float(-law.current(np.array(0.0))):.3g} A; give it to other commands as --diode {path}"
    )
    table = {
        name: value for name, value in vars(law).items() if isinstance(value, int | float | str) and name[0] != "_"
    }
    options.report_figures(arguments, {"law": table, **figures, "device": str(path)})


ACTIONS = {"fit": _fit, "table": _table}
CURVE = ("curve", "voltage_column", "current_column", "noise", "relative_noise")
OPTIONS = {"fit": (*CURVE, "celsius"), "table": (*CURVE, "tolerance")}
"""What not every action has."""
