"""Device files: a TOML file with a law, its source and the quality of its fit."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from eqprop_analog.devices import LAWS, Law, law_from, table_of, with_units
from eqprop_analog.errors import UserError
from eqprop_analog.files import read_toml, replacing

FORMAT = "eqprop-analog device 1"
LARGEST_FILE = 2**24
"""Bytes."""
USUAL_CURRENT = 1e-6
"""Current through the device of a node at 0 V, amperes.

The rail is chosen for it; crossbars in µS carry such currents.
"""


def usual_rail(law: Law, wanted: float = USUAL_CURRENT, highest: float = 10.0) -> float:
    """Rail (V, to 10 mV) at which the device carries ``wanted`` (A) from a node at 0 V, so that the node stays above 0 V.

    ``highest`` is the largest voltage of a rail, in volts.
    """
    across = np.arange(0, highest + 0.005, 0.01)
    with np.errstate(over="ignore"):
        carried = -law.current(law.rail - across) >= wanted
    return float(round(across[int(np.argmax(carried))], 2)) if carried.any() else highest


def write_device(path: Path, law: Law, made: Mapping[str, Any], points: Mapping[str, Sequence[Any]]) -> None:
    """Write a device file atomically. Raises UserError if it cannot be written.

    ``made`` describes the method, the source and the quality of the fit, in plain values. ``points`` holds the columns
    of the data, with residuals.
    """
    columns = {
        name: [value if isinstance(value, int) else float(value) for value in values] for name, values in points.items()
    }
    document = {"format": FORMAT, **made, "diode": table_of(law), "data": columns}
    with replacing(path) as temporary:
        temporary.write_bytes(tomli_w.dumps(document).encode())


def read_device(path: Path) -> dict[str, Any]:
    """Return the law (``law`` and its parameters) of a device file. Raises UserError for any other file."""
    document = read_toml(path, "device file", LARGEST_FILE)
    if document.get("format") != FORMAT or not isinstance(document.get("diode"), dict):
        raise UserError(
            f'{path}: not a device file (expected format = "{FORMAT}" and a table [diode]); `eqprop-analog device` '
            "makes them"
        )
    try:
        table = with_units(document["diode"])
        law_from(table)
    except UserError as error:
        raise UserError(f"{path}: [diode]: {error}") from error
    return table


def diode_table(given: str) -> dict[str, Any]:
    """Return the law that --diode names: from a device file, or a named law with its default parameters.

    Raises UserError.
    """
    if given in LAWS:
        return {"law": given}
    path = Path(given)
    if path.suffix != ".toml":
        raise UserError(f"--diode {given}: expected a device file, FILE.toml, or one of the laws {', '.join(LAWS)}")
    return read_device(path)


def with_device_file(table: Mapping[str, Any], folder: Path = Path()) -> dict[str, Any]:
    """Return ``table``; if it names a device ``file`` (relative to ``folder``), that file's law, overridden by the other keys."""
    own = dict(table)
    if "file" not in own:
        return own
    return {**read_device(folder / str(own.pop("file"))), **own}


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
