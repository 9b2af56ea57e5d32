"""Elements of a circuit, in banks: one element is an array of equal devices, written to SPICE as one block of lines.

Every bank states the nets of its devices, the pairs of nets that it connects at DC, the pairs between which it fixes
the voltage, and its netlist lines. Values are (points, devices) arrays: one point is a static circuit; several are
written as piecewise-linear functions of the voltage of net ``point``, which a ``.dc`` sweep, or a time-dependent source
in a ``.tran``, takes through them. Values that change only from sample to sample follow net ``sample`` instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.errors import UserError

Array = np.ndarray

GROUND = "0"
POINT = "point"
"""Net whose voltage counts the points of a sweep."""
SAMPLE = "sample"
"""Net whose voltage counts the samples of a sweep; it is constant over the phases of a sample."""

CAPACITANCES = (1e-21, 1e-3)
"""Range of the capacitance of a node to ground, farads: 1e-15 to 1e-11 F on a chip, up to 1e-6 F on a board."""

Pair = tuple[str, str]
Injection = tuple[float | Float[Array, "#batch 1"], Float[Array, "#batch outputs"]]
"""A nudge as (g, c): it injects c - g·v at the outputs; siemens and amperes. Zeros are the free phase."""


class Element(Protocol):
    """A bank of devices."""

    @property
    def mesh(self) -> int:
        """Number of cells in a mesh of wires, or of sites connected by kernels; 0 without a mesh."""
        return 0

    @property
    def rounding(self) -> float:
        """Relative change of voltages due to rounding of summed conductances; 0 is the ordinary rounding."""
        return 0.0

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return (name, nets) of each device in the graph; a crossbar is one device."""
        ...

    def dc_paths(self) -> Iterable[Pair]:
        """Return pairs of nets connected by a conductance or an ideal voltage source, but not by current sources or diodes."""
        return ()

    def held(self) -> Iterable[Pair]:
        """Return pairs of nets between which an ideal voltage source (or amplifier output) fixes the voltage."""
        return ()

    def lines(self) -> Iterable[str]:
        """Return the SPICE lines."""
        ...

    def select(self, points: Mapping[str, Int[Array, " some"]]) -> "Element":  # noqa: ARG002
        """The same devices with the values of these points and samples alone (by the net that counts them)."""
        return self

    def in_numbers(self) -> "Element":
        """The same devices, values that they share written out: ngspice takes minutes to read thousands of ``.param``."""
        return self

    def check(self) -> None:
        """Raise UserError, which names the net, for invalid values."""
        ...


class Resistive(Protocol):
    """A crossbar as the netlist needs it (networks.crossbars.Crossbar)."""

    @property
    def conductance(self) -> Float[Array, "..."]:
        """Its parameters, siemens."""
        ...

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """Return (row, column, siemens) of every resistor."""
        ...

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """Return (row, column) of a resistor with this parameter."""
        ...

    def matrix(self) -> Float[Array, "rows columns"]:
        """G, siemens."""
        ...

    def driven(self) -> Bool[Array, " columns"]:
        """Which columns have a resistor."""
        ...


def series(values: Float[Array, " points"], counter: str = POINT) -> str:
    """Return a value along the sweep as SPICE text: a number, or a piecewise-linear function of the counting net."""
    numbers = values.tolist()
    if numbers.count(numbers[0]) == len(numbers):
        return repr(numbers[0])
    around = enumerate(zip(numbers, numbers[1:], numbers[2:], strict=False), start=1)
    turns = (k for k, (before, here, after) in around if here != before or here != after)  # other knots are redundant
    points = (0, *turns, len(numbers) - 1)
    return _knots(points, counter) % tuple(numbers if len(points) == len(numbers) else [numbers[k] for k in points])


@lru_cache(maxsize=256)
def _knots(points: tuple[int, ...], counter: str) -> str:
    """Return the text of ``series`` for the values at ``points``, with a placeholder for each."""
    return f"pwl(V({counter}),{','.join(f'{k},%r' for k in points)})"


def subcircuit(model: str, parameters: Mapping[str, float]) -> str:
    """Return the end of an X element: the name of its subcircuit and its parameters."""
    return " ".join([model, *(f"{key}={float(value)!r}" for key, value in parameters.items())])


@dataclass(frozen=True, eq=False)
class VoltageSources(Element):
    """V(net) = volts."""

    nets: tuple[str, ...]
    volts: Float[Array, "points nets"]
    counter: str = POINT

    def select(self, points: Mapping[str, Int[Array, " some"]]) -> "VoltageSources":
        """See Element."""
        return self if len(self.volts) == 1 else replace(self, volts=self.volts[points[self.counter]])

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One source a net."""
        return ((f"V{net}", (net, GROUND)) for net in self.nets)

    def dc_paths(self) -> Iterable[Pair]:
        """To ground."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Every net against ground."""
        return ((net, GROUND) for net in self.nets)

    def lines(self) -> Iterable[str]:
        """V elements, or B elements if the voltage follows the sweep."""
        for net, values in zip(self.nets, self.volts.T, strict=True):
            text = series(values, self.counter)
            yield f"B{net} {net} 0 V={text}" if text.startswith("pwl") else f"V{net} {net} 0 {text}"

    def check(self) -> None:
        """Finite voltages."""
        _require(np.isfinite(self.volts).all(axis=0), self.nets, "source voltage is not finite")


@dataclass(frozen=True, eq=False)
class CurrentSources(Element):
    """Current into net = amperes; devices without current are omitted."""

    prefix: str
    """I<prefix>_<index> is a device's name."""
    nets: tuple[str, ...]
    amperes: Float[Array, "points nets"]
    counter: str = POINT

    def select(self, points: Mapping[str, Int[Array, " some"]]) -> "CurrentSources":
        """See Element."""
        return self if len(self.amperes) == 1 else replace(self, amperes=self.amperes[points[self.counter]])

    def _present(self) -> Iterator[tuple[int, str]]:
        return ((k, self.nets[k]) for k in np.flatnonzero(self.amperes.any(axis=0)).tolist())

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One source a net."""
        return ((f"I{self.prefix}_{k}", (GROUND, net)) for k, net in self._present())

    def lines(self) -> Iterable[str]:
        """I elements, or B elements if the current follows the sweep."""
        for k, net in self._present():
            text = series(self.amperes[:, k], self.counter)
            kind = f"B{self.prefix}_{k} 0 {net} I=" if text.startswith("pwl") else f"I{self.prefix}_{k} 0 {net} "
            yield kind + text

    def check(self) -> None:
        """Finite currents."""
        _require(np.isfinite(self.amperes).all(axis=0), self.nets, "source current is not finite")


@dataclass(frozen=True, eq=False)
class Crossbar(Element):
    """I_ij = G_ij (V(row_i) - V(column_j)); for G_ij = 0, there is no resistor."""

    number: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    crossbar: Resistive

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The crossbar as one device; empty rows are not connected."""
        used = np.unique(self.crossbar.elements()[0]).tolist()
        yield f"crossbar_{self.number}", (*(self.rows[i] for i in used), *self.columns)

    def dc_paths(self) -> Iterable[Pair]:
        """A star over every connected part of the array."""
        from scipy.sparse import csr_array  # here: a worker process, which starts often, needs neither
        from scipy.sparse.csgraph import connected_components

        size = len(self.rows)
        i, j, _ = self.crossbar.elements()
        total = size + len(self.columns)
        touching = csr_array((np.ones(len(i)), (i, size + j)), shape=(total, total))
        _, part = connected_components(touching, directed=False)
        ports = (*self.rows, *self.columns)
        _, first = np.unique(part, return_index=True)
        return ((ports[first[p]], port) for p, port in zip(part, ports, strict=True) if ports[first[p]] != port)

    def lines(self) -> Iterable[str]:
        """R<crossbar>_<row>_<column>, ohms."""
        return self._between(*self.crossbar.elements())

    def between(self, some: Int[Array, " rows"], others: Int[Array, " columns"]) -> Iterable[str]:
        """Return the lines of the resistors between these rows and columns."""
        i, j, siemens = self.crossbar.elements()
        chosen = np.isin(i, some) & np.isin(j, others)
        return self._between(i[chosen], j[chosen], siemens[chosen])

    def _between(self, i: Int[Array, " some"], j: Int[Array, " some"], siemens: Float[Array, " some"]) -> Iterable[str]:
        rows, columns, number = self.rows, self.columns, self.number
        return [
            f"R{number}_{a}_{b} {rows[a]} {columns[b]} {r!r}"
            for a, b, r in zip(i.tolist(), j.tolist(), (1 / siemens).tolist(), strict=True)
        ]

    def check(self) -> None:
        """Finite, not negative, and no column of zeros."""
        values = self.crossbar.conductance
        for good, what in ((np.isfinite(values), "is not finite"), (values >= 0, "is negative")):
            if not good.all():
                cell = tuple(np.argwhere(~good)[0].tolist())
                i, j = self.crossbar.place(cell)
                raise UserError(
                    f"net {self.columns[j]}: conductance R{self.number}_{i}_{j} to {self.rows[i]} {what} ({values[cell]} S)"
                )
        _require(
            self.crossbar.driven(),
            self.columns,
            f"its column of crossbar {self.number} is all zero, so that nothing drives it; give it a conductance or "
            "raise G_min",
        )


@dataclass(frozen=True, eq=False)
class Conductances(Element):
    """I_k = G_k V(net_k): a conductance from every net to ground."""

    prefix: str
    nets: tuple[str, ...]
    conductance: Float[Array, " nets"]
    """Siemens."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One resistor a net."""
        return ((f"R{self.prefix}_{k}", (net, GROUND)) for k, net in enumerate(self.nets))

    def dc_paths(self) -> Iterable[Pair]:
        """Every net to ground."""
        return ((net, GROUND) for net in self.nets)

    def lines(self) -> Iterable[str]:
        """R elements, ohms."""
        ohms = (1 / self.conductance).tolist()
        return (f"R{self.prefix}_{k} {net} 0 {r!r}" for k, (net, r) in enumerate(zip(self.nets, ohms, strict=True)))

    def check(self) -> None:
        """Finite and positive."""
        good = np.isfinite(self.conductance) & (self.conductance > 0)
        _require(good, self.nets, "no positive conductance drives it; give it one or raise G_min")


@dataclass(frozen=True, eq=False)
class Resistors(Element):
    """I_k = (V(one_k) - V(other_k))/R_k: single resistors, each with its own name."""

    names: tuple[str, ...]
    ends: tuple[Pair, ...]
    resistance: Float[Array, " resistors"]
    """R, ohms."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every resistor."""
        return zip(self.names, self.ends, strict=True)

    def dc_paths(self) -> Iterable[Pair]:
        """Through every resistor."""
        return self.ends

    def lines(self) -> Iterable[str]:
        """R elements, ohms."""
        ohms = self.resistance.tolist()
        return (
            f"{name} {one} {other} {r!r}" for name, (one, other), r in zip(self.names, self.ends, ohms, strict=True)
        )

    def check(self) -> None:
        """Finite and positive."""
        good = np.isfinite(self.resistance) & (self.resistance > 0)
        _require(good, tuple(other for _, other in self.ends), "a resistance at it is not positive")


@dataclass(frozen=True, eq=False)
class Capacitors(Element):
    """I_k = C dV(net_k)/dt: a capacitance from every net to ground."""

    nets: tuple[str, ...]
    capacitance: float
    """C, farads."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One capacitor a net."""
        return ((f"C{net}", (net, GROUND)) for net in self.nets)

    def lines(self) -> Iterable[str]:
        """C elements, farads."""
        return (f"C{net} {net} 0 {self.capacitance!r}" for net in self.nets)

    def check(self) -> None:
        """Within CAPACITANCES."""
        low, high = CAPACITANCES
        expected = f"expected a capacitance of {low:g} to {high:g} farads, got {self.capacitance}"
        _require(np.array([low <= self.capacitance <= high]), self.nets[:1], expected)


@dataclass(frozen=True, eq=False)
class Diodes(Element):
    """I = i(V(anode, cathode)): one diode for each pair of nets."""

    prefix: str
    """Xd<prefix><index> is a device's name."""
    pairs: tuple[Pair, ...]
    """(anode, cathode) of each."""
    model: str
    """Subcircuit, defined in ``circuits/<model>.lib``."""
    parameters: Mapping[str, float | Float[Array, " nodes"]]
    """Parameters, with one value for all devices or one for each."""
    layer: int = 0
    """Layer of the hidden nodes, if there are layers."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(anode, cathode) of each."""
        return ((f"Xd{self.prefix}{k}", pair) for k, pair in enumerate(self.pairs))

    def lines(self) -> Iterable[str]:
        """X elements."""
        return _instances(self.devices(), self.model, self.parameters)

    def check(self) -> None:
        """The law checks its parameters."""


@dataclass(frozen=True, eq=False)
class Amplifiers(Element):
    """V(drive) = gain·V(node); the node loses the drive's current over gain (subcircuit ``amplifier``)."""

    layer: int
    nodes: tuple[str, ...]
    drives: tuple[str, ...]
    gain: float
    model: str = "amplifier"
    """Subcircuit, defined in ``circuits/<model>.lib``."""
    parameters: Mapping[str, float | Float[Array, " nodes"]] = field(default_factory=dict)
    """Further parameters, with one value for all nodes or one for each."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(node, drive) of each."""
        pairs = zip(self.nodes, self.drives, strict=True)
        return ((f"Xa{self.layer}_{k}", pair) for k, pair in enumerate(pairs))

    def dc_paths(self) -> Iterable[Pair]:
        """Every drive to ground; the node itself is only sensed."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Every drive against ground."""
        return ((drive, GROUND) for drive in self.drives)

    def lines(self) -> Iterable[str]:
        """X elements."""
        return _instances(self.devices(), self.model, {"gain": self.gain, **self.parameters})

    def check(self) -> None:
        """A positive gain."""
        _require(
            np.array([np.isfinite(self.gain) and self.gain > 0]),
            self.nodes[:1],
            f"amplifier gain {self.gain} is not positive",
        )


@dataclass(frozen=True, eq=False)
class NudgeSources(Element):
    """I_k = c_k - f_k g·V(plus_k, minus_k) into plus: statically f_k g to a source at c_k/(f_k g), or only the current c_k.

    The circuit must have an operating point without them.
    """

    outputs: tuple[Pair, ...]
    """(plus, minus) of each output; minus is ground if a single net is read."""
    conductance: Float[Array, " points"]
    """g, siemens."""
    current: Float[Array, "points outputs"]
    """c, amperes."""
    factor: Float[Array, " outputs"] | None = None
    """Factor on g of each output; None is 1."""

    @classmethod
    def of(cls, outputs: tuple[Pair, ...], batch: int, injections: Sequence[Injection | None]) -> Self:
        """Return the nudges of every sample under every injection, sample by sample."""
        phases = len(injections)
        conductance, current = np.zeros((batch, phases, 1)), np.zeros((batch, phases, len(outputs)))
        for phase, injection in enumerate(injections):
            if injection:
                conductance[:, phase], current[:, phase] = injection
        return cls(outputs, conductance.ravel(), current.reshape(-1, len(outputs)))

    def select(self, points: Mapping[str, Int[Array, " some"]]) -> "NudgeSources":
        """See Element."""
        some = points[POINT]
        return replace(self, conductance=self.conductance[some], current=self.current[some])

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One device per output (including its target source)."""
        return ((f"nudge_{k}", (minus, plus)) for k, (plus, minus) in enumerate(self.outputs))

    def lines(self) -> Iterable[str]:
        """V and R (or I) elements in a static circuit; B elements along a sweep."""
        static, g = len(self.conductance) == 1, float(self.conductance[0])
        if not static:
            yield f"Bbeta beta 0 V={series(self.conductance)}"
        for k, (plus, minus) in enumerate(self.outputs):
            factor = 1.0 if self.factor is None else float(self.factor[k])
            if not static:
                read = plus if minus == GROUND else f"{plus},{minus}"
                pull = f"V(beta)*V({read})" if factor == 1 else f"{factor!r}*V(beta)*V({read})"
                yield f"Bnudge_{k} {minus} {plus} I={series(self.current[:, k])}-{pull}"
            elif g == 0:
                yield f"Inudge_{k} {minus} {plus} {float(self.current[0, k])!r}"
            else:
                yield f"Vy_{k} y_{k} {minus} {float(self.current[0, k]) / (factor * g)!r}"
                yield f"Rnudge_{k} y_{k} {plus} {1 / (factor * g)!r}"

    def check(self) -> None:
        """Finite nudges."""
        good = np.isfinite(self.current).all(axis=0) & np.isfinite(self.conductance).all()
        _require(good, tuple(plus for plus, _ in self.outputs), "nudge is not finite")


def _instances(
    devices: Iterator[tuple[str, tuple[str, ...]]],
    model: str,
    parameters: Mapping[str, float | Float[Array, " devices"]],
) -> Iterator[str]:
    """Yield X lines, each device with its parameters."""
    bank = list(devices)
    columns = [np.broadcast_to(np.asarray(values, float), (len(bank),)).tolist() for values in parameters.values()]
    for (name, nets), *values in zip(bank, *columns, strict=True):
        own = (f"{key}={value!r}" for key, value in zip(parameters, values, strict=True))
        yield " ".join([name, *nets, model, *own])


def _require(good: Array, nets: tuple[str, ...], what: str) -> None:
    if not good.all():
        raise UserError(f"net {nets[int(np.argmin(good))]}: {what}")
