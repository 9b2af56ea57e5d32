"""Resistive networks on any graph: resistors and diodes between any two nodes, sources at some nodes, read-outs at others.

Source: Stern et al. 2021, PRX 11 021045; Dillavou et al. 2022, Phys. Rev. Applied 18 014040 (networks of learning resistors).
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import networkx as nx
import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, DTypeLike
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from eqprop_analog.core.checks import LARGEST_CONDUCTANCE, check_pair, check_window, checked_inputs, unsound_conductance
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.core.shown import quantity_text
from eqprop_analog.devices import Antiparallel, Law, NgspiceDiode, check_law, law_from, table_of
from eqprop_analog.errors import UserError
from eqprop_analog.files import loaded_arrays, real, save_arrays
from eqprop_analog.incoming import LARGEST, MOST, known_keywords, listed, one_of, real_array, real_number
from eqprop_analog.networks.graph.reading import GROUND, GraphReader, integers
from eqprop_analog.text import unsuitable_name

if TYPE_CHECKING:
    from eqprop_analog.networks.graph.equations import GraphEquations
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray
Node = Hashable

FORMAT = "eqprop-analog graph network 1"


@dataclass(frozen=True, eq=False, repr=False)
class GraphNetwork(Network):
    """E = Σ_e ½ G_e (v_tail - v_head)² + Σ_d Φ(v_anode - v_cathode) - Σ_k c_k v_k, minimal over the voltages of free nodes.

    Nodes of ``inputs`` and ``rails`` are fixed by ideal sources. Φ' = I is the diode's current from anode to cathode:
    that of a law's diode from its rail into a node, I(w) = -i(rail - w). Kirchhoff's current law is ∂E/∂v = 0.
    """

    family: ClassVar[str] = "graph"

    names: tuple[str, ...]
    """One unique name per node, as in netlists, of the characters a-z, 0-9 and _."""
    resistors: Int[Array, "edges 2"]
    """(tail, head) of each resistor."""
    conductances: Float[Array, " edges"]
    """Conductances of the resistors, siemens, writable."""
    inputs: Int[Array, " inputs"]
    """Nodes that are fixed at each sample's voltages."""
    outputs: Int[Array, "outputs 2"]
    """(plus, minus) nodes of each read-out v_plus - v_minus; minus = -1 is ground."""
    rails: Int[Array, " rails"]
    """Nodes at fixed voltages."""
    rail_volts: Float[Array, " rails"]
    """Voltages of the rails, volts."""
    currents: Float[Array, " nodes"]
    """Currents of constant sources into each node, amperes, of either sign."""
    diodes: Int[Array, "diodes 2"]
    """(anode, cathode) of each diode."""
    diode: Law = field(default_factory=NgspiceDiode)
    """Law of every diode."""
    conductance_window: tuple[float, float] = (1e-8, 1e-4)
    """(G_min, G_max), siemens: the range of learned conductances."""

    def __post_init__(self) -> None:
        """Convert values to float64 and nodes to integers. Raises UserError for other types and for invalid names."""
        for name in _FLOATS:
            object.__setattr__(self, name, real_array(getattr(self, name), name, float, finite=False))
        for name, columns in _INTEGERS.items():
            given = real_array(getattr(self, name), name)
            if (
                (given != np.floor(given)).any()
                or np.abs(given).max(initial=0) > MOST
                or (given.size and given.shape[1:] != columns)
            ):
                raise UserError(
                    f"{name}: expected integers, {('one', 'two')[len(columns)]} in each row, got {given!r:.80}"
                )
            object.__setattr__(self, name, given.astype(np.intp).reshape(-1, *columns))
        object.__setattr__(self, "conductance_window", check_window(self.conductance_window))
        check_law(self.diode)
        if trouble := unsuitable_name(listed(self.names, "names", "node")):
            raise UserError(f"names: {trouble}; expected a unique name for each node, such as n_3_4")

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        low, high = (quantity_text(value, "S") for value in self.conductance_window)
        return {
            "nodes": f"{len(self.names):,}",
            "inputs": str(len(self.inputs)),
            "read-outs": str(len(self.outputs)),
            "resistors": f"{len(self.conductances):,}",
            "window": f"{low} to {high}",
            "diodes": f"{len(self.diodes):,}" + (f" of {self.diode!r}" if len(self.diodes) else ""),
        }

    @classmethod
    @known_keywords
    def from_graph(
        cls,
        graph: "nx.Graph[Any]",
        inputs: Sequence[Node],
        outputs: Sequence[Node | tuple[Node, Node]],
        rails: Mapping[Any, float] = MappingProxyType({}),
        *,
        diode: Law | None = None,
        conductance_window: tuple[float, float] = (1e-8, 1e-4),
    ) -> Self:
        """Make the circuit on an undirected ``networkx`` graph (in a MultiGraph, a resistor may be parallel to a diode).

        An edge with ``anode=node`` is a diode from that end to the other; every other edge is a resistor of ``conductance``
        siemens or ``resistance`` ohms (default 1 µS). A node may have ``current``, amperes, and ``pos`` for drawings; any
        other attribute is refused. ``inputs``: nodes fixed at each sample's voltages, in the order of a sample's
        values. ``outputs``: a node, or a pair (plus, minus) of nodes whose voltage difference is read. ``rails``: fixed
        voltages by node; ground is a rail at 0 V. ``diode``: the law of every diode. ``conductance_window``: (G_min,
        G_max) of learning, siemens. Raises UserError.

        >>> import networkx as nx
        >>> import eqprop_analog as ea
        >>> network = ea.GraphNetwork.from_graph(nx.path_graph(3), inputs=[0], outputs=[1], rails={2: 0.0})  # twice 1 µS
        >>> float(ea.SparseNewtonSolver().solve(network, [[1.0]]).outputs[0, 0])
        0.5
        """
        window = check_window(conductance_window)
        reader = GraphReader(graph, window)
        if not isinstance(rails, Mapping):
            raise UserError(f"rails: expected volts by node, such as {{node: 0.0}}, got {type(rails).__name__}")
        resistors, conductances, diodes = reader.branches()
        network = cls(
            names=reader.names(),
            resistors=integers(resistors, 2),
            conductances=np.array(conductances, float),
            inputs=integers([reader.find(node, "inputs") for node in reader.listed(inputs, "inputs")]),
            outputs=integers([reader.readout(output) for output in reader.listed(outputs, "outputs")], 2),
            rails=integers([reader.find(node, "rails") for node in rails]),
            rail_volts=np.array([real_number(v, f"rail {node}", "volts") for node, v in rails.items()], float),
            currents=np.array(reader.currents()),
            diodes=integers(diodes, 2),
            diode=NgspiceDiode() if diode is None else diode,
            conductance_window=window,
        )
        network.validate()
        return network

    @property
    def layers(self) -> tuple[int, int, int]:
        """(inputs, nodes, read-outs)."""
        return len(self.inputs), len(self.names), len(self.outputs)

    @property
    def voltage_names(self) -> tuple[str, str]:
        """See core.Network."""
        return "nodes", "o"

    @property
    def connections_by_layer(self) -> tuple[int, int]:
        """None at the inputs; all resistors and diodes."""
        return 0, len(self.resistors) + len(self.diodes)

    @property
    def resistors_in_circuit(self) -> int:
        """One resistor per edge."""
        return len(self.resistors)

    @cached_property
    def held(self) -> Int[Array, " held"]:
        """Nodes with a source: inputs, then rails."""
        return np.concatenate([self.inputs, self.rails])

    @cached_property
    def free(self) -> Int[Array, " free"]:
        """Nodes without a source, whose voltages are unknown, in an order of elimination that keeps the factors sparse."""
        nodes = np.setdiff1d(np.arange(len(self.names)), self.held)
        if not nodes.size:
            return nodes
        touching = self.incidence[:, nodes]
        pattern = csc_array(touching.T @ touching + eye_array(len(nodes)))
        factors = splu(pattern, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return nodes[np.argsort(factors.perm_c)]

    @cached_property
    def incidence(self) -> csr_array:
        """Δ (branches, nodes), of +1 and -1: Δv holds the drops across resistors, then diodes, then the read-outs."""
        branches = np.concatenate([self.resistors, self.diodes, self.outputs])
        row, end = np.nonzero(branches != GROUND)
        values = np.array([1.0, -1.0])[end]
        return csr_array((values, (row, branches[row, end])), shape=(len(branches), len(self.names)))

    @cached_property
    def stencil(self) -> tuple[csr_array, Int[Array, " entries"], Int[Array, " free+1"]]:
        """The Jacobian ΔᵀSΔ over the free nodes by columns: (map from the branches' slopes to its entries, rows, starts)."""
        at = np.full(len(self.names) + 1, -1)  # the last one is ground
        at[self.free] = np.arange(len(self.free))
        ends = at[np.concatenate([self.resistors, self.diodes, self.outputs])]
        row, column = ends[:, [0, 1, 0, 1]], ends[:, [0, 1, 1, 0]]
        branch, corner = np.nonzero((row >= 0) & (column >= 0))
        place = column[branch, corner] * len(self.free) + row[branch, corner]
        places, entry = np.unique(place, return_inverse=True)
        signs = np.array([1.0, 1.0, -1.0, -1.0])[corner]
        scatter = csr_array((signs, (entry, branch)), shape=(len(places), len(ends)))
        columns, rows = np.divmod(places, len(self.free))
        return scatter, rows, np.searchsorted(columns, np.arange(len(self.free) + 1))

    def drops(self, voltages: Float[Array, "batch nodes"]) -> tuple[Array, Array, Array]:
        """Return voltages (V) across resistors (batch, edges), across diodes (batch, diodes), and the read-outs (batch, outputs).

        ``voltages``: of all nodes.
        """
        across = (self.incidence @ voltages.T).T
        edges, diodes = len(self.resistors), len(self.resistors) + len(self.diodes)
        return across[:, :edges], across[:, edges:diodes], across[:, diodes:]

    def energy(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """Return E of each sample, watts (up to the constant of the co-contents); ``voltages`` of all nodes."""
        drops, across, _ = self.drops(voltages)
        contents = self.diode.cocontent(self.diode.rail - across).sum(axis=1)
        return np.asarray(0.5 * drops**2 @ self.conductances + contents - voltages @ self.currents)

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """Return ``inputs`` as (batch, inputs) float64 volts. Raises UserError if they are invalid."""
        return checked_inputs(inputs, len(self.inputs), float, "voltage")

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "GraphEquations":
        """Return Kirchhoff's current law at every free node."""
        from eqprop_analog.networks.graph.equations import GraphEquations

        return GraphEquations.of(self, inputs)

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence[Any] = (None,),
        form: str = "flat",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """See core.Network."""
        from eqprop_analog.networks.graph.netlist import compile_graph

        one_of(form, "form", self.forms)
        return compile_graph(self, inputs, [each and each.injection for each in phases], validate=validate)

    def usual_beta(self) -> float:
        """Return the default β, siemens: a tenth of the bound below which the circuit is definite."""
        from eqprop_analog.networks.graph.equations import output_resistance

        return 0.1 / float(np.linalg.eigvalsh(output_resistance(self))[-1])

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the network; sparse factors exist only in float64. Raises UserError for another precision."""
        if np.dtype(dtype) != np.float64:
            raise UserError(f"precision: graph networks are computed in float64, got {np.dtype(dtype)}")
        return replace(self, conductances=self.conductances.copy())

    def arrays(self) -> dict[str, Array]:
        """Return the conductances (S), by their name in files."""
        return {"conductances": self.conductances}

    def confine(self) -> int:
        """Clip every conductance to the window, in place; edges that reach 0 S stay open."""
        np.clip(self.conductances, *self.conductance_window, out=self.conductances)
        return 0

    def contrast(
        self, inputs: Float[Array, "batch inputs"] | None, plus: Equilibrium, minus: Equilibrium
    ) -> dict[str, Array]:
        """dC/dG_e = 1/(β₊ - β₋) · ½⟨(Δv_e)²₊ - (Δv_e)²₋⟩, batch mean, V²/S: each edge uses only its own voltage.

        Source: Scellier & Bengio 2017; for such networks Stern et al. 2021 (coupled learning) and Kendall et al. 2020.
        Raises UserError for phases that failed or do not match.
        """
        batch = len(plus.status) if inputs is None else len(inputs)
        check_pair("contrast", self.phase_shapes(batch), plus, minus)
        # ½(a² - b²) is the mean drop times the difference of drops: no cancellation of large squares.
        mean = 0.5 * (plus.voltages[0] + minus.voltages[0])
        slope = (plus.voltages[0] - minus.voltages[0]) / (plus.beta - minus.beta)
        return self.gradient(inputs, (mean,), (slope,))

    def gradient(
        self,
        inputs: Float[Array, "batch inputs"] | None,  # noqa: ARG002 - the node voltages suffice
        voltages: tuple[Array, ...],
        response: tuple[Array, ...],
    ) -> dict[str, Array]:
        """⟨Δv_e · (Δ dv/dβ)_e⟩ of every edge, from all nodes' voltages and their response, V²/S."""
        return {"conductances": (self.drops(voltages[0])[0] * self.drops(response[0])[0]).mean(axis=0)}

    def in_spice(self) -> Self:
        """Return the network that SPICE solves instead of this one (see Law.in_spice)."""
        return replace(self, diode=self.diode.in_spice())

    def validate(self) -> None:
        """Raise UserError, with the node, unless every free node has a resistive path to a source and all values are valid."""
        self._require_shapes()
        for values, what in ((self.rail_volts, "rail voltage"), (self.currents, "source current")):
            sound = np.abs(values) <= LARGEST  # neither holds for NaN
            if not sound.all():
                k = int(np.argmin(sound))
                node = self.rails[k] if values is self.rail_volts else k
                raise UserError(f"node {self.names[node]}: {what} is not within ±{LARGEST:g} ({values[k]})")
        if (found := unsound_conductance(self.conductances)) is not None:
            (edge,), _ = found
            tail, head = self.resistors[edge]
            raise UserError(
                f"node {self.names[tail]}: conductance {edge} to {self.names[head]} must be between 0 and "
                f"{LARGEST_CONDUCTANCE:g} S, got {self.conductances[edge]} S"
            )
        self._require_sources()
        self._require_paths()

    def _require_shapes(self) -> None:
        count = len(self.names)
        pairs = {"resistors": self.resistors, "diodes": self.diodes, "outputs": self.outputs}
        if self.conductances.shape != (len(self.resistors),) or self.currents.shape != (count,):
            raise UserError(
                f"network: expected {len(self.resistors)} conductances and {count} currents, got shapes "
                f"{self.conductances.shape} and {self.currents.shape}"
            )
        if self.rail_volts.shape != self.rails.shape:
            raise UserError(f"rails: expected {len(self.rails)} voltages, got shape {self.rail_volts.shape}")
        against = self.outputs[:, 1]
        nodes = {**pairs, "inputs": self.inputs, "rails": self.rails, "outputs": self.outputs[:, 0]}
        for name, ends in {**nodes, "outputs' second nodes": against[against != GROUND]}.items():
            if ends.size and not (ends.min() >= 0 and ends.max() < count):
                raise UserError(f"{name}: expected nodes 0 to {count - 1}, got {ends.min()} to {ends.max()}")
        for name, ends in pairs.items():
            same = ends[:, 0] == ends[:, 1]
            if same.any():
                raise UserError(
                    f"node {self.names[ends[same][0, 0]]}: one of the {name} connects it to itself; leave it out"
                )
        if not len(self.outputs):
            raise UserError("outputs: expected at least one node or pair of nodes to read, got none")

    def _require_sources(self) -> None:
        twice = [node for node, count in Counter(self.held.tolist()).items() if count > 1]
        if twice:
            raise UserError(
                f"node {self.names[twice[0]]}: two ideal voltage sources form a loop; list it only once among inputs and rails"
            )
        if len(self.diodes):
            self._require_junctions()

    def _require_junctions(self) -> None:
        fixed = np.isin(self.diodes, self.held).all(axis=1)
        if fixed.any():
            anode, cathode = self.diodes[int(fixed.argmax())]
            raise UserError(
                f"node {self.names[anode]}: a diode connects it to {self.names[cathode]}, and sources "
                "hold both, so it only shorts "
                f"them; leave it out"
            )
        if isinstance(self.diode, Antiparallel):
            raise UserError(
                "diode: for an antiparallel pair use two edges of a MultiGraph, one diode in each "
                "direction; give the law of one diode"
            )
        if not np.isfinite(self.diode.slope(np.array([self.diode.rail - 1.0]))).all():
            raise UserError(
                f"diode: {self.diode} has an unbounded slope, so it cannot connect two free nodes; give it an on_resistance"
            )

    def _require_paths(self) -> None:
        conducting = self.resistors[self.conductances > 0]
        count = len(self.names)
        sources = np.stack([self.held, np.full(len(self.held), count)], axis=1)
        ends = np.concatenate([conducting, sources])
        joined = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count + 1, count + 1))
        _, part = connected_components(joined, directed=False)
        floating = np.flatnonzero(part[:count] != part[count])
        if floating.size:
            island = [self.names[k] for k in floating if part[k] == part[floating[0]]]
            others = f" (the same holds for {', '.join(island[1:])})"[:200] if len(island) > 1 else ""
            raise UserError(
                f"node {island[0]}: no path of resistors to an input or a rail{others}; diodes and current sources do not "
                f"count"
            )

    def save(self, path: str | Path) -> None:
        """Write an uncompressed ``.npz`` (arrays and one JSON text, no pickle) atomically.

        Raises UserError if it cannot be written.
        """
        description = {
            "names": self.names,
            "diode": table_of(self.diode),
            "conductance_window": self.conductance_window,
        }
        arrays = {name: getattr(self, name) for name in (*_INTEGERS, *_FLOATS)}
        save_arrays(path, FORMAT, description, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a network written by ``save``. Raises UserError for any other file."""
        with loaded_arrays(path, FORMAT) as (description, file):
            integers = {name: real(file[name]).astype(np.intp) for name in _INTEGERS}
            floats = {name: real(file[name]) for name in _FLOATS}
            network = cls(
                names=tuple(description["names"]),
                **integers,
                **floats,
                diode=law_from(description["diode"]),
                conductance_window=description["conductance_window"],
            )
            network.validate()
        return network


_INTEGERS: dict[str, tuple[int, ...]] = {"resistors": (2,), "inputs": (), "outputs": (2,), "rails": (), "diodes": (2,)}
"""Arrays of nodes, and the last axes of their shapes."""
_FLOATS = ("conductances", "rail_volts", "currents")
