"""``eqprop-analog presets``: the training presets, and every setting of each."""

import argparse

from eqprop_analog.cli import console, options
from eqprop_analog.experiments.presets import presets, resolve

SUMMARY = "List the training presets, or print one with every setting as a TOML file that you can edit and train from."
EXAMPLES = """\
Without a name, all presets are listed, one per line.

examples:
  write every setting of a preset to a file:  net1 > my.toml
  check a file of your own:                   my.toml

To train from a file: `eqprop-analog train --preset my.toml`. The config.toml of a run is such a file, too."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "preset", nargs="?", metavar="NAME", help="a preset, or a TOML file (default: list all presets)"
    )
    options.add_json(parser, "every setting")


def run(arguments: argparse.Namespace) -> None:
    """List the presets, or print one of them."""
    if arguments.preset is not None:
        settings = resolve(arguments.preset, {})
        console.result(f"{_heading(arguments.preset)}{settings.toml()}".rstrip())
        options.report_figures(arguments, {"config": settings.model_dump(mode="json")})
        return
    found = {name: resolve(name, {}) for name in presets()}
    for name, settings in found.items():
        what = [name, settings.model, settings.dataset, f"{settings.epochs} epochs", settings.description]
        console.result("{:<25}{:<11}{:<14}{:>10}  {}".format(*what))
    dumped = {name: settings.model_dump(mode="json") for name, settings in found.items()}
    options.report_figures(arguments, {"presets": dumped})


def _heading(preset: str) -> str:
    """Return the comment at the head of a packaged preset: its source, and the choice of its numbers."""
    path = presets().get(preset)
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    count = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(f"{line}\n" for line in lines[:count])
