"""``eqprop-analog chips``: statistics of training on many imperfect chips, for three protocols."""

import argparse
import math
from concurrent.futures import TimeoutError as TimeLimitExceeded
from pathlib import Path
from typing import Any

from eqprop_analog.cli import console, options
from eqprop_analog.cli.samples import add_own_data
from eqprop_analog.cli.settings import add_settings
from eqprop_analog.cli.train import overridden
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.presets import OWN_SHAPES
from eqprop_analog.experiments.solvers import SURROGATE
from eqprop_analog.files import locked, packaged, require_writable, write_csv
from eqprop_analog.networks.resistive.chips import monte_carlo
from eqprop_analog.networks.resistive.chips.confirmation import LARGEST_DIFFERENCE, confirmed
from eqprop_analog.networks.resistive.chips.plots import errors, one_by_one, yields
from eqprop_analog.networks.resistive.chips.protocols import PROTOCOLS
from eqprop_analog.networks.resistive.chips.study import ONLY, Case, Study
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.cluster import workers_for
from eqprop_analog.spice.ngspice.tasks import ClusterError

SUMMARY = (
    "Implement a network on imperfect chips: train it in situ, program a network that was trained ex "
    "situ, or fine-tune it on the chip."
)
DEFAULT = "imperfections-quick"
EXAMPLES = """\
examples:
  the short study, under ten minutes:           --study imperfections-quick --workers 2
  the full study, two hours of one core:        --study imperfections --workers 2
  five chips of one technology:                 --specification pcm-joshi2020 --chips 5 --workers 2
  a specification of your own:                  --specification my-fab.toml
  your devices, diodes and data:                --specification my-fab.toml --diode mine.toml --dataset digits --layers 64 32 10
  a study of your own:                          --study my-study.toml

The protocol "in situ" trains an untrained network on the chip. "Ex situ" trains the ideal circuit and programs the result into
the chip. "Fine-tuned" continues training there for one epoch. Every chip has a file in the output folder; an interrupted study
continues with the missing chips. Points that the study lists under confirm are also solved in ngspice."""
TIME_LIMIT = 7200.0
"""Time limit of one chip, seconds."""
KIND = "resistive"
"""The family of the networks on chips."""
FIXED = ("seed", "workers", "tile", "link_resistance", "read_at", *ONLY)
"""Settings without an option: they belong to the lot or the specification, or have one possible value."""
IMAGES = 100
"""Default number of test images on which a chip is confirmed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--study",
        metavar="NAME|FILE",
        help=f"one of {', '.join(packaged('studies'))}, or a TOML file (default {DEFAULT})",
    )
    what.add_argument(
        "--specification",
        metavar="NAME|FILE",
        help=f"chips of one specification: one of {', '.join(packaged('specifications'))}, or a TOML file",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"with --specification: the training, a preset or a TOML file (default: mnist-100 of the quick study; if a "
        f"setting is given, {OWN_SHAPES[SURROGATE]} with the conductance window of the devices, so that its diodes are not "
        f"scaled)",
    )
    parser.add_argument(
        "--target-error",
        type=float,
        metavar="X",
        help="largest test error of a good chip, as a fraction (default 0.05)",
    )
    parser.add_argument("--chips", type=int, metavar="N", help="chips for each point (default: that of the study)")
    parser.add_argument("--seed", type=int, help="seed of all chips (default: that of the study)")
    options.add_workers(parser)
    parser.add_argument("--images", type=int, metavar="N", help=f"test images solved in ngspice (default {IMAGES})")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with the four IDX files of the data set")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default runs/NAME")
    options.add_json(parser)
    add_settings(parser, [KIND], FIXED, "with --specification; a study file has these settings in its table [training]")
    add_own_data(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure the missing chips, confirm the selected ones in ngspice, and report all results."""
    for name, least in (("chips", 1), ("seed", 0), ("images", 1)):
        if (value := getattr(arguments, name)) is not None and value < least:
            raise UserError(f"--{name}: expected at least {least}, got {value}")
    options.count_workers(arguments)
    name, study = _study(arguments)
    folder = (arguments.output or Path("runs") / name).absolute()
    require_writable(folder / "chips.csv")
    if any(case.keep for case in monte_carlo.distinct(study)):
        libngspice.library_path()
        arguments.images = IMAGES if arguments.images is None else arguments.images
    elif arguments.images is not None:
        raise UserError(f"--images: no point of {name} is solved in ngspice (confirm); leave it out")
    for note in study.scaling_notes():
        console.say(note)
    where = folder, arguments.data_dir and arguments.data_dir.absolute()
    with locked(folder):
        work = workers_for(arguments.workers, TIME_LIMIT)
        try:
            monte_carlo.complete(study, *where, work, console.stage)
        finally:
            work.close()
        agreements = _confirm(study, where, arguments)
        _report(study, where, agreements, arguments)


def _study(arguments: argparse.Namespace) -> tuple[str, Study]:
    """The name of the study and the study: the one that is named, or a single point of one specification."""
    changes = {
        name: value for name in ("chips", "seed", "target_error") if (value := getattr(arguments, name)) is not None
    }
    training = {name: value for name, value in overridden(arguments).items() if name not in FIXED}
    if arguments.specification is None:
        given = ["preset"] * (arguments.preset is not None) + list(training)
        if given:
            raise UserError(
                f"--{given[0].rpartition('.')[2].replace('_', '-')}: needs --specification; a study file has this setting in "
                f"preset and [training]"
            )
        name = DEFAULT if arguments.study is None else arguments.study
        study = Study.load(name)
        return Path(name).stem, Study.of(study.model_dump() | changes)
    specification = Specification.load(arguments.specification)
    base = Study.load(DEFAULT)
    only: dict[str, Any] = {"name": "chips", "label": specification.name, "points": [{"x": 0}], "confirm": 0.0}
    own = training or arguments.preset is not None
    if specification.wires.resistance:  # few updates, because each one repeats the elimination of the crossbars
        (wires,) = (sweep for sweep in base.sweeps if sweep.name == "wires")
        only |= {"confirm": None, "protocols": wires.protocols, "training": {} if own else wires.training}
    if own:
        changes |= _trained_otherwise(arguments.preset, training, specification)
    values = base.model_dump() | {"specification": specification.model_dump(), "sweeps": [only]} | changes
    return Path(arguments.specification).stem, Study.of(values)


def _trained_otherwise(preset: str | None, training: dict[str, Any], specification: Specification) -> dict[str, Any]:
    """The preset of the study and its settings, from the command line."""
    if preset is not None:
        return {"preset": preset, "training": training}
    window = specification.technology.window
    own = {"conductance_window": (window.lowest, window.highest), **training}
    return {"preset": OWN_SHAPES[SURROGATE], "training": own}


def _confirm(study: Study, where: tuple[Path, Path | None], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Comparison of the stored chips with ngspice, without those that failed."""
    rows = [each for each in study.cases() if each[2].keep and _works(where[0], each[2])]
    result = []
    with console.stage("chips in ngspice", len(rows), "chips") as progress:
        for number, (sweep, point, case) in enumerate(rows, start=1):
            try:
                figures = confirmed(*where, case, arguments.images, arguments.workers)
            except ClusterError:
                raise
            except (UserError, TimeLimitExceeded) as error:
                figures = {"images": arguments.images, "witness": str(error), "relative_difference": None, "met": False}
            result.append({"sweep": sweep.name, "x": point.x, "protocol": case.protocol, **figures})
            progress(number, math.nan)
    return result


def _works(folder: Path, case: Case) -> bool:
    figures = monte_carlo.read(folder, case)
    return figures is not None and "failure" not in figures


def _report(
    study: Study, where: tuple[Path, Path | None], agreements: list[dict[str, Any]], arguments: argparse.Namespace
) -> None:
    folder = where[0]
    rows, software = monte_carlo.table(study, folder), monte_carlo.software_table(study, *where)
    summary = monte_carlo.summary(study, rows, software)
    plain = [{name: row[name] for name in row if name not in ("statuses", "training_errors")} for row in rows]
    write_csv(folder / "chips.csv", plain)
    write_csv(folder / "summary.csv", summary)
    if study.varies:
        pictures = ["imperfections.png", "yield.png"]
        errors(study, summary, folder / pictures[0])
        yields(study, summary, folder / pictures[1])
    else:
        pictures = ["chips.png", *monte_carlo.networks_of_first(study, folder)]
        one_by_one(study, summary, rows, software, folder / pictures[0])
    figures = {
        "study": study.model_dump(mode="json"),
        "summary": summary,
        "ngspice": agreements,
        "software": software,
        "chips": rows,
    }
    options.report_figures(arguments, figures, folder / "study.json")
    _print(study, summary, agreements)
    console.say(f"in {folder}: {', '.join(('chips.csv', 'summary.csv', 'study.json', *pictures))}")
    for failure in sorted({row["failure"] for row in rows if "failure" in row}):
        console.say(f"a chip failed: {failure}")
    missing = sum(row["missing"] for row in summary)
    if missing:
        raise UserError(
            f"{missing} chips are missing, because they exceeded their time limit or lost their process; run "
            "the same command again to continue with them"
        )
    missed = [each for each in agreements if not each["met"]]
    if missed:
        raise NotMetError(
            f"ngspice and the surrogate differ by more than {LARGEST_DIFFERENCE:g} at {missed[0]['sweep']} = {missed[0]['x']:g}"
        )


def _print(study: Study, summary: list[dict[str, Any]], agreements: list[dict[str, Any]]) -> None:
    sections = []
    over = "one chip" if study.chips == 1 else f"mean of {study.chips} chips ± 95 % interval"
    for sweep in study.sweeps:
        section = []
        for point in sweep.points:
            at = [row for row in summary if (row["sweep"], row["x"]) == (sweep.name, point.x)]
            cells = {row["protocol"]: _cell(row) for row in at}
            first = "" if at[0]["ideal_error"] is None else f"{100 * at[0]['ideal_error']:.2f} %"
            where = f"{sweep.label}: {point.x:g}" if study.varies else sweep.label
            section.append([where, first, *(cells.get(name, "") for name in PROTOCOLS)])
        sections.append(section)
    console.table(
        f"test error, {over} (in parentheses: chips with at most {100 * study.target_error:g} %)",
        ["", "ideal software", *PROTOCOLS],
        *sections,
    )
    if agreements:
        console.table(
            f"the same chips in ngspice, {agreements[0]['images']} test images each",
            ["", "solved in ngspice", "|ΔV| / largest V", "predictions"],
            [
                [
                    f"{each['sweep']} {each['x']:g}, {each['protocol']}" if study.varies else each["protocol"],
                    each["witness"],
                    "none" if each["relative_difference"] is None else f"{each['relative_difference']:.1e}",
                    "" if "same_predictions" not in each else "the same" if each["same_predictions"] else "DIFFER",
                ]
                for each in agreements
            ],
        )


def _cell(row: dict[str, Any]) -> str:
    if row["mean_error"] is None:
        return "fails" if row["chips"] else "missing"
    band = "" if row["interval"] is None else f" ± {100 * row['interval']:.2f}"
    failures = f", {row['failures']} fail" if row["failures"] else ""
    failures += f", {row['missing']} missing" if row["missing"] else ""
    return f"{100 * row['mean_error']:.2f}{band} % ({100 * row['yield']:.0f} %{failures})"
