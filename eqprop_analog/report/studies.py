"""The report of a study: chips, random circuits, or a sweep over settings, as one page made from the files in its folder."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eqprop_analog.errors import UserError
from eqprop_analog.experiments.records import Figures, read_record
from eqprop_analog.experiments.results import versions
from eqprop_analog.files import UNREADABLE
from eqprop_analog.report.page import Block, Missing, Page, Section, Table, Text, Tile, download, picture, write_page
from eqprop_analog.text import printable

PERCENT = (
    "error",
    "mean_error",
    "train_error",
    "interval",
    "yield",
    "ideal_error",
    "error_deviation",
    "train_error_deviation",
)
"""Columns of fractions that are shown in percent."""
PICTURES = {
    "imperfections.png": "Test error against each imperfection, one curve per protocol; bars are 95 % intervals over chips.",
    "chips.png": "Test error of every chip by protocol; and the training error, epoch by epoch, on chips and in software.",
    "yield.png": "Fraction of the chips whose test error is at most the target, against each imperfection.",
    "agreement.png": "Differences between ngspice and the surrogate, and the same against the condition number of the circuit.",
    "sweep.png": "Error of the last epoch against the settings that were varied; bars are standard deviations over seeds.",
    "curves.png": "Error of every point of the grid after each epoch.",
}
TABLES = {
    "summary.csv": "Mean over chips, by curve, point and protocol",
    "sweep.csv": "Every point of the grid",
}
DIFFERENCES = {
    "relative_difference": "largest |ΔV| / max(1 V, |V|)",
    "gradient_difference": "gradients, largest |Δ| / layer's largest",
}
"""Headings of figures of random circuits, by the name of the figure."""
ROWS = 300
"""Largest number of rows of a table; the file in the folder has all of them."""


def is_study(folder: Path) -> bool:
    """Return whether a folder contains the figures of a study."""
    return _figures_file(folder) is not None


def write_study_report(folder: Path, output: Path) -> None:
    """Write the page to ``output``, self-contained. Raises UserError for figures that cannot be read."""
    path = _figures_file(folder)
    if path is None:
        raise UserError(
            f"{folder}: expected study.json or sweep.json, as chips, study and sweep write them; got neither"
        )
    figures = read_record(path, Figures, "the figures of a study")
    sections = [
        Section("Results", list(_results(folder, figures))),
        Section("Settings", list(_settings(figures))),
        Section("Files", list(_files(folder))),
    ]
    page = Page(
        title=f"{_kind(path, figures)}: {folder.resolve().name}",
        lead=str(figures.get("study", {}).get("description") or _lead(path, figures)),
        state="finished",
        tiles=list(_tiles(figures)),
        sections=sections,
        foot=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC by eqprop-analog {versions()['eqprop-analog']} from "
        f"{folder.resolve().name}. The page is self-contained.",
    )
    write_page(page, output)


def _figures_file(folder: Path) -> Path | None:
    return next((folder / name for name in ("study.json", "sweep.json") if (folder / name).is_file()), None)


def _kind(path: Path, figures: Mapping[str, Any]) -> str:
    return "Sweep" if path.name == "sweep.json" else "Chips" if "study" in figures else "Random circuits"


def _lead(path: Path, figures: Mapping[str, Any]) -> str:
    if path.name == "sweep.json":
        return f"Preset {figures.get('preset')}, trained at every point of a grid of settings."
    return "Random circuits, each solved in ngspice and by the surrogate, free and nudged."


def _tiles(figures: Mapping[str, Any]) -> Iterator[Tile]:
    """Return the figures that summarize the whole study."""
    for name in ("circuits", "equilibria", "gradients", "seed"):
        if isinstance(figures.get(name), int):
            yield Tile(name, name, f"{figures[name]:,}", str(figures[name]))
    for name, label in DIFFERENCES.items():
        largest = (figures.get(name) or {}).get("largest")
        if largest is not None:
            yield Tile(name, label, f"{largest:.1e}", repr(largest))
    if "met" in figures:
        yield Tile("met", "bounds", "met" if figures["met"] else "NOT MET", str(figures["met"]))
    chips = figures.get("study", {}).get("chips")
    if chips:
        yield Tile(
            "chips",
            "chips at each point",
            f"{chips}",
            str(chips),
            "no confidence interval for one chip" if chips == 1 else "",
        )
    if isinstance(figures.get("points"), list):
        yield Tile("points", "points of the grid", f"{len(figures['points'])}", str(len(figures["points"])))
    known = [group["error"] for group in figures.get("groups", []) if group.get("error") is not None]
    if known:
        held_out = f"lowest {figures.get('held_out', 'held-out')} error"
        yield Tile("lowest", held_out, f"{100 * min(known):.2f} %", repr(min(known)))


def _results(folder: Path, figures: Mapping[str, Any]) -> Iterator[Block]:
    found = False
    for name, caption in PICTURES.items():
        if (folder / name).is_file():
            found = True
            yield picture(folder / name, caption, caption)
    for name, caption in TABLES.items():
        if (folder / name).is_file():
            found = True
            yield from _table(folder / name, caption)
    spread = {name: figures[name] for name in (*DIFFERENCES, "condition") if figures.get(name)}
    if spread:
        columns = list(next(iter(spread.values())))
        rows = [
            (name.replace("_", " "), *(f"{value:.2e}" for value in values.values())) for name, values in spread.items()
        ]
        yield Table("Distributions over the circuits", ("", *columns), rows)
    groups = figures.get("groups")
    if groups:
        heads = [_head(name) for name in groups[0]]
        cells = [
            [_shown(name, "" if value is None else str(value)) for name, value in group.items()] for group in groups
        ]
        yield Table("Mean and standard deviation over seeds", heads, cells)
    if figures.get("ngspice"):
        yield _in_ngspice(figures["ngspice"])
    if not found:
        yield Missing(
            "The folder contains neither pictures nor tables; run the command again to continue from the existing "
            "files."
        )


def _in_ngspice(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [
        (
            f"{row['sweep']} {row['x']:g}, {row['protocol']}",
            str(row["witness"]),
            "" if row["relative_difference"] is None else f"{row['relative_difference']:.1e}",
            "met" if row["met"] else "NOT MET",
        )
        for row in rows
    ]
    return Table("The same chips in ngspice", ("chip", "solved in ngspice", "|ΔV| / largest V", "bound"), shown)


def _table(path: Path, caption: str) -> Iterator[Block]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except UNREADABLE as error:
        yield Missing(f"No table of {path.name}: {error}.")
        return
    if not rows:
        return
    columns = [name for name in rows[0] if name is not None]
    heads = [_head(name) for name in columns]
    shown = [[_shown(name, row.get(name)) for name in columns] for row in rows[:ROWS]]
    yield Table(caption + (f" (the first {ROWS} of {len(rows)})" if len(rows) > ROWS else ""), heads, shown)


def _head(name: str) -> str:
    return f"{name.replace('_', ' ')} (%)" if name in PERCENT else name.replace("_", " ")


def _shown(name: str, value: str | None) -> str:
    if not value:
        return ""
    try:
        number = float(value)
    except ValueError:
        return printable(value)
    return f"{100 * number:.2f}" if name in PERCENT else f"{number:.4g}"


def _settings(figures: Mapping[str, Any]) -> Iterator[Block]:
    given = figures.get("study") or figures.get("options") or {}
    rows = [(name, printable(json.dumps(value))) for name, value in given.items() if not isinstance(value, dict | list)]
    if rows:
        yield Table("Settings", ("name", "value"), rows)
    then = figures.get("versions") or {}
    yield Table("Versions", ("", "of the study"), [(name, str(value)) for name, value in then.items()])


def _files(folder: Path) -> Iterator[Block]:
    yield Text("These files contain every figure of this page.")
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".csv", ".json", ".toml"):
            yield download(path.name, path.read_bytes(), "")
