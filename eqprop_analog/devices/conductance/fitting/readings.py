"""Readings of conductances between pulses, from a table: the readings, and the pulses between two readings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.columns import Columns, read_columns
from eqprop_analog.errors import UserError

Array = np.ndarray

COLUMNS = {"pulse": "", "polarity": None, "conductance": "S", "width": "s", "device": None}
OPTIONAL = ("width", "device")
UP = ("+1", "1", "+", "up", "set", "potentiation", "pot", "p", "ltp", "1.0", "+1.0", "positive", "pos", "plus")
DOWN = ("-1", "-", "−1", "−", "down", "reset", "depression", "dep", "d", "ltd", "-1.0", "negative", "neg", "minus")
NONE = ("0", "", "none", "read", "0.0")
"""Spellings of a polarity, in lower case: a pulse that raises the conductance, one that lowers it, a reading without a pulse."""
LONGEST = 32
"""Largest number of steps in one sequence; a longer sequence is split, which loses one step per split."""
MOST_PULSES = 1e5
"""Largest number of pulses between two readings."""
FEWEST = 10
"""Smallest number of steps for a fit."""
NEGATIVE = 0.02
"""Fraction of the largest reading; a reading further below zero is not noise."""
IMPLAUSIBLE = 0.1
"""Conductance, siemens, above that of any programmable device."""


@dataclass(frozen=True, eq=False)
class Readings:
    """Sequences of successive readings, one per row; short ones are padded with steps that do not count."""

    names: tuple[str, ...]
    """Names of the devices."""
    device: Int[Array, " pieces"]
    """The device of each sequence."""
    conductance: Float[Array, "pieces steps+1"]
    """Siemens."""
    polarity: Float[Array, "pieces steps"]
    """Number of pulses between two readings, positive for pulses up; 0 if there are none."""
    width: Float[Array, "pieces steps"]
    """Width of these pulses relative to the usual width."""
    there: Bool[Array, "pieces steps"]
    """Which steps count."""
    usual_width: float | None
    """Median width, seconds; None if the file has no widths."""
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of steps that count."""
        return int(self.there.sum())

    @property
    def widths_vary(self) -> bool:
        """Whether pulses of different widths were applied."""
        widths = self.width[self.there & (self.polarity != 0)]
        return bool(np.ptp(widths) > 1e-6) if widths.size else False

    @property
    def every(self) -> tuple[Float[Array, " readings"], Int[Array, " readings"]]:
        """Return (conductance, device) of all readings."""
        seen = np.concatenate([np.ones((len(self.device), 1), bool), self.there], axis=1)
        return self.conductance[seen], np.broadcast_to(self.device[:, None], seen.shape)[seen]

    def of(self, devices: Bool[Array, " devices"]) -> "Readings":
        """Return the readings of some of the devices."""
        kept = devices[self.device]
        numbers = np.cumsum(devices) - 1
        return Readings(
            tuple(name for name, keep in zip(self.names, devices, strict=True) if keep),
            numbers[self.device[kept]],
            self.conductance[kept],
            self.polarity[kept],
            self.width[kept],
            self.there[kept],
            self.usual_width,
            self.notes,
        )


def read_pulses(path: str | Path) -> Readings:
    """Read the readings of a CSV file with columns pulse, polarity, conductance and, optionally, width and device.

    A row is a reading after a pulse of that polarity. ``pulse`` counts the pulses of a device; if not every pulse is
    followed by a reading, the pulses between two readings have the polarity of the later row. A number that does not
    exceed the previous one restarts the count: after a change of polarity the device continues from its last reading,
    otherwise its state in between is unknown. Raises UserError, with the line, for any other table.
    """
    path = Path(path)
    found = read_columns(path, COLUMNS, OPTIONAL, blank=["width"])
    signs = _signs(found)
    conductance, pulse = found.numbers["conductance"], found.numbers["pulse"]
    _check(found, conductance, pulse, signs)
    names = found.texts.get("device", ["1"] * len(pulse))
    known = tuple(dict.fromkeys(names))
    order = np.array([known.index(name) for name in names])
    widths = found.numbers.get("width")
    usual = None if widths is None or not signs.any() else float(np.median(widths[signs != 0]))
    relative = np.ones(len(pulse)) if widths is None or usual is None else np.where(signs == 0, 1.0, widths / usual)
    pieces: list[tuple[int, Array, Array, Array]] = []
    for number in range(len(known)):
        rows = np.flatnonzero(order == number)
        steps = np.diff(pulse[rows])
        if (steps < 0).any() and not (steps > 0).any():
            fall = int(rows[1:][np.argmax(steps < 0)])
            raise found.refuse(
                fall,
                f'column "pulse": the numbers of device "{known[number]}" fall from line to line, to {pulse[fall]:g} here; '
                "expected the readings in the order in which the pulses were applied",
            )
        for run, counts in _runs(pulse[rows], signs[rows]):
            for begin in range(0, max(len(run) - 1, 0), LONGEST + 1):
                piece = slice(begin, begin + LONGEST + 1)
                part, taken = rows[run[piece]], counts[piece][1:]
                if (taken > MOST_PULSES).any():
                    late = int(np.argmax(taken > MOST_PULSES))
                    raise found.refuse(
                        int(part[1:][late]),
                        f'column "pulse": {taken[late]:g} pulses lie between this reading and the one before; '
                        "expected at most "
                        f"{MOST_PULSES:g}, because the effect of one pulse cannot be determined from more",
                    )
                if len(part) > 1:
                    pieces.append((number, conductance[part], taken * signs[part[1:]], relative[part[1:]]))
    count = sum(len(polarity) for _, _, polarity, _ in pieces)
    if count < FEWEST:
        raise UserError(f"{path}: expected at least {FEWEST} pulses with a reading before and after, got {count}")
    readings = _packed(known, pieces, usual, _notes(found))
    for word, sign in (("up", 1), ("down", -1)):
        if not (readings.polarity * sign > 0).any():
            raise UserError(f"{path}: expected pulses of both polarities to fit a technology, found none {word}")
    return readings


def _signs(found: Columns) -> Float[Array, " rows"]:
    signs = np.zeros(len(found.lines))
    for row, text in enumerate(found.texts["polarity"]):
        word = text.lower()
        if word in UP or word in DOWN:
            signs[row] = 1 if word in UP else -1
        elif word not in NONE:
            raise found.refuse(
                row,
                'column "polarity": expected +1 or -1 (or up, down; 0 for a reading without a pulse), got '
                f"{text!r:.40}",
            )
    return signs


def _check(found: Columns, conductance: Array, pulse: Array, signs: Array) -> None:
    for wrong, what in (
        (
            conductance < -NEGATIVE * conductance.max(initial=0),
            "a conductance must not be negative, except for noise around zero, got {:g} S",
        ),
        (
            conductance > IMPLAUSIBLE,
            "{:g} S is above that of any device; write the unit into the header: conductance (uS)",
        ),
        (
            ~(found.numbers.get("width", np.ones(len(pulse))) > 0) & (signs != 0),
            'column "width": expected a positive number for every pulse; it may be empty for polarity 0',
        ),
        (
            np.array([not name for name in found.texts.get("device", ["1"] * len(pulse))]),
            'column "device": the name is missing (the cell is empty); fill it in',
        ),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise found.refuse(row, what.format(conductance[row]))
    off = (pulse != np.rint(pulse)) | (pulse < 0)
    if off.any():
        row = int(np.argmax(off))
        raise found.refuse(row, f'column "pulse": expected a whole number of at least 0, got {pulse[row]:g}')


def _runs(pulse: Array, signs: Array) -> Iterator[tuple[Array, Array]]:
    """Yield (consecutive rows, number of pulses before each of them) of one device; the first number is meaningless."""
    if not len(pulse):
        return
    begin, counts = 0, [0.0]
    for row in range(1, len(pulse)):
        goes_on = pulse[row] > pulse[row - 1]
        turns = signs[row] != signs[row - 1]
        if not (goes_on or turns or signs[row] == 0):
            yield np.arange(begin, row), np.array(counts)
            begin, counts = row, [0.0]
            continue
        counts.append(0.0 if signs[row] == 0 else pulse[row] - pulse[row - 1] if goes_on else pulse[row])
    yield np.arange(begin, len(pulse)), np.array(counts)


def _packed(
    names: tuple[str, ...], pieces: list[tuple[int, Array, Array, Array]], usual: float | None, notes: tuple[str, ...]
) -> Readings:
    longest = max(len(polarity) for _, _, polarity, _ in pieces)
    conductance, polarity = np.zeros((len(pieces), longest + 1)), np.zeros((len(pieces), longest))
    width, there = np.ones((len(pieces), longest)), np.zeros((len(pieces), longest), bool)
    for k, (_, values, signed, relative) in enumerate(pieces):
        steps = len(signed)
        conductance[k, : steps + 1], conductance[k, steps + 1 :] = values, values[-1]
        polarity[k, :steps], width[k, :steps], there[k, :steps] = signed, relative, True
    device = np.array([number for number, *_ in pieces])
    return Readings(names, device, conductance, polarity, width, there, usual, notes)


def _notes(found: Columns) -> tuple[str, ...]:
    notes = list(found.table.notes)
    empty = [int(line) for line, text in zip(found.lines, found.texts["polarity"], strict=True) if not text]
    if empty:
        notes.append(
            f'column "polarity" is empty in {len(empty)} line{"s" if len(empty) > 1 else ""}, first in line '
            f"{empty[0]}: read as "
            "0, a reading without a pulse"
        )
    notes += [
        f'column "{name}" has no unit in its header: read as {"siemens" if name == "conductance" else "seconds"}'
        for name, given in found.unit_given.items()
        if not given
    ]
    if found.ignored:
        notes.append(f"unused columns: {', '.join(found.ignored)}")
    return tuple(notes)
