"""Differences between SPICE programs: one class per program, which states only the differences from ngspice.

All four accept an element's line as ``spice.elements`` writes it, plain numbers without a scale suffix (so that ``m``
is not read as milli by one and as mega by another), subcircuits with ``params:``, parameters in braces, E, F and G
elements, and ``temp`` and ``tnom`` in degrees Celsius. They differ in behavioural sources, options, analyses, output
and constants. Sources: ngspice 39 and gnucap 2017.10.03 as they run; LTspice's help (B sources, .MEAS, .OPTIONS); the
Xyce Reference Guide (B and X devices, .DC, .MEASURE, .OPTIONS) and Xyce's parser of X lines, which needs no PARAMS:
there.
"""

import re
from collections.abc import Mapping, Sequence

from eqprop_analog.errors import UserError

BEHAVIOURAL = re.compile(r"^(B\S+ \S+ \S+ [VI]=)(.*)$")
DIGITS = 15
"""Number of significant digits of printed values."""
GMIN = 1e-12
"""Default conductance of SPICE programs across a junction, siemens."""
FINEST = {"reltol": 1e-9, "vntol": 1e-12}
"""Tolerances for programs on which tighter ones were not tested."""


class Dialect:
    """ngspice, and the base class of the other programs."""

    name = "ngspice"
    command = "ngspice -b"
    """Command that runs a netlist, without the name of the file."""
    note: tuple[str, ...] = ()
    """Note for the header on differences from the circuit in ngspice."""

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002 - one needs it
        """``.options`` lines of the solver's settings (SPICE's names, SI units, degrees Celsius) for a circuit of ``models``."""
        return [".options " + pairs(settings)]

    def element(self, line: str) -> str:
        """Return a line of a circuit or of a packaged subcircuit in this dialect.

        Raises UserError if it has no such element.
        """
        return line

    def finished(self, lines: Sequence[str]) -> list[str]:
        """Translate the lines of a whole file, for a program with another language."""
        return list(lines)

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Return the lines that find the operating point and print the outputs' voltages."""
        return control(["op", *(f"print v({net})" for net in outputs)], outputs[-1])

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Return a sweep of V(phase) over 0 and 1, and measurements of every output at both: ``<net>_free``, ``<net>_nudged``."""
        asked = [f".meas dc {net}_{phase} find v({net}) at={at}" for net in outputs for phase, at in PHASES]
        # .meas prints seven digits for any numdgt.
        prints = [
            line
            for net in outputs
            for phase, at in PHASES
            for line in (f"let {net}_{phase} = v({net})[{at}]", f"print {net}_{phase}")
        ]
        return [".dc Vphase 0 1 1", *asked, *control(["run", *prints], f"{outputs[-1]}_nudged")]


PHASES = (("free", 0), ("nudged", 1))


class LTspice(Dialect):
    """LTspice, whose B sources take parameters in braces, but no braces around nets."""

    name = "ltspice"
    command = "LTspice -b"
    note = (
        "For LTspice. Its k, q and junctions in reverse differ from ngspice's: expect voltage differences of 1e-7 V.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Options with the same names, and the number of printed digits."""
        return [".options " + pairs({**coarser(settings), "numdgt": DIGITS, "measdgt": DIGITS})]

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Measure the outputs, so that the log names them."""
        return [".op", *(f".meas op v_{net} FIND V({net})" for net in outputs)]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Measure by ``FIND ... AT``."""
        asked = [f".meas dc {net}_{phase} FIND V({net}) AT {at}" for net in outputs for phase, at in PHASES]
        return [".dc Vphase 0 1 1", *asked]


class Xyce(Dialect):
    """Xyce, whose B sources are in braces, and which prints only the results of a sweep."""

    name = "xyce"
    command = "Xyce"
    note = ("For Xyce. Its k, q and junctions in reverse differ from ngspice's: expect voltage differences of 1e-7 V.",)

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Options of its nonlinear solver and of its devices."""
        given = coarser(settings)
        solver = {"reltol": given["reltol"], "abstol": given["vntol"], "rhstol": max(1e-12, given["abstol"])}
        devices = {key: given[key] for key in ("gmin", "temp", "tnom")}
        return [f".options nonlin {pairs(solver)} maxstep={given['itl1']}", f".options device {pairs(devices)}"]

    def element(self, line: str) -> str:
        """Put the whole expression of a B source in one pair of braces."""
        found = BEHAVIOURAL.match(line)
        return line if found is None else f"{found[1]}{{{found[2].replace('{', '').replace('}', '')}}}"

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Use a sweep with one point of a source that is not connected."""
        return ["Vpoint point 0 0", ".dc Vpoint 0 0 1", printed("dc", outputs)]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Measure by ``MAX`` over a window with one point, because older releases find nothing ``AT`` a point of ``.dc``."""
        windows = (("free", "FROM=0 TO=0.5"), ("nudged", "FROM=0.5 TO=1"))
        asked = [
            f".measure dc {net}_{phase} MAX v({net}) {window} PRECISION={DIGITS}"
            for net in outputs
            for phase, window in windows
        ]
        return [".dc Vphase 0 1 1", printed("dc", outputs), *asked]


class Gnucap(Dialect):
    """gnucap, which has neither behavioural sources nor measurements."""

    name = "gnucap"
    command = "gnucap -b"
    note = (
        "For gnucap. Its junctions are exponential in both directions, without gmin; k/q is 1.3806226e-23/1.6021918e-19",
        "V/K (Vt is 0.73 uV lower than ngspice's). Its ideal sources have the resistance short (.options), in ohms, in series.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:
        """Options with the same names; tolerances, gmin, damping and short for which it converges.

        The current of a source is its voltage divided by ``short``, including rounding: 10 uohm leaves 4e-10 V in plain
        crossbars, but 1e-4 V after amplifiers, which 10 mohm reduces to 2e-7 V. Its default gmin, 1e-12 S, would leave
        5e-5 V.
        """
        given = coarser(settings)
        if "diode" in models and given["gmin"] > GMIN:
            raise UserError(
                f"gnucap has no gmin across its junctions, and the network's diodes have {given['gmin']:g} S; use "
                f"another --dialect, or diodes with a gmin of {GMIN:g} S or less, which it omits"
            )
        kept = {key: given[key] for key in ("reltol", "vntol", "itl1", "temp", "tnom")}
        short = 1e-2 if "amplifier" in models else 1e-5
        own = {"abstol": max(1e-12, given["abstol"]), "gmin": 1e-18, "dampmax": 0.5, "short": short, "numdgt": DIGITS}
        return [".options " + pairs(kept | own)]

    def element(self, line: str) -> str:
        """Return any line except a B source."""
        if line.startswith("B"):
            raise UserError(
                f"gnucap has no behavioural sources such as {line.split(maxsplit=1)[0]}; use a diode whose subcircuit has a "
                "version for gnucap (laws ngspice and shockley), linear cells and no Hopfield network, or another --dialect"
            )
        return line

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Print the outputs in one line under their names."""
        return [".print op " + " ".join(f"v({net})" for net in outputs), ".op"]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Refused."""
        raise UserError(
            f"gnucap cannot measure {outputs[0]} in two phases: it has no .measure, and no source to switch the nudge; "
            f"use --form flat or norton"
        )


NGSPICE = Dialect()
DIALECTS: dict[str, Dialect] = {each.name: each for each in (NGSPICE, LTspice(), Xyce(), Gnucap())}
"""Dialects by their names in options."""


def pairs(settings: Mapping[str, float]) -> str:
    """Format ``key=value`` of each setting, integers without a decimal point."""
    return " ".join(f"{key}={value if isinstance(value, int) else float(value)!r}" for key, value in settings.items())


def coarser(settings: Mapping[str, float]) -> dict[str, float]:
    """Return ``settings`` with tolerances of at least FINEST."""
    return {key: max(value, FINEST[key]) if key in FINEST else value for key, value in settings.items()}


def printed(analysis: str, outputs: Sequence[str]) -> str:
    """Return Xyce's ``.print`` of the outputs with all digits."""
    return f".print {analysis} precision={DIGITS} " + " ".join(f"v({net})" for net in outputs)


def control(commands: Sequence[str], last: str) -> list[str]:
    """Return the ``.control`` block of ngspice: the commands, and an exit code of 0 only if the vector ``last`` exists."""
    # Without the quit, ngspice -b looks for .print lines, finds none, and exits with 1. A failed op leaves no vector.
    leave = ["if $?batchmode", f"  if length({last}) > 0", "    quit 0", "  end", "  quit 1", "end"]
    return [".control", f"set numdgt={DIGITS}", *commands, *leave, ".endc"]
