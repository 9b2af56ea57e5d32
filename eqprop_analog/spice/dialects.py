"""What sets SPICE programs apart: one class a program, each saying only what it does otherwise than ngspice.

All four take an element's line as ``spice.elements`` writes it, plain numbers without a scale suffix (so that none can
take ``m`` for milli and another for mega), subcircuits with ``params:``, parameters in braces, E, F and G elements, and
``temp`` and ``tnom`` in degrees Celsius. They differ in behavioural sources, options, analyses, what they print, and in
constants. Sources: ngspice 39 and gnucap 2017.10.03 as they run; LTspice's help (B sources, .MEAS, .OPTIONS); the Xyce
Reference Guide (B and X devices, .DC, .MEASURE, .OPTIONS) and Xyce's parser of X lines, which needs no PARAMS: there.
"""

import re
from collections.abc import Mapping, Sequence

from eqprop_analog.errors import UserError

BEHAVIOURAL = re.compile(r"^(B\S+ \S+ \S+ [VI]=)(.*)$")
DIGITS = 15
"""Significant, of what is printed."""
GMIN = 1e-12
"""Siemens: what SPICE programs have across a junction where nobody says anything."""
FINEST = {"reltol": 1e-9, "vntol": 1e-12}
"""Tolerances asked of programs on which tighter ones were never tried."""


class Dialect:
    """ngspice, and what the others have in common with it."""

    name = "ngspice"
    command = "ngspice -b"
    """Before the file's name, to run it."""
    note: tuple[str, ...] = ()
    """For the header: where this program's circuit is not ngspice's."""

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002 - one needs it
        """``.options`` lines of the solver's settings (SPICE's names, SI units, degrees Celsius) for a circuit of ``models``."""
        return [".options " + pairs(settings)]

    def element(self, line: str) -> str:
        """A line of a circuit or of a packaged subcircuit, in this dialect. Raises UserError where it has no such element."""
        return line

    def finished(self, lines: Sequence[str]) -> list[str]:
        """The lines of a whole file, for a program whose language is another one altogether."""
        return list(lines)

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Lines that find the operating point and print the outputs' voltages."""
        return control(["op", *(f"print v({net})" for net in outputs)], outputs[-1])

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Lines that sweep V(phase) over 0 and 1, and measure every output at both: ``<net>_free`` and ``<net>_nudged``."""
        asked = [f".meas dc {net}_{phase} find v({net}) at={at}" for net in outputs for phase, at in PHASES]
        # .meas prints seven digits whatever numdgt says.
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
        "For LTspice. Its k, q and the reverse branch of its junctions are its own: expect some 1e-7 V to ngspice and surrogate.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002
        """The same names, and digits for what is printed and measured."""
        return [".options " + pairs({**coarser(settings), "numdgt": DIGITS, "measdgt": DIGITS})]

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Measured, so that the log names them."""
        return [".op", *(f".meas op v_{net} FIND V({net})" for net in outputs)]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """By ``FIND ... AT``."""
        asked = [f".meas dc {net}_{phase} FIND V({net}) AT {at}" for net in outputs for phase, at in PHASES]
        return [".dc Vphase 0 1 1", *asked]


class Xyce(Dialect):
    """Xyce, whose B sources stand in braces, and which prints the results of a sweep alone."""

    name = "xyce"
    command = "Xyce"
    note = (
        "For Xyce. Its k, q and the reverse branch of its junctions are its own: expect some 1e-7 V to ngspice and surrogate.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Of its nonlinear solver, and of its devices."""
        given = coarser(settings)
        solver = {"reltol": given["reltol"], "abstol": given["vntol"], "rhstol": max(1e-12, given["abstol"])}
        devices = {key: given[key] for key in ("gmin", "temp", "tnom")}
        return [f".options nonlin {pairs(solver)} maxstep={given['itl1']}", f".options device {pairs(devices)}"]

    def element(self, line: str) -> str:
        """The whole expression of a B source in one pair of braces."""
        found = BEHAVIOURAL.match(line)
        return line if found is None else f"{found[1]}{{{found[2].replace('{', '').replace('}', '')}}}"

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """A sweep of one point, of a source that touches nothing."""
        return ["Vpoint point 0 0", ".dc Vpoint 0 0 1", printed("dc", outputs)]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """By ``MAX`` over a window that holds one of the two points: older releases find nothing ``AT`` a point of ``.dc``."""
        windows = (("free", "FROM=0 TO=0.5"), ("nudged", "FROM=0.5 TO=1"))
        asked = [
            f".measure dc {net}_{phase} MAX v({net}) {window} PRECISION={DIGITS}"
            for net in outputs
            for phase, window in windows
        ]
        return [".dc Vphase 0 1 1", printed("dc", outputs), *asked]


class Gnucap(Dialect):
    """gnucap, which has no behavioural sources and measures nothing."""

    name = "gnucap"
    command = "gnucap -b"
    note = (
        "For gnucap. Its junctions are exponential both ways, without gmin, k/q = 1.3806226e-23/1.6021918e-19 V/K (so Vt is",
        "0.73 uV lower than ngspice's); its ideal sources have the resistance short (.options), in ohms, in series.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:
        """The same names; tolerances, gmin, damping and short with which it comes to the end.

        A source's current is its voltage over ``short``, and so is its rounding: 10 uohm leaves 4e-10 V in plain crossbars,
        but 1e-4 V behind amplifiers, which 10 mohm brings down to 2e-7 V. Its gmin, 1e-12 S, would leave 5e-5 V.
        """
        given = coarser(settings)
        if "diode" in models and given["gmin"] > GMIN:
            raise UserError(
                f"gnucap has no gmin across its junctions, and the network's diodes have {given['gmin']:g} S; take another "
                f"--dialect, or diodes of {GMIN:g} S or less, which it leaves out"
            )
        kept = {key: given[key] for key in ("reltol", "vntol", "itl1", "temp", "tnom")}
        short = 1e-2 if "amplifier" in models else 1e-5
        own = {"abstol": max(1e-12, given["abstol"]), "gmin": 1e-18, "dampmax": 0.5, "short": short, "numdgt": DIGITS}
        return [".options " + pairs(kept | own)]

    def element(self, line: str) -> str:
        """Any line but a B source."""
        if line.startswith("B"):
            raise UserError(
                f"gnucap has no behavioural sources such as {line.split(maxsplit=1)[0]}; take a diode whose subcircuit has a "
                f"version for gnucap (laws ngspice and shockley), linear cells, and no Hopfield network, or another --dialect"
            )
        return line

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Printed in one line under their names."""
        return [".print op " + " ".join(f"v({net})" for net in outputs), ".op"]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Refused."""
        raise UserError(
            f"gnucap cannot measure {outputs[0]} in two phases: it has no .measure, and no source to switch the nudge with; "
            f"take --form flat or norton"
        )


NGSPICE = Dialect()
DIALECTS: dict[str, Dialect] = {each.name: each for each in (NGSPICE, LTspice(), Xyce(), Gnucap())}
"""By their names in options."""


def pairs(settings: Mapping[str, float]) -> str:
    """``key=value`` of each, counts without a point."""
    return " ".join(f"{key}={value if isinstance(value, int) else float(value)!r}" for key, value in settings.items())


def coarser(settings: Mapping[str, float]) -> dict[str, float]:
    """``settings`` with no tolerance below FINEST."""
    return {key: max(value, FINEST[key]) if key in FINEST else value for key, value in settings.items()}


def printed(analysis: str, outputs: Sequence[str]) -> str:
    """Xyce's ``.print`` of the outputs to all digits."""
    return f".print {analysis} precision={DIGITS} " + " ".join(f"v({net})" for net in outputs)


def control(commands: Sequence[str], last: str) -> list[str]:
    """The ``.control`` block of ngspice: the commands, and an exit code of 0 only where ``last`` is a vector."""
    # Without the quit, ngspice -b looks for .print lines, finds none, and exits with 1. A failed op leaves no vector.
    leave = ["if $?batchmode", f"  if length({last}) > 0", "    quit 0", "  end", "  quit 1", "end"]
    return [".control", f"set numdgt={DIGITS}", *commands, *leave, ".endc"]
