"""``eqprop-analog train``: train a preset's network, then verify it in ngspice."""

import argparse
from pathlib import Path
from typing import Any

from eqprop_analog import data
from eqprop_analog.characterization.device_file import diode_table
from eqprop_analog.cli import console, options, wiring
from eqprop_analog.cli.samples import add_own_data, own_settings
from eqprop_analog.cli.settings import add_settings, names
from eqprop_analog.cli.simulate import agreement_rows, require_met
from eqprop_analog.core.equilibrium import statuses_in_words
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.agreement import SAMPLES, Agreement, confirmed, require_possible
from eqprop_analog.experiments.batches import first_test_images
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import DEFAULT_PRESETS, OWN_SHAPES, presets, resolve, usual_preset
from eqprop_analog.experiments.results import Run, add_agreement
from eqprop_analog.experiments.run import train
from eqprop_analog.experiments.solvers import SURROGATE, takes_workers
from eqprop_analog.files import locked
from eqprop_analog.spice.ngspice.cluster import current_cluster
from eqprop_analog.text import shell_word

FLAT_AFTER = 60
"""Seconds of training after which a comparison in flat form, which takes less than a minute, is worthwhile."""
SUMMARY = (
    "Train a resistive or Hopfield network by equilibrium propagation, on images or on a data set "
    "of your own, with the surrogate "
    "or in ngspice."
)
EXAMPLES = f"""\
presets: {", ".join(presets())} (or a .toml file; the config.toml of a run repeats that run)

examples:
  the main network, with the surrogate:        --output runs/main
  the same circuit trained in ngspice:         --solver ngspice --workers 2 --limit 2000 --epochs 1
  a Hopfield circuit in ngspice, 8x8 digits:   --preset digits-hopfield-ngspice --epochs 2
  BPTT, with smaller rates:                     --preset hopfield-3h --method bptt --rate-factor 0.3
  your own layer sizes on Fashion-MNIST:        --dataset fashion-mnist --layers 784 100 50 10 --epochs 3
  your own table, classes in column kind:      --dataset sensors.csv --target-column kind
  devices of 1 to 100 uS, amplifier gain 3:    --layers 784 50 10 --conductance-window 1e-6 1e-4 --amplifier-gain 3
  resume after an interruption:                --output runs/main --resume

Repeating the same command resumes the run, too."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command; a preset sets everything, and other options override single settings."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"see below; default {DEFAULT_PRESETS['surrogate']}, with --solver ngspice {DEFAULT_PRESETS['ngspice']}; if a "
        f"circuit is described ({', '.join('--' + name.replace('_', '-') for name in CIRCUIT)}) "
        f"{OWN_SHAPES['surrogate']} or {OWN_SHAPES['ngspice']}, whose nudge and rates follow from the circuit; with "
        "--resume the settings of the run folder",
    )
    add_settings(parser)
    add_own_data(parser)
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"folder with the four IDX files, or {data.CIFAR_ARCHIVE} (default: cache, then "
        "download); or the folder to which your "
        "own data file was moved",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="run folder (default runs/PRESET-SEED)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the run in --output with the settings of its folder, and fail if there is none; "
        "repeating the same command also "
        "resumes it",
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="do not compare the trained network with ngspice; `eqprop-analog verify RUN` does it later",
    )
    options.add_cluster(parser)
    options.add_json(parser)


CIRCUIT = ("layers", "diode", "conductance_window", "amplifier_gain", "input_gain")
"""Settings that define the circuit."""


def run(arguments: argparse.Namespace) -> None:
    """Train, verify and report."""
    overrides = overridden(arguments)
    cluster = current_cluster()
    if cluster is not None:
        overrides.setdefault("workers", cluster.threads)
    own = overrides.get("dataset", "mnist") not in data.SHAPES
    usual = OWN_SHAPES if own or any(name in overrides for name in CIRCUIT) else DEFAULT_PRESETS
    preset = usual_preset(usual, overrides.get("solver")) if arguments.preset is None else arguments.preset
    folder = _usual_folder(preset, overrides, arguments.data_dir) if arguments.output is None else arguments.output
    config = resolve(_resumed_settings(arguments, folder) or preset, overrides, arguments.data_dir)
    solver = getattr(config, "solver", SURROGATE)
    if cluster is not None and not takes_workers(solver):
        raise UserError(
            f"--cluster: solver {solver} trains only in this process; choose --solver ngspice, or train many networks "
            "at once by `eqprop-analog sweep --cluster`"
        )
    verify = not arguments.no_verify
    config.network()  # settings that make no network are refused before the data are read
    dataset = config.load_data(arguments.data_dir)
    finished, agreements = train_and_verify(config, dataset, folder, arguments.resume, verify=verify)
    report(config, finished, agreements)
    options.write_json(arguments.json, finished.metrics)
    require_met(agreements)


def overridden(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as options, by name."""
    given = {name: value for name in names() if (value := getattr(arguments, name, None)) is not None}
    if "diode" in given:
        given["diode"] = diode_table(given["diode"])
    if "cell" in given:
        given["cell"] = wiring.cell_table(given["cell"])
    return given | {f"own_data.{name}": value for name, value in own_settings(arguments).items()}


def _usual_folder(preset: str, overrides: dict[str, Any], data_dir: Path | None) -> Path:
    config, name = resolve(preset, overrides, data_dir), Path(preset).stem
    if name in OWN_SHAPES.values() and config.own_data is not None:
        return Path("runs") / "-".join([Path(config.dataset).stem, *map(str, config.sizes), str(config.seed)])
    sizes = [*map(str, config.sizes)] if name in OWN_SHAPES.values() else []
    return Path("runs") / "-".join([name, *sizes, str(config.seed)])


def _resumed_settings(arguments: argparse.Namespace, folder: Path) -> str | None:
    """Return the settings file of a run that is resumed, if no preset is named."""
    settings = folder / "config.toml"
    return str(settings) if arguments.resume and arguments.preset is None and settings.exists() else None


def train_and_verify(
    config: TrainConfig, dataset: data.Dataset, folder: Path, resume: bool, *, verify: bool = True, flat: bool = False
) -> tuple[Run, list[Agreement]]:
    """Train; unless ``verify`` is False or ngspice is missing, compare the network with its circuit on 20 images.

    The circuit is in Norton form. With ``flat``, or after training for FLAT_AFTER seconds, the first image is also
    solved with every resistor.
    """
    sizes = "-".join(map(str, config.sizes))
    for sentence in dataset.in_words() if isinstance(dataset, data.OwnDataset) else ():
        console.say(sentence)
    console.say(f"training {sizes} on {config.data_name} {config.method_in_words}, into {folder}")
    if config.rule_in_words:
        console.say(config.rule_in_words)
    with locked(folder):
        finished = train(config, dataset, folder, resume, console.stage)
        if verify and finished.network.convex:
            flat = flat or sum(epoch["seconds"] for epoch in finished.metrics["history"]) >= FLAT_AFTER
            return finished, _verified(config, finished, dataset, flat)
    return finished, []


def _verified(config: TrainConfig, finished: Run, dataset: data.Dataset, flat: bool) -> list[Agreement]:
    network = config.circuit(finished.network)
    try:
        require_possible(network)
    except UserError as error:
        console.say(f"not verified in ngspice: {error}")
        return []
    images, targets = first_test_images(config, dataset, SAMPLES)
    beta = config.circuit_beta(network)
    agreements = confirmed(
        network, images, targets, beta, getattr(config, "workers", 1), flat=flat, stage=console.stage
    )
    add_agreement(finished, agreements)
    if not flat and "flat" in network.forms[1:]:
        console.say(
            f"the flat form, with every resistor, was not solved, because the training took less than {FLAT_AFTER} s; "
            f"eqprop-analog verify {shell_word(finished.folder)} solves it, too"
        )
    return agreements


def report(config: TrainConfig, finished: Run, agreements: list[Agreement]) -> None:
    """Print the results and their location."""
    metrics: dict[str, Any] = finished.metrics
    held_out = "test" if metrics["test_error"] is not None else "validation"
    rms, within = metrics["history"][-1].get(f"{held_out}_rms"), config.right_within
    what = "error" if within is None else f"samples off by more than {within:g} V"
    wrong = [
        [f"{held_out} {what}, last epoch", f"{100 * metrics[f'{held_out}_error']:.2f} %"],
        [f"training {what}, last epoch", f"{100 * metrics['train_error']:.2f} %"],
    ]
    off = [
        *([] if rms is None else [[f"{held_out} error of the outputs, root mean square (mV)", f"{1e3 * rms:.3g}"]]),
        *([] if rms is None else _in_own_units(held_out, rms, metrics)),
    ]
    rows = [
        *(off + wrong if config.regression else wrong + off),
        [f"{config.samples_word} per second in training", f"{metrics['samples_per_second']:,.0f}"],
        ["peak memory (MiB)", f"{metrics['peak_memory_bytes'] / 2**20:,.0f}"],
        ["free parameters", f"{metrics['free_parameters']:,}"],
    ]
    if "resistors" in metrics:
        rows.append(["resistors in the circuit", f"{metrics['resistors']:,}"])
    if metrics["statuses"]:  # a feed-forward network has no equilibria
        rows.append(["equilibria by status", statuses_in_words(metrics["statuses"], config.truncation)])
    if "device_name" in metrics:
        rows.append(["trained on", f"{metrics['device_name']}, torch {metrics['torch']}"])
    copy = metrics["config"].get("data_copy")
    title = f"{finished.folder}: the trained network" + (f" ({copy} of the data)" if copy else "")
    title += ", and ngspice against the surrogate" if agreements else ""
    sections = [rows, *(agreement_rows(result) for result in agreements)]
    console.table(title, ["figure", "value"], *sections)
    files = ", ".join(sorted(path.name for path in finished.folder.iterdir() if not path.name.startswith(".")))
    console.say(f"in {finished.folder}: {files}")


def _in_own_units(held_out: str, rms: float, metrics: dict[str, Any]) -> list[list[str]]:
    """Return the error of a regression with one target in the unit of the target."""
    targets = metrics.get("data", {}).get("targets", {"unit": []})
    if len(targets["unit"]) != 1:
        return []
    return [[f"{held_out} error, {(targets['names'] or ['target'])[0]}", f"{rms * targets['unit'][0]:.4g}"]]
