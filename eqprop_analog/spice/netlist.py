"""SPICE text of a circuit: a self-contained file, or the sweep that the ngspice solver loads."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices import LAWS, Law
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged_circuits
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import NGSPICE, Dialect, pairs
from eqprop_analog.spice.elements import POINT, SAMPLE
from eqprop_analog.spice.inlined import Inlined
from eqprop_analog.text import in_one_line

TOLERANCES: dict[str, float] = {
    "reltol": 1e-11,
    "vntol": 1e-14,
    "abstol": 1e-15,
    "itl1": 500,
    "itl2": 500,
    "gmin": 1e-12,
    "temp": 27,
    "tnom": 27,
}
"""Options with errors of a few 1e-12 V along a sweep (a reltol of 1e-6 has errors up to 4e-8 V, and 1e-13 does not converge).
They do not include rshunt, which alone causes an error of 1e-9 V."""
NEWTON: dict[str, float] = {"reltol": 1.0, "vntol": 0.1, "abstol": 0.01}
"""Tolerances of Newton's iteration in units of the relative rounding of voltages: vntol relative to 0.1 V, and abstol for
conductances of up to 10 mS."""
KLU: dict[str, float] = {"klu": 1, "pivrel": 0.5}
"""Options that request KLU instead of SPARSE 1.3 (version 42 and later, if compiled with KLU; others ignore them silently).

They are for meshes only: 64 x 64 cells with wires, diodes and amplifiers take 0.8 s instead of 20 s (version 44.2), and max pools
of 256 sites 0.8 s instead of 4 s, but in the Norton form of dense networks KLU is half as fast. KLU takes a pivot from the
diagonal unless it is below pivrel times the largest entry of its column, and keeps it for all of Newton's iterations. With
ngspice's default for pivrel, 1e-3, the branch equations of amplifiers and steep diodes can lose a factor of a thousand in
accuracy; 3 of 101 chips then did not converge. With 0.5 (and with 0.1) all of them converge. With either value, 2 of 300 chips
have less accurate voltages than with SPARSE, because of the kept pivots (docs/whole_chip.md).
"""
SPARSE: dict[str, float] = {"klu": 0, "pivrel": 1e-3}
"""Options for SPARSE 1.3, with its default for pivrel."""


TRANSIENT: dict[str, float] = {"reltol": 1e-7, "vntol": 1e-9, "itl4": 100}
"""Options with which ``.tran`` is accurate to 1e-4 of full scale (trapezoidal rule, steps by truncation error)."""


def static_netlist(
    circuit: Circuit, guess: Float[np.ndarray, " probes"] | None = None, dialect: Dialect = NGSPICE
) -> str:
    """Return a self-contained netlist of one point for the dialect's program, which prints every output with 15 digits.

    ``guess`` (V) is the initial guess of Newton's iteration (``.nodeset``). Raises UserError for elements that the
    dialect lacks.
    """
    return _text(circuit, [*_nodeset(circuit, guess), *dialect.operating_point(circuit.outputs)], dialect=dialect)


def sweep_netlist(
    circuit: Circuit,
    options: Mapping[str, float] = MappingProxyType({}),
    guess: Float[np.ndarray, " probes"] | None = None,
) -> str:
    """Return the circuit with a ``.dc`` sweep through its points that saves only the probes.

    ``options`` override the simulator's; ``guess`` (V) is the initial guess of Newton's iteration at the first point
    (``.nodeset``).
    """
    saves = [*(f".save v({net})" for net in circuit.probes), *(f".save i({name})" for name in circuit.meters)]
    sweep = [f"V{POINT} {POINT} 0 0", f".dc V{POINT} 0 {circuit.points - 1} 1"]
    if circuit.points > circuit.phases > 1:
        sweep.insert(0, f"B{SAMPLE} {SAMPLE} 0 V={_sample_counter(circuit)}")
    return _text(circuit, [*_nodeset(circuit, guess), *sweep, *saves], options, inline=not circuit.meters)


def _sample_counter(circuit: Circuit) -> str:
    """Return the sample of a point: constant over its phases, then a step to the next.

    Newton's iteration uses the slope to the right of a knot, and therefore the new sample's sources from its first step
    on.
    """
    phases = circuit.phases
    knots = (
        f"{first},{sample},{first + phases - 1},{sample}"
        for sample, first in enumerate(range(0, circuit.points, phases))
    )
    return f"pwl(V({POINT}),{','.join(knots)})"


def metered_netlist(circuit: Circuit, vectors: Sequence[str], points: int) -> str:
    """Return a circuit of one point, solved ``points`` times by a ``.dc`` sweep that changes nothing, saving ``vectors``."""
    saves = [f".save {vector}" for vector in vectors]
    return _text(circuit, [f"V{POINT} {POINT} 0 0", f".dc V{POINT} 0 {points - 1} 1", *saves])


def transient_netlist(
    circuit: Circuit, course: Sequence[tuple[float, float]], end: float, max_step: float, charge: float
) -> str:
    """Return a self-contained netlist for ``ngspice -b``: ``.tran`` from all nodes at 0 V, saving the probes.

    ``course``: (time, point) pairs, seconds from 0 on, between which the circuit moves linearly through its sweep. ``end``
    and ``max_step`` in seconds; ``charge`` (C) is the smallest charge that counts. It prints every output before each
    change and at the end.
    """
    knots = " ".join(f"{float(time)!r} {float(point)!r}" for time, point in course)
    saves = [f".save v({net})" for net in circuit.probes]
    # ngspice's last time may miss the end by a rounding, and .meas then refuses the end itself.
    prints = [
        f".meas tran {net}_{number} find v({net}) at={(1 - 1e-9) * float(time)!r}"
        for number, time in enumerate([*(time for time, _ in course[1:-1]), end])
        for net in circuit.outputs
    ]
    # The first step is a hundredth of the printing step, and nothing controls its error.
    analysis = f".tran {float(max_step) / 1000!r} {float(end)!r} 0 {float(max_step)!r} uic"
    drive = [f"V{POINT} {POINT} 0 PWL({knots})", analysis]
    return _text(circuit, [*drive, *saves, *prints], {**TRANSIENT, "chgtol": float(charge)})


def _nodeset(circuit: Circuit, guess: Float[np.ndarray, " probes"] | None) -> list[str]:
    if guess is None:
        return []
    return [f".nodeset v({net})={v!r}" for net, v in zip(circuit.probes, guess.tolist(), strict=True)]


def library(name: str, dialect: str = NGSPICE.name) -> str:
    """Return the text of ``circuits/<name>.lib``, or that of the dialect if ``circuits/<dialect>`` has one.

    Subcircuits of laws from outside this package are in the folders of the modules that registered them
    (devices.register_law). Raises UserError if there is none.
    """
    folders = [packaged_circuits(), *dict.fromkeys(LAWS.folders().values())]
    found = [folder for folder in folders if (folder / f"{name}.lib").is_file()]
    if not found:
        there = ", ".join(sorted(each.stem for each in folders[0].glob("*.lib")))
        searched = " or ".join(map(str, folders))
        raise UserError(
            f"{name}.lib: there is no subcircuit {name} in {searched}; the subcircuit of a law is a file with its "
            f"spice name, in the folder of {there} or of the module that registers the law (devices.register_law)"
        )
    own = found[0] / dialect / f"{name}.lib"
    return (own if own.is_file() else found[0] / f"{name}.lib").read_text(encoding="utf-8")


def subcircuits(circuit: Circuit, dialect: Dialect) -> Iterator[str]:
    """Return the text of each used subcircuit, preceded by an empty line.

    Raises UserError for one that the dialect lacks.
    """
    for name in circuit.models:
        yield ""
        yield model_text(circuit, name, dialect)


def model_text(circuit: Circuit, name: str, dialect: Dialect = NGSPICE) -> str:
    """Return the text of a subcircuit: that of its law, or of ``library`` in the dialect. Raises UserError."""
    law: Any = circuit.laws.get(name)
    if law is not None:
        return str(law.subcircuit_text(dialect.name))
    return "\n".join(dialect.element(line) for line in library(name, dialect.name).rstrip().split("\n"))


def laws_in_text(law: Law) -> dict[str, Law]:
    """Return laws that contain the text of their subcircuit (both laws of a pair), by its name; empty for all others."""
    law = getattr(law, "law", law)
    return {law.spice[0]: law} if hasattr(law, "subcircuit_text") else {}


def settings(circuit: Circuit, options: Mapping[str, float] = MappingProxyType({})) -> dict[str, float]:
    """Return the simulator's options for a circuit: the common ones and those of its laws, overridden by ``options``.

    If rounding exceeds the tolerances, Newton's iteration would not converge; the tolerances are then those of rounding.
    """
    own = {**TOLERANCES, **circuit.options}
    left = {key: share * circuit.rounding for key, share in NEWTON.items()}
    reachable = {key: max(own[key], value) for key, value in left.items()} if left["reltol"] > own["reltol"] else {}
    return {**own, **reachable, **options}


def _text(
    circuit: Circuit,
    ending: list[str],
    options: Mapping[str, float] = MappingProxyType({}),
    dialect: Dialect = NGSPICE,
    *,
    inline: bool = False,
) -> str:
    solver = KLU if circuit.mesh and dialect is NGSPICE else {}
    lines = _lines(circuit, settings(circuit, {**solver, **options}), dialect, inline=inline)
    return "\n".join(dialect.finished([*lines, *ending, ".end", ""]))


def _lines(circuit: Circuit, options: Mapping[str, float], dialect: Dialect, *, inline: bool) -> Iterator[str]:
    notes = () if inline else (*circuit.notes, *dialect.note)  # the netlist of a sweep is not kept for reading
    yield from (f"* {in_one_line(note)}" for note in (circuit.title, *notes))
    yield from dialect.options(options, circuit.models)
    if circuit.parameters and dialect is NGSPICE:
        yield f".param {pairs(circuit.parameters)}"
    texts = [model_text(circuit, name, dialect) for name in circuit.models]
    inlined = Inlined(texts if inline else [])
    for text in inlined.kept if inline else texts:
        yield from ("", text)
    for section in circuit.sections:
        yield ""
        yield f"* {in_one_line(section.heading)}"
        for bank in section.elements:
            element = bank.in_numbers() if inline else bank
            lines = element.lines() if dialect is NGSPICE else map(dialect.element, element.lines())
            yield from inlined.lines(lines) if inline else lines
    yield ""
