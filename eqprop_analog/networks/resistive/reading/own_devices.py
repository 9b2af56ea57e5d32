"""Reading of netlists whose diodes are a user's SPICE device, together with its device file."""

from dataclasses import replace
from typing import Any

from eqprop_analog.devices import Law, own_subcircuit
from eqprop_analog.devices.spice_text import DEVICE
from eqprop_analog.errors import UserError
from eqprop_analog.spice.reading.statements import Source, Statement, source_of


def without_device(source: Source, given: Law | None) -> tuple[Source, Any]:
    """``source`` without the text of the device from which ``given`` was made, and the law of the device.

    Returns (``source``, None) for a netlist of other diodes. Raises UserError if there is such a device and its text differs
    from that of ``given``.
    """
    openings = {(*opening.words, "", "")[1]: (opening, inside) for opening, inside in source.blocks}
    if DEVICE not in openings:
        return source, None
    opening, inside = openings[DEVICE]
    name = inside[-1].words[-1] if inside else "?"
    law: Any = None if given is None else own_subcircuit(given)
    if law is None:
        opening.refuse(
            f"the diodes are your own SPICE device, subcircuit {name}, whose law is not in the netlist; give the "
            "file that `eqprop-analog device from-spice` wrote for it by --diode FILE.toml, or write the netlist "
            "with --devices table"
        )
    written = source_of("\n" + law.subcircuit_text(), "the device file")
    for ours, theirs in written.blocks:
        name = ours.words[1]
        if name not in openings or not _same([ours, *theirs], [openings[name][0], *openings[name][1]]):
            where = openings.get(name, (opening, []))[0]
            where.refuse(
                f"subcircuit {name} differs from that of the device file of --diode; give the device file with which "
                "the netlist was made"
            )
    left = list(source.statements)
    for statement in written.statements:
        found = next((each for each in left if _same([each], [statement])), None)
        if found is None:
            opening.refuse(f"{statement.text[:60]!r} of the device file of --diode is not in the netlist")
        left.remove(found)
    names = {ours.words[1] for ours, _ in written.blocks}
    blocks = [each for each in source.blocks if (*each[0].words, "", "")[1] not in names]
    return replace(source, statements=left, blocks=blocks), law


def require_no_other(file: str, given: Any, found: Law) -> None:
    """Raise UserError unless the law given for a netlist is that of the netlist, with the same rail."""
    if replace(given, rail=found.rail) != getattr(found, "law", found):
        raise UserError(f"{file}: the diodes of the netlist differ from --diode; leave out --diode")


def _same(ours: list[Statement], theirs: list[Statement]) -> bool:
    return [each.parts for each in ours] == [each.parts for each in theirs]
