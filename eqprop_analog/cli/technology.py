"""``eqprop-analog technology fit``: a specification from readings of conductances between pulses."""

import argparse
import logging
from pathlib import Path

from eqprop_analog.cli import console, options
from eqprop_analog.devices.conductance.fitting import CRITERION, Quantity, TechnologyFit, fitted, read_pulses
from eqprop_analog.devices.conductance.fitting.fit import MISFIT
from eqprop_analog.devices.conductance.fitting.forms import FORMS
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.fitted import UNMEASURED, specification_text
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import require_writable, write_text
from eqprop_analog.text import shell_word

log = logging.getLogger(__name__)

SUMMARY = (
    "Fit a specification to measured pulses: window, nonlinearity, noise, variation and levels of programmable devices."
)
EXAMPLES = """\
examples:
  compare all laws and write the best one:  fit pulses.csv
  fit one law and name the file:            fit pulses.csv --law exponential --output my-fab.toml

pulses.csv has a header, and one row for each reading: pulse (its number), polarity (+1 or up, -1 or down, 0 or none),
conductance, and optionally width (of the pulse) and device. Units are given in the header, such as "conductance (uS)"; without
a unit, numbers are in siemens and seconds. A plot of data and model is written next to the specification."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("action", choices=["fit"], help="what to do")
    parser.add_argument("pulses", type=Path, metavar="PULSES.csv", help="the readings")
    parser.add_argument(
        "--law",
        choices=list(FORMS),
        help="fit only this pulse law (default: every formula, and a table if none fits)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.toml", help="the specification (default: PULSES.toml)")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read, fit, write, print."""
    output = arguments.output or Path(arguments.pulses.with_suffix(".toml").name)
    if output.suffix != ".toml":
        raise UserError(f"--output {output}: expected a name that ends in .toml")
    picture = output.with_suffix(".png")
    for path in (output, picture):
        require_writable(path)
    readings = read_pulses(arguments.pulses)
    for note in readings.notes:
        console.say(f"{arguments.pulses}: {note}")
    fit = fitted(readings, [arguments.law] if arguments.law else [])
    write_text(output, specification_text(fit, arguments.pulses))
    Specification.load(str(output))
    from eqprop_analog.plotting.technology import technology  # Matplotlib takes a second

    technology(fit, picture)
    _print(fit)
    console.say(f"{output}, {picture}; use it: eqprop-analog chips --specification {shell_word(output)}")
    options.report_figures(arguments, _figures(fit))


def _print(fit: TechnologyFit) -> None:
    moving = len(fit.readings.names)
    console.table(
        f"{fit.law}, {fit.readings.count:,} steps of {moving} device{'s' * (moving > 1)}",
        ["", "value", "standard error"],
        [_row(each) for each in fit.quantities()],
    )
    if len(fit.compared) > 1:
        console.table(
            f"laws, by {CRITERION}",
            ["", "criterion", "numbers adjusted", ""],
            [
                [name, f"{bic:.1f}", f"{count}", "taken" if name == fit.law else ""]
                for name, (bic, count) in fit.compared.items()
            ],
        )
    if fit.levels is not None:
        levels = fit.levels
        where = "equally spaced" if levels.equally_spaced else "as a list"
        console.say(
            f"levels: {len(levels.means)}, {where}; readings of one level have a standard deviation of "
            f"{levels.spread:.2g} S"
        )
    for word, names in zip(("on", "off"), fit.stuck, strict=True):
        if names:
            console.say(
                f"stuck {word}, and excluded from the fit: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
            )
    if fit.misfit > MISFIT:
        log.warning(
            "in some part of the window the mean step of the %s law is %.1f standard errors off; check the plot "
            "before you use the parameters",
            fit.law,
            fit.misfit,
        )
    console.say(UNMEASURED)


def _row(each: Quantity) -> list[str]:
    unit = f" {each.unit}" if each.unit else ""
    error = "" if each.error is None else f"{each.error:.2g}{unit}"
    return [
        each.key.removeprefix("conductance."),
        f"{each.value:.5g}{unit}",
        "; ".join(filter(None, [error, each.note])),
    ]


def _figures(fit: TechnologyFit) -> dict[str, object]:
    return {
        "law": fit.law,
        "criterion": {name: {"value": float(bic), "adjusted": count} for name, (bic, count) in fit.compared.items()},
        "quantities": [vars(each) for each in fit.quantities()],
        "steps": fit.readings.count,
        "devices": fit.devices,
        "stuck": {"on": list(fit.stuck[0]), "off": list(fit.stuck[1])},
        "levels": None if fit.levels is None else fit.levels.means.tolist(),
        "misfit": fit.misfit,
        "conductance": fit.technology().table(),
    }
