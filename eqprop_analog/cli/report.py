"""``eqprop-analog report``: a run or a study as one page of HTML."""

import argparse
from pathlib import Path

from eqprop_analog.cli import console
from eqprop_analog.errors import UserError
from eqprop_analog.files import require_writable
from eqprop_analog.report.studies import is_study, write_study_report
from eqprop_analog.report.whole import write_report

SUMMARY = "Write the report of a training run or a study: one self-contained HTML page with figures, plots and files."
EXAMPLES = """\
examples:
  the demo, into the folder of the run:  runs/demo
  another file:                          runs/mnist-100-0 --output mnist-100.html
  chips, a study or a sweep:             runs/imperfections-quick

The page of a run shows its circuit, learning curve, confirmation by ngspice, energy and netlist; that
of a study shows its figures, plots and tables. The page needs neither a network connection nor other files. While a run is
training, live.html in its folder shows its progress."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    what = "a run, finished or not, or the folder of chips, study or sweep"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=what)
    parser.add_argument("--output", type=Path, metavar="FILE.html", help="default: report.html in the run's folder")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder with the data set's files (default: cache, then download)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the report of a run or a study."""
    if arguments.folder.is_file():
        raise UserError(f"{arguments.folder}: expected the folder of a run, as train leaves it, got a file")
    output = arguments.output or arguments.folder / "report.html"
    if output.suffix not in {".html", ".htm"}:
        raise UserError(f"--output {output}: expected a file name that ends in .html, because a report is HTML")
    require_writable(output)
    if is_study(arguments.folder) and not (arguments.folder / "config.toml").exists():
        write_study_report(arguments.folder, output)
        console.say(f"{output}: {output.stat().st_size / 1e6:.1f} MB; the report of a study")
        return
    found = write_report(arguments.folder, output, arguments.data_dir)
    state = "finished" if found.finished else f"unfinished, {len(found.history)} of {found.config.epochs} epochs"
    console.say(f"{output}: {output.stat().st_size / 1e6:.1f} MB; the run is {state}")
