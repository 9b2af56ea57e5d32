"""Output of commands: messages, results, tables, and progress with rate, remaining time and current error.

With --quiet, messages and progress are omitted. If figures go to standard output (``--json -``), everything else goes
to standard error. rich is imported only where it is needed, so that `doctor` can report that it is missing.
"""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from eqprop_analog import compilation
from eqprop_analog.errors import UserError
from eqprop_analog.learning.measure import PREDICTIONS, Measure
from eqprop_analog.text import printable, sentence

if TYPE_CHECKING:
    from rich.console import Console

LINE_SECONDS = 30.0
"""Seconds between two lines of progress if the output is not a terminal."""
REFRESH_SECONDS = 0.1
"""Seconds between two updates of a progress bar; one update takes as long as training a small network on a batch."""


@dataclass
class _Manner:
    """The style of output of this command line."""

    quiet: bool = False
    verbose: bool = False
    aside: bool = False
    """Whether standard output is reserved for figures."""


_manner = _Manner()


def configure(*, quiet: bool = False, verbose: bool = False, aside: bool = False) -> None:
    """Set the style of output and print the package's log messages; with ``verbose`` all of them, with time and module."""
    _manner.quiet, _manner.verbose, _manner.aside = quiet, verbose, aside
    logger = logging.getLogger("eqprop_analog")
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Handler())


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = ("warning: " if record.levelno >= logging.WARNING else "") + sentence(record.getMessage())
        if _manner.verbose:
            module = record.name.removeprefix("eqprop_analog.")
            text = f"[{record.relativeCreated / 1000:.3f} s, {module}] {text}"
        _write(sys.stderr if _manner.quiet else _stream(), text)


def say(text: str) -> None:
    """Print a message, unless --quiet is given."""
    if not _manner.quiet:
        _write(_stream(), sentence(text))


def result(text: str) -> None:
    """Print a requested result, even with --quiet."""
    _write(_stream(), text)


def figures(text: str) -> None:
    """Print figures to standard output, even if everything else goes to standard error."""
    _write(sys.stdout, text)


def error(text: str, kind: str = "error") -> None:
    """Print an error on standard error, in one line."""
    _write(sys.stderr, f"{kind}: {sentence(text)}")


def _stream() -> TextIO:
    return sys.stderr if _manner.aside else sys.stdout


def _write(stream: TextIO, text: str) -> None:
    with written(stream):
        stream.write(f"{printable(text)}\n")


@contextmanager
def written(stream: TextIO) -> Iterator[None]:
    """Flush ``stream`` at the end of the block. Raises UserError, which names the stream, if it cannot be written."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(stream)
        name = "standard error" if stream is sys.stderr else "standard output"
        raise UserError(f"{name}: {error.strerror or error}") from error


def silence(stream: TextIO) -> None:
    """Discard the remaining output of ``stream``; otherwise Python reports an error when it flushes at exit."""
    with suppress(OSError, ValueError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@cache
def _console(aside: bool) -> "Console":
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich calls this while it handles BrokenPipeError, which `main` handles

    width = None if (sys.stderr if aside else sys.stdout).isatty() else 120
    return Plain(stderr=aside, highlight=False, soft_wrap=True, width=width)


def table(title: str, columns: Sequence[str], *sections: Sequence[Sequence[str]]) -> None:
    """Print a table of one or more ruled-off sections of rows; the first column is text, the others are numbers."""
    from rich.table import Table

    result = Table(title=printable(title), title_justify="left", title_style="bold")
    for k, name in enumerate(columns):
        result.add_column(printable(name), justify="left" if k == 0 else "right", overflow="fold")
    for rows in sections:
        for row in rows:
            result.add_row(*map(printable, row))
        result.add_section()
    with written(_stream()):
        _console(_manner.aside).print(result, markup=False)


@dataclass
class _Lines:
    """Progress as lines, for a log file or a pipe; work that takes less than LINE_SECONDS prints none."""

    description: str
    total: int
    unit: str
    measure: Measure

    def __post_init__(self) -> None:
        self.begin = self.shown = time.monotonic()
        self.compiled = compilation.total()

    def advance(self, done: int, error: float) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if now < self.shown + LINE_SECONDS or not 0 < done < self.total:
            return
        self.shown = now
        worked = now - self.begin - (compilation.total() - self.compiled)
        left = max(worked, 0) * (self.total - done) / done
        parts = [f"{done:,} of {self.total:,} {self.unit}", _in_words(error, self.measure), f"about {left:,.0f} s left"]
        say(f"{self.description.strip()}: {', '.join(filter(None, parts))}")


def _in_words(error: float, measure: Measure) -> str:
    return "" if math.isnan(error) else f"{measure.name} {measure.text(error)}"


@contextmanager
def stage(
    description: str, total: int, unit: str = "images", measure: Measure = PREDICTIONS
) -> Iterator[Callable[[int, float], Any]]:
    """Show a progress bar over ``total`` of ``unit``, or a line every LINE_SECONDS outside a terminal; nothing with --quiet.

    The callback takes the number done so far, and the error so far as defined by ``measure``, or NaN if there is none.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[error]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = _console(_manner.aside)
    hidden = _manner.quiet or not console.is_terminal
    lines = _Lines(description, total, unit, measure) if hidden and not _manner.quiet else None
    with Progress(*columns, console=console, transient=True, disable=hidden) as display:
        task = display.add_task(description, total=total, rate="", error="")
        shown = 0.0

        def advance(done: int, error: float) -> None:
            nonlocal shown
            if lines:
                lines.advance(done, error)
            if display.disable or (time.monotonic() < shown + REFRESH_SECONDS and done < total):
                return
            shown = time.monotonic()
            speed = display.tasks[0].speed
            rate = f"{speed:,.0f} {unit}/s" if speed else ""
            display.update(task, completed=done, rate=rate, error=_in_words(error, measure))

        yield advance
