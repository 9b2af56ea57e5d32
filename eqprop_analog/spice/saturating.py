"""Elements of a Hopfield network's circuit in addition to spice.elements, in banks: weights, buffers, and parts of a nudge."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.nudge import Cost
from eqprop_analog.errors import UserError
from eqprop_analog.spice.elements import GROUND, POINT, SAMPLE, Element, Pair, series, subcircuit

Array = np.ndarray

PINS = 1005
"""Largest number of pins of a subcircuit in ngspice."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a convolution as parameters ``<stem>_<out>_<in>_<row>_<column>`` of the netlist."""

    stem: str
    values: Float[Array, "out in height width"]
    shared: Int[Array, "rows columns"]
    """Flat index of the value of each weight."""
    here: bool
    """Whether this bank writes the parameters; tied feedback weights use those of the forward weights."""

    @property
    def names(self) -> list[str]:
        """Names of all values, flat."""
        return [f"{self.stem}_{'_'.join(map(str, index))}" for index in np.ndindex(self.values.shape)]


@dataclass(frozen=True, eq=False)
class Weights(Element):
    """I_ij = |W_ij|·unit·(±V(row_i) - V(column_j)), with the sign of W_ij; for W_ij = 0, there is no resistor.

    Rows are ideal sources, so that a resistor is equivalent to a current W_ij·unit·V(row_i) and a conductance at the
    column. ``controlled`` writes only these currents, as G elements, whose matrix ngspice orders three times as fast.
    """

    prefix: str
    """R<prefix>_<i>_<j> is a resistor's name."""
    true: tuple[str, ...]
    """Nets at +K·s."""
    inverted: tuple[str, ...]
    """Nets at -K·s."""
    columns: tuple[str, ...]
    weights: Float[Array, "rows columns"]
    unit: float
    """g/K, siemens."""
    kernel: Kernel | None = None
    """Values that weights share; None writes each resistor separately."""
    controlled: bool = False

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """All weights as one device; rows without a weight are not connected."""
        used = dict.fromkeys(net for pair in self._pairs() for net in pair)
        yield f"weights_{self.prefix}", tuple(used)

    def dc_paths(self) -> Iterable[Pair]:
        """Every resistor."""
        return [] if self.controlled else self._pairs()

    def lines(self) -> Iterable[str]:
        """R elements, ohms, or G elements, siemens; a shared kernel is preceded by its parameters."""
        i, j = np.nonzero(self.weights)
        G = self.unit * self.weights[i, j]
        values = G.tolist() if self.controlled else (1 / np.abs(G)).tolist()
        texts = [repr(value) for value in values]
        if self.kernel is not None:
            names = self.kernel.names
            if self.kernel.here:
                shared = zip(names, self.kernel.values.ravel().tolist(), strict=True)
                yield from (f".param {name}={value!r}" for name, value in shared)
            form = "{{{unit!r}*{name}}}" if self.controlled else "{{1/({unit!r}*abs({name}))}}"
            texts = [form.format(unit=self.unit, name=names[k]) for k in self.kernel.shared[i, j].tolist()]
        kind = "G" if self.controlled else "R"
        for a, b, text, (row, column) in zip(i.tolist(), j.tolist(), texts, self._pairs(), strict=True):
            ends = f"0 {column} {row} 0" if self.controlled else f"{row} {column}"
            yield f"{kind}{self.prefix}_{a}_{b} {ends} {text}"

    def in_numbers(self) -> "Weights":
        """Without parameters: each weight has its own value."""
        return replace(self, kernel=None)

    def _pairs(self) -> list[Pair]:
        """(row, column) of every weight."""
        i, j = np.nonzero(self.weights)
        true = (self.weights[i, j] > 0) | self.controlled
        rows = ((self.true if up else self.inverted)[a] for a, up in zip(i.tolist(), true.tolist(), strict=True))
        return [(row, self.columns[b]) for row, b in zip(rows, j.tolist(), strict=True)]

    def check(self) -> None:
        """Finite weights."""
        good = np.isfinite(self.weights)
        if not good.all():
            i, j = np.argwhere(~good)[0]
            raise UserError(
                f"net {self.columns[j]}: weight R{self.prefix}_{i}_{j} is not finite ({self.weights[i, j]})"
            )


@dataclass(frozen=True, eq=False)
class Buffers(Element):
    """V(true) = K·ρ(V(node)), V(inverted) = -V(true); subcircuit of the buffer's law."""

    layer: int
    nodes: tuple[str, ...]
    true: tuple[str, ...]
    inverted: tuple[str, ...]
    model: str
    """Subcircuit, defined in ``circuits/<model>.lib``."""
    parameters: dict[str, float]

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(node, true, inverted) of each."""
        nets = zip(self.nodes, self.true, self.inverted, strict=True)
        return ((f"Xb{self.layer}_{j}", each) for j, each in enumerate(nets))

    def dc_paths(self) -> Iterable[Pair]:
        """Both outputs to ground; the node itself is only sensed."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Both outputs against ground."""
        return ((net, GROUND) for net in (*self.true, *self.inverted))

    def lines(self) -> Iterable[str]:
        """X elements."""
        tail = subcircuit(self.model, self.parameters)
        return (f"{name} {' '.join(nets)} {tail}" for name, nets in self.devices())

    def check(self) -> None:
        """The law checks its parameters."""


@dataclass(frozen=True, eq=False)
class Pools(Element):
    """I into node = g·V(the winner of its sites); V(won) is 1 V at the winner and 0 V elsewhere. Subcircuit ``max_pool_<sites>``.

    One X element per window; its subcircuit is a chain of ``circuits/pool_site.lib``.
    """

    prefix: str
    """Xpool<prefix>_<index> is a device's name."""
    nodes: tuple[str, ...]
    """Nodes that receive the currents; ground if only the winner is needed."""
    sites: tuple[tuple[str, ...], ...]
    """Compared sites of each window, in order."""
    won: tuple[tuple[str, ...], ...]
    """Nets at 1 V or 0 V, one per site."""
    conductance: float
    """g, siemens."""
    tie: Float[Array, " windows"]
    """Tolerance for ties, volts: the first site this close to the largest wins."""
    here: bool
    """Whether this bank writes the subcircuit; otherwise an earlier one does."""

    @property
    def model(self) -> str:
        """Name of the subcircuit."""
        return f"max_pool_{len(self.sites[0])}"

    @property
    def mesh(self) -> int:
        """Number of sites: kernels connect neighbouring ones to the same nodes, and winners act back on them."""
        return sum(map(len, self.sites))

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(node, sites, won) of each."""
        windows = zip(self.nodes, self.sites, self.won, strict=True)
        return ((f"Xpool{self.prefix}_{j}", (node, *s, *w)) for j, (node, s, w) in enumerate(windows))

    def dc_paths(self) -> Iterable[Pair]:
        """Every won net to ground; sites are only sensed."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Every won net against ground."""
        return ((net, GROUND) for window in self.won for net in window)

    def lines(self) -> Iterable[str]:
        """The subcircuit, and X elements."""
        if self.here:
            yield from self._definition()
        for (name, nets), tie in zip(self.devices(), self.tie.tolist(), strict=True):
            yield f"{name} {' '.join(nets)} {subcircuit(self.model, {'g': self.conductance, 'tie': tie})}"

    def _definition(self) -> Iterator[str]:
        """Return the chain: each site passes on the largest value so far, and whether one has won."""
        sites = range(1, len(self.sites[0]) + 1)
        pins = " ".join([*(f"site{k}" for k in sites), *(f"won{k}" for k in sites)])
        yield "* A max pool: the current into node is g (siemens) times the largest site; tie in volts, see pool_site."
        yield f".subckt {self.model} node {pins} params: g=1e-6 tie=0"
        for k in sites:
            before, earlier = ("site1", "0") if k == 1 else (f"most{k - 1}", f"taken{k - 1}")
            pins = f"site{k} {before} most{k} most{sites[-1]} {earlier} taken{k} won{k} node"
            yield f"Xsite{k} {pins} pool_site g={{g}} tie={{tie}}"
        yield f".ends {self.model}"

    def check(self) -> None:
        """No more pins than a subcircuit can have."""
        pins = 1 + 2 * len(self.sites[0])
        if pins > PINS:
            raise UserError(
                f"net {self.nodes[0]}: a pool of {len(self.sites[0])} sites is a subcircuit of {pins} pins, and "
                f"ngspice allows {PINS}; pool in two steps"
            )


@dataclass(frozen=True, eq=False)
class PoolReturns(Element):
    """V(true) = V(output)·V(won), V(inverted) = -V(true): the feedback through every site.

    Subcircuit ``pool_return``.
    """

    prefix: str
    """Xback<prefix>_<index> is a device's name."""
    numbers: tuple[int, ...]
    """Numbers of the sites."""
    outputs: tuple[str, ...]
    """True output of the node after the pool, for each site."""
    won: tuple[str, ...]
    true: tuple[str, ...]
    inverted: tuple[str, ...]

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(output, won, true, inverted) of each."""
        nets = zip(self.numbers, self.outputs, self.won, self.true, self.inverted, strict=True)
        return ((f"Xback{self.prefix}_{k}", each) for k, *each in nets)  # type: ignore[misc]

    def dc_paths(self) -> Iterable[Pair]:
        """Both outputs to ground."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Both outputs against ground."""
        return ((net, GROUND) for net in (*self.true, *self.inverted))

    def lines(self) -> Iterable[str]:
        """X elements."""
        return (f"{name} {' '.join(nets)} pool_return" for name, nets in self.devices())

    def check(self) -> None:
        """No values."""


@dataclass(frozen=True, eq=False)
class Pulls(Element):
    """V(p_k) = V(beta)·(V(y_k) - r_k), or V(beta)·(V(y_k) - V(y)·softmax(r)_k) for cross-entropy, y the sum of the targets."""

    readouts: tuple[str, ...]
    """Read-outs r_k as SPICE expressions, volts."""
    nets: tuple[str, ...]
    """The nodes that they sense."""
    cost: Cost

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One source per read-out."""
        for k, net in enumerate(self.nets):
            yield f"Bp_{k}", (f"p_{k}", "beta", f"y_{k}", net, *(("y", "z") if self.cost == "cross-entropy" else ()))

    def dc_paths(self) -> Iterable[Pair]:
        """Every pull to ground."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """Every pull against ground."""
        nets = [f"p_{k}" for k in range(len(self.nets))]
        return ((net, GROUND) for net in (*nets, *(("y", "z") if self.cost == "cross-entropy" else ())))

    def lines(self) -> Iterable[str]:
        """B elements."""
        if self.cost == "squared-error":
            return (f"Bp_{k} p_{k} 0 V=V(beta)*(V(y_{k})-{r})" for k, r in enumerate(self.readouts))
        return (
            f"By y 0 V={'+'.join(f'V(y_{k})' for k in range(len(self.nets)))}",
            f"Bz z 0 V={'+'.join(f'exp({r})' for r in self.readouts)}",
            *(f"Bp_{k} p_{k} 0 V=V(beta)*(V(y_{k})-V(y)*exp({r})/V(z))" for k, r in enumerate(self.readouts)),
        )

    def check(self) -> None:
        """Targets are checked as sources."""


@dataclass(frozen=True, eq=False)
class Transconductances(Element):
    """I into node_j = Σ_k G_jk·V(p_k)."""

    nodes: tuple[str, ...]
    pulls: tuple[str, ...]
    transconductance: Float[Array, "nodes pulls"]
    """Transconductances, siemens, of either sign; 0 is omitted."""

    def _present(self) -> Iterator[tuple[int, int]]:
        return ((j, k) for j, k in np.argwhere(self.transconductance).tolist())

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One a pair."""
        return ((f"Gnudge_{j}_{k}", (GROUND, self.nodes[j], self.pulls[k])) for j, k in self._present())

    def lines(self) -> Iterable[str]:
        """G elements."""
        G = self.transconductance.tolist()
        return (f"Gnudge_{j}_{k} 0 {self.nodes[j]} {self.pulls[k]} 0 {G[j][k]!r}" for j, k in self._present())

    def check(self) -> None:
        """The read-out checks its weights."""


@dataclass(frozen=True, eq=False)
class Holds(Element):
    """I_j = HOLD·g·(start_j - V(node_j)) at the first of every sample's two points, 0 at the second."""

    nodes: tuple[str, ...]
    start: Float[Array, "samples nodes"]
    """Volts."""
    conductance: float
    """Siemens."""

    def select(self, points: Mapping[str, Int[Array, " some"]]) -> "Holds":
        """See Element."""
        return replace(self, start=self.start[points[SAMPLE]])

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One a node."""
        return ((f"Bhold_{j}", (GROUND, node, "hold")) for j, node in enumerate(self.nodes))

    def dc_paths(self) -> Iterable[Pair]:
        """The net that switches them."""
        return self.held()

    def held(self) -> Iterable[Pair]:
        """The net that switches them."""
        return (("hold", GROUND),)

    def lines(self) -> Iterable[str]:
        """B elements."""
        sample = f"+2*V({SAMPLE})" if len(self.start) > 1 else ""
        yield f"Bhold hold 0 V=1-V({POINT}){sample}"
        for j, (node, start) in enumerate(zip(self.nodes, self.start.T, strict=True)):
            yield f"Bhold_{j} 0 {node} I={self.conductance!r}*V(hold)*({series(start, SAMPLE)}-V({node}))"

    def check(self) -> None:
        """Finite voltages."""
        good = np.isfinite(self.start).all(axis=0)
        if not good.all():
            raise UserError(f"net {self.nodes[int(np.argmin(good))]}: its initial voltage must be finite")
