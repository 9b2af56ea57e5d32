"""What a Hopfield network's circuit has beside spice.elements, in banks: weights, buffers, and the parts of a nudge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.nudge import Cost
from eqprop_analog.errors import UserError
from eqprop_analog.spice.elements import GROUND, POINT, SAMPLE, Element, Pair, series, subcircuit

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a convolution as parameters ``<stem>_<out>_<in>_<row>_<column>`` of the netlist."""

    stem: str
    values: Float[Array, "out in height width"]
    shared: Int[Array, "rows columns"]
    """Which value, by its flat index, each weight is."""
    here: bool
    """Whether the bank writes the parameters; tied weights back are written from those of the way forward."""

    @property
    def names(self) -> list[str]:
        """Of all values, flat."""
        return [f"{self.stem}_{'_'.join(map(str, index))}" for index in np.ndindex(self.values.shape)]


@dataclass(frozen=True, eq=False)
class Weights(Element):
    """I_ij = |W_ij|·unit·(±V(row_i) - V(column_j)), the sign that of W_ij; W_ij = 0 is no resistor."""

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
    """Values that weights share; None writes each resistor's own."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """All of them as one device; rows that no weight uses touch nothing."""
        used = dict.fromkeys(net for pair in self.dc_paths() for net in pair)
        yield f"weights_{self.prefix}", tuple(used)

    def dc_paths(self) -> Iterable[Pair]:
        """Every resistor."""
        i, j = np.nonzero(self.weights)
        return [(self._row(a, b), self.columns[b]) for a, b in zip(i.tolist(), j.tolist(), strict=True)]

    def lines(self) -> Iterable[str]:
        """R elements, ohms; where weights share a kernel, its parameters first."""
        i, j = np.nonzero(self.weights)
        ohms = [repr(value) for value in (1 / (self.unit * np.abs(self.weights[i, j]))).tolist()]
        if self.kernel is not None:
            names = self.kernel.names
            if self.kernel.here:
                values = self.kernel.values.ravel().tolist()
                yield from (f".param {name}={value!r}" for name, value in zip(names, values, strict=True))
            ohms = [f"{{1/({self.unit!r}*abs({names[k]}))}}" for k in self.kernel.shared[i, j].tolist()]
        for a, b, r in zip(i.tolist(), j.tolist(), ohms, strict=True):
            yield f"R{self.prefix}_{a}_{b} {self._row(a, b)} {self.columns[b]} {r}"

    def _row(self, i: int, j: int) -> str:
        return self.true[i] if self.weights[i, j] > 0 else self.inverted[i]

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
        """Parameters are the law's own business."""


@dataclass(frozen=True, eq=False)
class Pulls(Element):
    """V(p_k) = V(beta)·(V(y_k) - r_k), or V(beta)·(V(y_k) - V(y)·softmax(r)_k) for cross-entropy, y the sum of the targets."""

    readouts: tuple[str, ...]
    """r_k as SPICE expressions, volts."""
    nets: tuple[str, ...]
    """The nodes that they sense."""
    cost: Cost

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One a read-out."""
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
    """Siemens, of any sign; 0 is none."""

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
        """Weights of a read-out are checked where it is made."""


@dataclass(frozen=True, eq=False)
class Holds(Element):
    """I_j = HOLD·g·(start_j - V(node_j)) at the first of every sample's two points, nothing at the second."""

    nodes: tuple[str, ...]
    start: Float[Array, "samples nodes"]
    """Volts."""
    conductance: float
    """Siemens."""

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
            raise UserError(f"net {self.nodes[int(np.argmin(good))]}: it cannot begin at a voltage that is not finite")
