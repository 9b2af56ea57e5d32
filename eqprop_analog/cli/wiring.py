"""Options for the wires and the cells of crossbars, and the network that they make."""

import argparse
from collections.abc import Sequence
from typing import Any

from eqprop_analog.core import Network, family_of
from eqprop_analog.devices.cells import cell_from
from eqprop_analog.errors import UserError
from eqprop_analog.quantities import NUMBER, option


def add_cell(parser: Any) -> None:
    """--cell; see ``cell_table``."""
    parser.add_argument(
        "--cell",
        nargs="+",
        metavar=("LAW", "NAME=VALUE"),
        help="current-voltage law of every crossbar cell, I = G f(V): linear (default), sinh scale=0.5V, or cubic scale=0.5V",
    )


def cell_table(given: Sequence[str]) -> dict[str, Any]:
    """The table of the cells' law that --cell names: LAW, then NAME=VALUE of each parameter. Raises UserError."""
    law, *parameters = given
    table: dict[str, Any] = {"law": law}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not (name and equals and value):
            raise UserError(f"--cell: expected NAME=VALUE after the law, such as scale=0.5V, got {parameter!r}")
        if name in table:
            raise UserError(f"--cell: {name} is given twice")
        number = NUMBER.fullmatch(value)
        table[name] = float(value) if number and not number[2] else value
    cell_from(table)
    return table


WIRES = ("wire_resistance", "tile", "link_resistance", "cell")
"""Options of ``add_wires``."""


def add_wires(parser: argparse.ArgumentParser) -> None:
    """--wire-resistance, --tile, --link-resistance, --cell; see ``with_wires``."""
    group = parser.add_argument_group("wires and cells of the crossbars")
    group.add_argument(
        "--wire-resistance",
        type=option("ohm"),
        metavar="OHMS",
        help="resistance of the wires from one cell to the next (default 0: ideal wires)",
    )
    group.add_argument(
        "--tile",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="with wires: size of one array at most; larger crossbars are several arrays, joined at their ends (default 128 128)",
    )
    group.add_argument(
        "--link-resistance",
        type=option("ohm"),
        metavar="OHMS",
        help="with wires: resistance of the wire from each end of an array's rows and columns to its node (default 0)",
    )
    add_cell(group)


def wires_given(arguments: argparse.Namespace) -> list[str]:
    """The options of ``add_wires`` that are given."""
    return [f"--{name.replace('_', '-')}" for name in WIRES if getattr(arguments, name) is not None]


def with_wires(arguments: argparse.Namespace, network: Network) -> Network:
    """Return ``network`` with the given wires and cells. Raises UserError for a family of networks without them."""
    given = wires_given(arguments)
    if not given:
        return network
    make = family_of(network).feature("wires", given[0])
    values = {name: getattr(arguments, name) for name in WIRES if getattr(arguments, name) is not None}
    if "tile" in values and "wire_resistance" not in values:
        raise UserError(
            "--tile: with ideal wires, several arrays are equivalent to one; add --wire-resistance, or omit --tile"
        )
    if "cell" in values:
        values["cell"] = cell_from(cell_table(values["cell"]))
    chip: Network = make(network, **values)
    return chip
