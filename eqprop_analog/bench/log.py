"""The log of a bench: every written cell, pulse, applied state and reading, as lines of JSON that can be replayed."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.text import in_one_line

Array = np.ndarray
Matrices = tuple[Array, ...]
Write = Callable[[Matrices, Matrices], None]
"""Sets all conductances (S) and bias currents (A)."""
Pulse = Callable[[Matrices, Matrices], None]
"""Sends numbers of pulses to the cells (a positive number increases the conductance) and sets the bias currents (A)."""
FORMAT = "eqprop-analog bench log 1"


class BenchLog:
    """A log file to which every event adds one line; existing lines are kept, so that a session can be continued.

    Events: ``write`` and ``pulses`` hold the cells that change, ``biases`` all bias currents, ``drive`` row voltages
    and nudge currents, ``read`` node voltages. Numbers are written with all their digits.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises UserError if the file cannot be written or is not a bench log."""
        self.path = Path(path)
        new = not self.path.exists() or not self.path.stat().st_size
        if not new:
            next(events(self.path), None)
        if new:
            self._line({"format": FORMAT})

    def cells(self, event: str, crossbar: int, values: Float[Array, "rows columns"], changed: Array) -> None:
        """The cells ``changed`` of crossbar 1, 2, ... with their conductances (S) or numbers of pulses."""
        rows, columns = np.nonzero(changed)
        if rows.size:
            where = {"crossbar": crossbar, "rows": rows.tolist(), "columns": columns.tolist()}
            self._line({"event": event, "shape": list(values.shape), **where, "values": values[rows, columns].tolist()})

    def arrays(self, event: str, *arrays: Array) -> None:
        """Write one event that holds arrays of numbers."""
        self._line({"event": event, "values": [np.asarray(each).tolist() for each in arrays]})

    def _line(self, content: dict[str, Any]) -> None:
        """Append one line and close the file again, so that an interrupted session loses nothing."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"time": time.time(), **content}) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error


def events(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a log in order. Raises UserError, with the line number, for a line that is not an event."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    content = json.loads(line)
                    if number == 1 and content.get("format") != FORMAT:
                        raise ValueError(f'expected the format "{FORMAT}"')
                    if number > 1:
                        content["event"]
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    raise UserError(f"{path}, line {number}: not a bench log ({in_one_line(error)})") from error
                if number > 1:
                    yield content
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a bench log ({in_one_line(error)})") from error


def replay(
    path: str | Path, shapes: Sequence[tuple[int, int]], write: Write | None = None, pulse: Pulse | None = None
) -> Matrices:
    """Repeat all writes and pulses of a log on a board, in the same order; return the conductances (S) written last.

    ``shapes`` are those of the crossbars. ``write`` and ``pulse`` are the board's functions; without them nothing is
    sent. Raises UserError for a log of another network, or for a log that needs a function that is not given.
    """
    written = tuple(np.zeros(shape) for shape in shapes)
    biases = tuple(np.zeros(shape[1]) for shape in shapes)
    for content in events(path):
        if content["event"] == "biases":
            _set_biases(path, biases, content["values"])
        elif content["event"] == "write":
            place, values = _place(path, content, shapes)
            written[place[0]][place[1]] = values
            if write is not None:
                write(written, biases)
        elif content["event"] == "pulses":
            place, values = _place(path, content, shapes)
            counts = tuple(np.zeros(shape) for shape in shapes)
            counts[place[0]][place[1]] = values
            if pulse is not None:
                pulse(counts, biases)
            elif write is not None:
                raise UserError(f"{path}: the log holds pulses; give replay the board's pulse function")
    if write is not None:
        write(written, biases)
    return written


def _set_biases(path: str | Path, biases: Matrices, values: Sequence[Sequence[float]]) -> None:
    if [len(each) for each in values] != [len(own) for own in biases]:
        raise UserError(
            f"{path}: the log belongs to another network: it has bias currents of "
            f"{[len(each) for each in values]} nodes"
        )
    for own, each in zip(biases, values, strict=True):
        own[...] = each


def _place(path: str | Path, content: dict[str, Any], shapes: Sequence[tuple[int, int]]) -> tuple[Any, Array]:
    number = int(content["crossbar"]) - 1
    if not 0 <= number < len(shapes) or tuple(content["shape"]) != tuple(shapes[number]):
        raise UserError(
            f"{path}: the log belongs to another network: its crossbar {number + 1} has shape {content['shape']}"
        )
    return (number, (np.array(content["rows"]), np.array(content["columns"]))), np.array(content["values"])
