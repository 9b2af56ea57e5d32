"""``eqprop-analog device``: makes a diode law from a measured curve or from a user's SPICE device."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.characterization.curve import Curve, Noise, ordered, read_curve
from eqprop_analog.characterization.device_file import USUAL_CURRENT, diode_table, fingerprint, usual_rail, write_device
from eqprop_analog.characterization.device_sweep import COMPLIANCE, MODES, options_of, swept
from eqprop_analog.characterization.junction_fit import UNITS, JunctionFit, fit_junction
from eqprop_analog.characterization.spice_library import read_device
from eqprop_analog.characterization.tabulation import TOLERANCE, Table, tabulate
from eqprop_analog.cli import console, options, samples
from eqprop_analog.devices import Law, Tabulated, law_from
from eqprop_analog.devices.law import require_celsius
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.files import require_writable
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.own_devices import measure_on_devices
from eqprop_analog.plotting import device as drawing
from eqprop_analog.quantities import option

SUMMARY = "Make a diode's law from a measured curve (CSV) or a SPICE device of your own: fit it, or tabulate it."
EXAMPLES = """\
examples:
  I_S, n and R_S of a diode, with confidence:  fit iv.csv
  any monotone device, with 2 % noise:         table iv.csv --relative-noise 0.02
  a diode law with a rail of 0.3 V:            fit iv.csv --output mine.toml --rail 0.3
  a diode from a vendor's library:             from-spice --lib vendor.lib --subckt D1N4148
  a transistor in corner ff of its library:    from-spice --lib models.lib ff --lib mine.lib --subckt nfet_diode
  a network on the transistors themselves:     confirm --network runs/nfet/network.npz --dataset digits

The file of a curve has a header with units, such as "V (mV),I (uA)": the voltage across the device and the current through it,
from anode to cathode. Every action except confirm writes FILE.toml (the law, the data, the residuals) and FILE.png. Other
commands accept the law as `--diode FILE.toml`. In the excitatory half of a layer, the device leads from the rail to each node;
in the inhibitory half it is reversed, from the node to the rail of opposite sign."""

Array = np.ndarray

RANGE = (-2.0, 2.0)
"""Default range of the sweep: voltage across the SPICE device, volts."""
STEP = 0.005
"""Volts."""
LARGEST_SWEEP = 1000.0
MOST_POINTS = 10_000
ROUNDING = 1e-12
"""Largest decrease of the current relative to the largest one that is attributed to a simulator's tolerances."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The action, and the options of all actions."""
    parser.add_argument(
        "action",
        choices=list(ACTIONS),
        metavar="ACTION",
        help="fit: I_S, n and R_S of a junction, to the forward points of a curve; table: a monotone table of a curve, which is "
        "the law in both solvers; from-spice: the same of a SPICE device of two terminals, swept in ngspice; confirm: a "
        "network's test error in ngspice with the SPICE devices themselves",
    )
    parser.add_argument(
        "curve",
        type=Path,
        nargs="?",
        metavar="FILE.csv",
        help="fit and table: CSV file of voltages and currents with units in the header",
    )
    curve = parser.add_argument_group("options of fit and table")
    curve.add_argument(
        "--voltage-column", metavar="NAME", help="header of the column of voltages (default: the only column in volts)"
    )
    curve.add_argument(
        "--current-column",
        metavar="NAME",
        help="header of the column of currents (default: the only column in amperes)",
    )
    curve.add_argument(
        "--noise",
        type=option("A"),
        metavar="AMPERES",
        help="standard deviation of the currents, such as 20pA (default 0)",
    )
    curve.add_argument(
        "--relative-noise", type=float, metavar="X", help="standard deviation as a fraction of the current (default 0)"
    )
    _add_spice(parser)
    _add_confirm(parser)
    parser.add_argument(
        "--celsius",
        type=option("°C"),
        metavar="DEGREES",
        help="fit and from-spice: temperature of the device (default 27)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help=f"relative deviation of a table from the smooth monotone curve through the points (default {TOLERANCE:g})",
    )
    parser.add_argument(
        "--rail",
        type=option("V"),
        metavar="VOLTS",
        help="rail voltage of the excitatory half (default: the voltage at which the device carries "
        f"{1e6 * USUAL_CURRENT:g} uA, which keeps nodes above 0 V)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE.toml", help="output file (default: the name of the curve with .toml)"
    )
    options.add_json(parser)


def _add_spice(parser: argparse.ArgumentParser) -> None:
    spice = parser.add_argument_group("options of from-spice")
    spice.add_argument(
        "--lib",
        nargs="+",
        action="append",
        metavar="FILE",
        help="a SPICE library, and the name of a section if it has sections; may be repeated",
    )
    spice.add_argument("--subckt", metavar="NAME", help="subcircuit with two pins, anode and cathode")
    spice.add_argument(
        "--range",
        type=option("V"),
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"first and last voltage of the sweep (default {RANGE[0]:g} {RANGE[1]:g})",
    )
    spice.add_argument(
        "--step", type=option("V"), metavar="VOLTS", help=f"voltage step of the sweep (default {STEP:g})"
    )
    spice.add_argument(
        "--compliance",
        type=option("A"),
        metavar="AMPERES",
        help=f"current at which the curve is cut off (default {COMPLIANCE:g})",
    )
    spice.add_argument(
        "--compatibility",
        choices=MODES,
        help="ngspice's compatibility mode for libraries of other simulators, for the sweep only; netlists then have the table",
    )


def _add_confirm(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of confirm")
    group.add_argument("--network", type=Path, metavar="FILE.npz", help="a trained network")
    group.add_argument(
        "--diode",
        metavar="FILE.toml",
        help="the devices, for example those of another corner (default: those of the network)",
    )
    group.add_argument("--samples", type=int, metavar="N", help="the first N test samples (default: all)")
    group.add_argument("--sample", type=int, nargs="+", metavar="K", help="these test samples, counted from 0")
    group.add_argument("--workers", type=int, metavar="N", help="ngspice processes (default 1)")
    samples.add_dataset(parser, "confirm: data set of the test samples (default: that of the training)")


def _refuse_others(arguments: argparse.Namespace) -> None:
    """Raise UserError for an option that the action does not have, and for a missing curve."""
    own = OPTIONS[arguments.action]
    others = {name for names in OPTIONS.values() for name in names} - set(own)
    given = sorted(name for name in others if getattr(arguments, name, None) is not None)
    if given:
        what = given[0] if given[0] == "curve" else f"--{given[0].replace('_', '-')}"
        raise UserError(f"device {arguments.action}: {what} is an option of {_actions_with(given[0])}; leave it out")
    if "curve" in own and arguments.curve is None:
        raise UserError(
            f"device {arguments.action}: name the curve's file, such as `eqprop-analog device {arguments.action} iv.csv`"
        )


def _actions_with(name: str) -> str:
    return " and ".join(action for action, names in OPTIONS.items() if name in names)


def run(arguments: argparse.Namespace) -> None:
    """Carry out the action."""
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
            ["median error at points left out of the table", f"{100 * found.left_out:.3g} %"],
            ["slopes beyond the ends", f"{beyond[0]:.3g} S and {beyond[1]:.3g} S"],
        ],
    )
    for note in notes:
        console.say(note)


def _given(arguments: argparse.Namespace) -> tuple[Path, Curve, Noise]:
    """The output file, the curve and its noise. Raises UserError."""
    path = _output(arguments, arguments.curve.stem)
    noise = Noise(arguments.noise or 0.0, arguments.relative_noise or 0.0)
    curve = read_curve(arguments.curve, arguments.voltage_column or "", arguments.current_column or "")
    for note in curve.notes:
        console.say(f"{arguments.curve}: {note}")
    return path, curve, noise


def _output(arguments: argparse.Namespace, usual: str) -> Path:
    path: Path = arguments.output or Path(f"{usual}.toml")
    if path.suffix != ".toml":
        raise UserError(f"--output {path}: expected the name of a TOML file, such as {path.with_suffix('.toml')}")
    require_writable(path)
    return path


def _at_rail(law: Any, arguments: argparse.Namespace) -> Any:
    """The law with the requested rail, or the default one."""
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


def _from_spice(arguments: argparse.Namespace) -> None:
    """Sweep, tabulate, keep the subcircuit."""
    for name in ("lib", "subckt"):
        if getattr(arguments, name) is None:
            raise UserError(f"device from-spice: --{name} is missing; expected --lib FILE [SECTION] --subckt NAME")
    libraries = [_library(given) for given in arguments.lib]
    path = _output(arguments, arguments.subckt)
    celsius = 27.0 if arguments.celsius is None else float(arguments.celsius)
    require_celsius(celsius)
    tolerance = TOLERANCE if arguments.tolerance is None else arguments.tolerance
    low, high, step = _sweep_of(arguments)
    mode = arguments.compatibility or ""
    compliance = COMPLIANCE if arguments.compliance is None else float(arguments.compliance)
    found = read_device(libraries, arguments.subckt)
    curve, device = swept(found, low, high, step, celsius, mode=mode, compliance=compliance)
    points = ordered(curve, Noise(ROUNDING * float(np.abs(curve.current).max())))
    table = tabulate(points, tolerance)
    own = {} if mode else options_of(device)
    law = _at_rail(replace(table.law, celsius=celsius, **own), arguments)
    notes = [*points.notes, *_told(law, device.name, mode)]
    source = ", ".join(f"{file.name} {section}".strip() for file, section in libraries)
    _show_table(f"{device.name} of {source}, {celsius:g} degrees Celsius", law, table, notes)
    made = {
        "made_by": "device from-spice",
        "source": {
            "files": [file.name for file, _ in libraries],
            "sections": [section for _, section in libraries],
            "sha256": [fingerprint(file) for file, _ in libraries],
            "subcircuit": device.name,
            "celsius": celsius,
            "compatibility": mode,
        },
        "notes": notes,
        "table": table.figures(),
    }
    _write(path, law, made, curve, table.at_points, {})
    _report(arguments, path, law, {"table": table.figures(), "notes": notes})


def _told(law: Tabulated, name: str, mode: str) -> list[str]:
    """The orientation of the device in both halves of a layer, and its model in ngspice."""
    halves = (
        f"{name} leads from the rail at {law.rail:+g} V (anode) into nodes of the excitatory half (cathode), and from nodes of "
        f"the inhibitory half (anode) into the rail at {-law.rail:+g} V (cathode); it has no third terminal"
    )
    table = (
        f"netlists for ngspice have its table, because the compatibility mode {mode} of its library would affect other devices"
        if mode
        else "netlists for ngspice have the subcircuit itself, or its table with --devices table; the surrogate has the table"
    )
    return [halves, table]


def _confirm(arguments: argparse.Namespace) -> None:
    """Measure the network on its own devices; NotMetError if an equilibrium is not certified."""
    if arguments.network is None:
        raise UserError("device confirm: --network is missing; expected --network FILE.npz --dataset NAME")
    network = ResistiveNetwork.load(arguments.network)
    if arguments.diode is not None:
        network = replace(network, diode=law_from(diode_table(arguments.diode)))
    shown = samples.source(arguments, network, arguments.network)
    if shown.dataset.test_labels.ndim > 1:
        raise UserError(
            f"device confirm: expected a data set with classes, which are needed to count errors; {shown.name} is a regression"
        )
    count = len(shown.dataset.test_images)
    which = samples.chosen(arguments, count, count)
    images, labels = shown.inputs(which), shown.dataset.test_labels[which]
    with console.stage("ngspice, own devices", len(images)) as progress:
        found = measure_on_devices(network, images, labels, arguments.workers or 1, progress=progress)
    console.table(
        f"{arguments.network}: ngspice on the devices themselves, {found.samples} test samples",
        ["figure", "value"],
        [
            ["test error, devices", f"{100 * found.error:.2f} %"],
            ["test error, table", f"{100 * found.error_by_table:.2f} %"],
            ["predicted otherwise", f"{found.decided_otherwise}"],
            ["largest |ΔV| (V)", f"{found.largest_difference:.2e}"],
            ["median of the largest |ΔV| (V)", f"{found.median_difference:.2e}"],
            ["largest KCL residual (A)", f"{found.largest_residual:.1e}, by ngspice's own device currents"],
            [
                "the same, each device swept separately (A)",
                f"{found.largest_residual_alone:.1e} of {found.largest_current:.1e}",
            ],
            ["equilibria by status", ", ".join(f"{number} {name}" for name, number in found.statuses.items())],
            ["hidden nodes beyond the table", f"{100 * found.outside:.3g} %"],
        ],
    )
    options.report_figures(arguments, {"layers": network.layers, **found.figures()})
    if not found.certified:
        raise NotMetError("an equilibrium in ngspice is not certified")


def _library(given: Sequence[str]) -> tuple[Path, str]:
    if len(given) > 2:
        raise UserError(f"--lib {' '.join(given)}: expected a file and, if it has sections, the name of one")
    return Path(given[0]), given[1] if len(given) == 2 else ""


def _sweep_of(arguments: argparse.Namespace) -> tuple[float, float, float]:
    """First, last and step, volts. Raises UserError."""
    low, high = RANGE if arguments.range is None else map(float, arguments.range)
    step = STEP if arguments.step is None else float(arguments.step)
    if not -LARGEST_SWEEP <= low < 0 < high <= LARGEST_SWEEP:
        raise UserError(f"--range: expected volts below and above 0, up to {LARGEST_SWEEP:g}, got {low:g} and {high:g}")
    if not 10 <= (high - low) / step <= MOST_POINTS:
        raise UserError(
            f"--step: expected 10 to {MOST_POINTS:,} steps from {low:g} to {high:g} V, got one of {step:g} V"
        )
    return low, high, step


ACTIONS = {"fit": _fit, "table": _table, "from-spice": _from_spice, "confirm": _confirm}
CURVE = ("curve", "voltage_column", "current_column", "noise", "relative_noise")
RESULT = ("rail", "output")
OPTIONS = {
    "fit": (*CURVE, *RESULT, "celsius"),
    "table": (*CURVE, *RESULT, "tolerance"),
    "confirm": ("network", "diode", "dataset", "data_dir", *samples.OWN_DATA, "samples", "sample", "workers"),
    "from-spice": (*RESULT, "lib", "subckt", "range", "step", "compliance", "compatibility", "celsius", "tolerance"),
}
"""The options that only some actions have."""
