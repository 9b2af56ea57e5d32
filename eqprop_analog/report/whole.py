"""The complete report of a run: circuit, training, comparison with ngspice, energy, and how to repeat it."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from eqprop_analog.core.equilibrium import statuses_in_words
from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.results import versions
from eqprop_analog.learning.measure import PREDICTIONS
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.report.built import built, netlists
from eqprop_analog.report.description import description_of
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.measured import confirm, confirmation, equilibria
from eqprop_analog.report.page import (
    Block,
    Code,
    Missing,
    Page,
    Section,
    Table,
    Text,
    Tile,
    download,
    history_table,
    learning_chart,
    picture,
    write_page,
)
from eqprop_analog.text import shell_word


def write_report(folder: Path, output: Path, data_dir: Path | None = None, dataset: Dataset | None = None) -> RunFolder:
    """Write the report of the run in ``folder`` to ``output``, a self-contained HTML file.

    Missing results are computed: the equilibria of test images, and, if ngspice is installed, its comparison with the
    surrogate, which is added to the run's metrics. ``data_dir`` is the folder of the data set's files. ``dataset`` is
    the run's data set, if it is loaded already. Returns the run. Raises UserError for a folder without a run.
    """
    run = RunFolder.load(folder, data_dir, dataset)
    why_not = confirm(run)
    with TemporaryDirectory() as name:
        drawn = Path(name)
        tiles, energy = _energy(run, drawn)
        sections = [
            Section("What was built", list(built(run, drawn))),
            Section("How it learned", list(_learned(run, drawn))),
            Section("What the circuit does", list(equilibria(run, drawn))),
            Section("Comparison with ngspice", list(confirmation(run, why_not))),
            Section("Energy", energy),
            Section("Netlist", list(netlists(run))),
            Section("How to repeat the run", list(_repeat(run))),
            Section("Files", [_files(run)]),
        ]
    config, done = run.config, len(run.history)
    page = Page(
        title=f"{'-'.join(map(str, config.sizes))} on {config.data_name}",
        lead=config.description or f"A {config.model} network, trained {config.method_in_words}.",
        state="finished" if run.finished else f"unfinished: {done} of {config.epochs} epochs",
        tiles=list(_tiles(run, tiles)),
        sections=sections,
        foot=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC by eqprop-analog {versions()['eqprop-analog']} from "
        f"{folder.name}. The page is self-contained.",
    )
    write_page(page, output)
    return run


def _energy(run: RunFolder, folder: Path) -> tuple[list[Tile], list[Block]]:
    """Return the figures of power and energy of the network's kind, or the reason for their absence."""
    own = description_of(run.network).energy
    if own is None:
        why = f"the energy of {run.config.model} networks is not computed"
        return [], [Missing(f"No energy figures: {why}.")]
    try:
        return own(run, folder)
    except UserError as error:
        return [], [Missing(f"No energy figures: {error}.")]


def _tiles(run: RunFolder, energy: list[Tile]) -> Iterator[Tile]:
    metrics, last = run.metrics, run.history[-1] if run.history else {}
    measure = run.config.measure
    for kind, label in (("test", "test"), ("validation", "validation"), ("train", "training")):
        value = measure.within(last, kind)
        if value is not None:
            shown = f"{label} {measure.name}, last epoch"
            yield Tile(f"{kind}_{measure.figure}", shown, measure.text(value), repr(value))
    for name in ("test_rms", "validation_rms") if measure is PREDICTIONS else ():
        if last.get(name) is not None:
            yield Tile(name, "root mean square error, last epoch", engineering(last[name], "V"), repr(last[name]))
    yield Tile("epochs", "epochs", f"{len(run.history)} of {run.config.epochs}", str(len(run.history)))
    yield Tile("seed", "seed", str(run.config.seed), str(run.config.seed), "one seed; --seed N trains others")
    agreements = metrics.get("agreement") or []
    if agreements:
        worst = max(each["largest_difference"] for each in agreements)
        met = all(each["met"] for each in agreements)
        yield Tile(
            "largest_difference",
            "ngspice, largest |ΔV|",
            f"{worst:.1e} V",
            repr(worst),
            "bounds met" if met else "bounds NOT MET",
        )
    yield from energy
    if metrics:
        rate, memory = metrics["samples_per_second"], metrics["peak_memory_bytes"]
        yield Tile(
            "samples_per_second", f"{run.config.samples_word} per second in training", f"{rate:,.0f}", repr(rate)
        )
        yield Tile("peak_memory_bytes", "peak memory", f"{memory / 2**20:,.0f} MiB", repr(memory))
        for name, words in (("free_parameters", "free parameters"), ("resistors", "resistors in the circuit")):
            if metrics.get(name) is not None:
                yield Tile(name, words, f"{metrics[name]:,}", repr(metrics[name]))
        counts = metrics["statuses"]
        found = statuses_in_words(counts, run.config.truncation)
        yield Tile(
            "statuses",
            "equilibria by status",
            f"{sum(counts.values()):,}",
            "",
            found,
        )


def _learned(run: RunFolder, folder: Path) -> Iterator[Block]:
    if not run.finished:
        yield Missing(
            f"The run is not finished: {len(run.history)} of {run.config.epochs} epochs. This page shows the state "
            "of its last checkpoint."
        )
    if not run.history:
        yield Missing("No epoch is finished yet, so that there is no learning curve.")
        return
    yield learning_chart(run.history, run.config.epochs, measure=run.config.measure)
    config = run.config
    yield history_table(run.history, config.truncation, config.measure, config.samples_word)
    what = description_of(run.network).histograms(run.network, folder / "histograms.png")
    yield picture(folder / "histograms.png", f"Histograms of the {what}.", f"After training: the {what}.")


def _repeat(run: RunFolder) -> Iterator[Block]:
    toml = run.config.toml()
    yield download("config.toml", toml.encode(), "every setting of the run")
    command = "eqprop-analog train --preset ./config.toml --output runs/again"
    if not run.finished:
        command = f"eqprop-analog train --resume --output {shell_word(run.folder)}\n{command}"
    yield Code(
        "With that file in the current folder:" if run.finished else "To resume the run, or to repeat it:", command
    )
    yield Text(
        "The same versions on the same kind of processor repeat the run bit-identically; on others, "
        "the results differ by rounding."
    )
    yield Code("config.toml:", toml)
    then = run.metrics.get("versions") or {}
    rows = [(name, then.get(name, "not recorded"), now) for name, now in versions().items()]
    yield Table("Versions", ("", "of the run", "of this report"), rows)


def _files(run: RunFolder) -> Table:
    kept = sorted(
        path for path in run.folder.iterdir() if path.suffix in (".npz", ".json", ".csv", ".toml") and path.is_file()
    )
    rows = [(path.name, f"{path.stat().st_size:,} B", hashlib.sha256(path.read_bytes()).hexdigest()) for path in kept]
    return Table(f"In {run.folder.name}", ("file", "size", "SHA-256"), rows)
