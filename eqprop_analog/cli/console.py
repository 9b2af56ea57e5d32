"""What commands print: messages, tables, progress with rate, remaining time and current error."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from eqprop_analog.learning.trainer import Progress as OnBatch

_out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

REFRESH_SECONDS = 0.1
"""Between two updates of a progress bar, one of which costs as much as training a small network on a batch."""


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _out.print(("warning: " if record.levelno >= logging.WARNING else "") + record.getMessage(), markup=False)


def show_log() -> None:
    """Print the package's own log messages."""
    logger = logging.getLogger("eqprop_analog")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Handler())


def say(text: str) -> None:
    """Print one message."""
    _out.print(text, markup=False)


def complain(text: str) -> None:
    """Print one error on standard error."""
    _err.print(f"error: {text}", markup=False)


def table(title: str, columns: Sequence[str], *sections: Sequence[Sequence[str]]) -> None:
    """Print a table of one or more ruled-off sections of rows; the first column is text, the others are numbers."""
    result = Table(title=title, title_justify="left", title_style="bold")
    for k, name in enumerate(columns):
        result.add_column(name, justify="left" if k == 0 else "right", overflow="fold")
    for rows in sections:
        for row in rows:
            result.add_row(*row)
        result.add_section()
    _out.print(result, markup=False)


@contextmanager
def stage(description: str, total: int, unit: str = "images") -> Iterator[OnBatch]:
    """A progress bar over ``total`` of ``unit``; nothing where the output is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[error]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_out, transient=True, disable=not _out.is_terminal) as display:
        task = display.add_task(description, total=total, rate="", error="")
        shown = 0.0

        def advance(done: int, error: float) -> None:
            nonlocal shown
            if display.disable or (time.monotonic() < shown + REFRESH_SECONDS and done < total):
                return
            shown = time.monotonic()
            speed = display.tasks[0].speed
            rate = f"{speed:,.0f} {unit}/s" if speed else ""
            display.update(task, completed=done, rate=rate, error=f"error {100 * error:.2f} %")

        yield advance
