"""A self-contained page of HTML: no scripts, no requests, and pictures and files as data URIs."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import jinja2
from matplotlib.ticker import MaxNLocator

from eqprop_analog.core.equilibrium import statuses_in_words
from eqprop_analog.files import write_text
from eqprop_analog.learning.measure import PREDICTIONS, Measure
from eqprop_analog.plotting.style import DPI

LARGE = 200_000
"""Size, bytes, above which a download is compressed."""

WORDY = 24
"""Number of letters above which a table's entry counts as words."""
SCREEN = 96
"""Pixels per inch in CSS."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Missing:
    """Something that the page does not show, with the reason."""

    kind: ClassVar[str] = "missing"
    text: str


@dataclass(frozen=True)
class Table:
    """A table; the first column holds names, the others values."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def wordy(self) -> list[bool]:
        """For each column, whether it is left-aligned because it holds words rather than numbers."""
        return [k == 0 or max(len(row[k]) for row in self.rows) > WORDY for k in range(len(self.columns))]


@dataclass(frozen=True)
class Picture:
    """A picture with a description in words."""

    kind: ClassVar[str] = "picture"
    source: str
    """Data URI."""
    alt: str
    caption: str
    width: int
    """Width on the page, pixels; 0 is the natural width."""


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    kind: ClassVar[str] = "code"
    caption: str
    text: str


@dataclass(frozen=True)
class Download:
    """A file inside the page."""

    kind: ClassVar[str] = "download"
    name: str
    source: str
    """Data URI."""
    note: str


@dataclass(frozen=True)
class Line:
    """One curve of a chart, in the chart's units of length."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool

    @property
    def path(self) -> str:
        """The points of the curve for SVG."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """Error against epoch, drawn by the template as SVG, which is fast and has no fixed resolution."""

    kind: ClassVar[str] = "chart"
    caption: str
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    axis: str
    """Label of the vertical axis."""


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page."""

    name: str
    """Name of the figure in metrics.json, or another name."""
    label: str
    text: str
    """The value with its unit, as shown."""
    value: str = ""
    """The value for programs: SI units, all digits."""
    note: str = ""


Block = Text | Missing | Table | Picture | Code | Download | Chart


@dataclass(frozen=True)
class Section:
    """A heading and its content."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Anchor for links within the page."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    lead: str
    state: str
    """State of the run, in a word or two."""
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    foot: str
    refresh: int | None = None
    """Seconds after which a browser reloads the page."""
    done: float | None = None
    """Fraction of the work done, for a run in progress."""


def write_page(page: Page, path: Path) -> None:
    """Write the page atomically. Raises UserError if it cannot be written."""
    write_text(path, _template().render(page=page))


def picture(path: Path, alt: str, caption: str = "") -> Picture:
    """Embed a picture file, SVG or PNG; all PNGs have the same scale, so that their letters have the same size."""
    content = path.read_bytes()
    if path.suffix == ".svg":
        return Picture(data_uri(content, "image/svg+xml"), alt, caption, 0)
    width = int.from_bytes(content[16:20], "big")  # of the header at the beginning of every PNG
    return Picture(data_uri(content, "image/png"), alt, caption, round(width * SCREEN / DPI))


def download(name: str, content: bytes, note: str = "") -> Download:
    """Embed a file as a download, compressed if it is large, with its size."""
    size = f"{_bytes(len(content))}"
    kind = "text/plain;charset=utf-8"
    if len(content) > LARGE:
        content, name, kind = gzip.compress(content, mtime=0), f"{name}.gz", "application/gzip"
        size = f"{_bytes(len(content))}, {size} unpacked"
    return Download(name, data_uri(content, kind), f"{size}{'; ' + note if note else ''}")


def data_uri(content: bytes, kind: str) -> str:
    """Return a URI that holds ``content``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640.0, 300.0, 52.0, 14.0, 14.0, 44.0
"""Of a chart and its margins."""


def _held_out(history: Sequence[dict[str, Any]]) -> str:
    """Return the name of the held-out set of a run's epochs."""
    return "validation" if any("validation_error" in entry for entry in history) else "test"


def learning_chart(
    history: Sequence[dict[str, Any]],
    epochs: int,
    running: tuple[float, float] | None = None,
    measure: Measure = PREDICTIONS,
) -> Chart:
    """Draw the training and the test or validation error over ``epochs``; ``running``: (epochs done, error so far)."""
    held_out = _held_out(history)
    train, test = (
        [
            (float(entry["epoch"]), measure.factor * value)
            for entry in history
            if (value := measure.within(entry, kind)) is not None
        ]
        for kind in ("train", held_out)
    )
    now = measure.factor * running[1] if running else 0.0
    top = max([y for _, y in (*train, *test)] + [now, 0.1]) * 1.05
    last = max(epochs, 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    lines = [
        Line(
            f"{name}, last {points[-1][1]:{measure.digits}} {measure.unit}", [place(*point) for point in points], dashed
        )
        for name, points, dashed in (("training", train, True), (held_out, test, False))
        if points
    ]
    if running:
        so_far = [*train[-1:], (running[0], now)]
        lines.append(
            Line(f"this epoch so far, {measure.text(running[1])}", [place(*point) for point in so_far], dashed=True)
        )
    across = [x for x in MaxNLocator(8, integer=True).tick_values(0, last) if 0 <= x <= last]
    up = [y for y in MaxNLocator(5).tick_values(0, top) if 0 <= y <= top]
    return Chart(
        f"{measure.axis.capitalize()} against epoch: training (of the free phases, before each update) dashed, held "
        "out solid.",
        lines,
        [(place(x, 0)[0], f"{x:g}") for x in across],
        [(place(0, y)[1], f"{y:g}") for y in up],
        measure.axis,
    )


def history_table(
    history: Sequence[dict[str, Any]], truncation: str = "", measure: Measure = PREDICTIONS, samples: str = "images"
) -> Table:
    """Make a table with one row per epoch; for many epochs, the first, equally spaced ones and the last.

    ``truncation``: see statuses_in_words.
    """
    step = -(-len(history) // 30)
    rows = [entry for k, entry in enumerate(history) if k % step == 0 or k == len(history) - 1]
    held_out = _held_out(history)
    return Table(
        "Epoch by epoch" if step == 1 else f"Every {step} epochs, and the last epoch",
        (
            "epoch",
            f"training {measure.name}",
            f"{held_out} {measure.name}",
            samples,
            "seconds of training",
            "equilibria by status",
        ),
        [
            (
                str(entry["epoch"]),
                *(
                    "not tested" if value is None else measure.text(value)
                    for value in _errors(entry, held_out, measure)
                ),
                f"{entry['samples']:,}",
                f"{entry['seconds']:,.1f}",
                statuses_in_words(entry["statuses"], truncation),
            )
            for entry in rows
        ],
    )


def _errors(entry: dict[str, Any], held_out: str, measure: Measure) -> tuple[float | None, float | None]:
    return measure.within(entry, "train"), measure.within(entry, held_out)


def _bytes(count: int) -> str:
    return f"{count} B" if count < 1000 else f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.2f} MB"


@cache
def _template() -> jinja2.Template:
    source = files("eqprop_analog.report") / "templates" / "page.html.j2"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source.read_text(encoding="utf-8"))
