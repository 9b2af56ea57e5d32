"""A layered resistive network with the imperfections of a real chip: its crossbars, amplifiers and their connections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from eqprop_analog.core.checks import check_pair, layer_shapes, solved
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.gradient import Gradient
from eqprop_analog.devices import Antiparallel, Law
from eqprop_analog.devices.junctions import Junctions, junction_of
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import one_of
from eqprop_analog.networks.crossbars.driven import DrivenCrossbar
from eqprop_analog.networks.crossbars.square import Square, full, plus, solved_by, times
from eqprop_analog.networks.crossbars.wired import TILE, WiredCrossbar
from eqprop_analog.networks.nonideal.amplifiers import AmplifiedNetwork
from eqprop_analog.networks.nonideal.periphery import JUNCTION, Periphery
from eqprop_analog.networks.resistive.network import ResistiveNetwork

if TYPE_CHECKING:
    from eqprop_analog.networks.nonideal.equations import NonidealEquations
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray
NOMINAL = (
    "biases",
    "diode",
    "amplifier_gain",
    "input_gain",
    "conductance_window",
    "bias_row",
    "outputs",
)
"""Properties that a chip shares with its ideal network."""
Block = tuple[slice, slice, Square | Float[Array, "to of"]]
"""Nodes out of which a block of a matrix draws current, nodes with the voltages, and the block (a vector: its diagonal)."""


@dataclass(frozen=True, eq=False, repr=False)
class NonidealNetwork(AmplifiedNetwork):
    """I_l = Y_l p_l, p_l = (a_{l-1}, v_l): crossbars with wires between imperfect amplifiers, diodes and sources.

    It represents one state of the weights and must be created again after an update. Raises UserError for invalid values.
    """

    family: ClassVar[str] = "nonideal"

    ideal: ResistiveNetwork
    """The ideal network, copied in float64: conductances, nominal gains, diode law, inputs."""
    periphery: Periphery = field(default_factory=Periphery)
    """The diodes, amplifiers, sources and nudges around the crossbars."""
    wire_resistance: float = 0.0
    """Resistance of one wire segment of every crossbar, ohms; 0: ideal wires."""
    tile: tuple[int, int] = TILE
    """Largest numbers of rows and columns of a tile."""
    compiled: bool = False
    """See WiredCrossbar."""
    link_resistance: float = 0.0
    """Resistance of the wire from each port of a tile to its node, ohms; see WiredCrossbar."""

    crossbars: tuple[DrivenCrossbar, ...] = field(init=False)
    """Crossbars 1..L with their wires and the output resistances of their drivers."""
    nudge_factor: Float[Array, " outputs"] = field(init=False)
    """Factor of the nudge at each output node."""
    circuit_kind: str = field(init=False, default=", one chip")

    def __post_init__(self) -> None:
        """Copy and validate the values."""
        self.ideal.validate()
        ideal = self.ideal.astype(np.float64)
        object.__setattr__(self, "ideal", ideal)
        for name in (*NOMINAL, "crossbars"):
            object.__setattr__(self, name, getattr(ideal, name))
        self.periphery.validate(ideal)
        arrays = [
            WiredCrossbar(
                crossbar.matrix(),
                self.wire_resistance,
                self.tile,
                compiled=self.compiled,
                link_resistance=self.link_resistance,
            )
            for crossbar in ideal.crossbars
        ]
        behind = [self.periphery.rows(ideal), *self.by_layer(self.own("output_resistance"))]
        driven = tuple(DrivenCrossbar(*pair) for pair in zip(arrays, behind, strict=True))
        object.__setattr__(self, "crossbars", driven)
        object.__setattr__(self, "nudge_factor", self.periphery.outputs(ideal))

    @property
    def forms(self) -> tuple[str, ...]:
        """See core.Network; the Norton form is exact only for ideal wires and sources."""
        return ("norton", "flat") if self.crossbars[0].direct else ("flat",)

    def usual_beta(self) -> float:
        """The default β, siemens: a tenth of the limit below which the equilibrium is unique."""
        resistance = self.nudge_factor[:, None] * np.linalg.inv(self.output_stiffness)
        return 0.1 / float(np.linalg.eigvals(resistance).real.max())

    def validate(self) -> None:
        """Do nothing, because the network is validated when it is created."""

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "NonidealEquations":
        """Kirchhoff's current law at every node, with wires eliminated."""
        from eqprop_analog.networks.nonideal.equations import NonidealEquations

        return NonidealEquations.of(self, inputs)

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence[Any] = (None,),
        form: str = "flat",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """See core.Network."""
        from eqprop_analog.networks.nonideal.netlist import compile_nonideal

        one_of(form, "form", ("norton", "flat"))
        injections = [each and each.injection for each in phases]
        return compile_nonideal(self, inputs, injections, form, validate=validate)  # type: ignore[arg-type]

    def astype(self, dtype: DTypeLike) -> Self:
        """The network itself, which is computed in float64. UserError for another precision."""
        if np.dtype(dtype) != np.float64:
            raise UserError(f"precision: nonideal networks are computed in float64, got {np.dtype(dtype)}")
        return self

    def arrays(self) -> dict[str, Array]:
        """The parameters of the ideal network at the time of creation."""
        return self.ideal.arrays()

    def confine(self) -> int:
        """Do nothing, because the network represents one state of the weights."""
        return 0

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """Contrast of the node voltages with nominal gains; ``cell_contrast`` is that of the cell voltages."""
        return self.ideal.contrast(inputs, plus, minus)

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> Gradient:
        """See core.Network, for each cell: Δv·(λ_column - b/A λ_node) of both ends of the conductance, including its wires."""
        self._require_cells("gradient")
        rows, returns = self.rows(inputs), self.by_layer(self.returns)
        drives = (rows, *self.drives(voltages))
        back = (np.zeros_like(rows), *(b * each for b, each in zip(returns, response[:-1], strict=True)))
        ends = zip(self.crossbars, drives, voltages, back, response, strict=True)
        cells = [crossbar.gradient((a, v), (b, own)) / len(inputs) for crossbar, a, v, b, own in ends]
        return Gradient(tuple(cells), tuple(-own.mean(axis=0) for own in response))

    def save(self, path: str | Path) -> None:  # noqa: ARG002 - the protocol's signature
        """Raise UserError, because a chip is sampled again from its specification and number, and only its network has a file."""
        raise UserError(
            "save: a nonideal network has no file, because it is sampled from its specification; save the ideal network"
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Raise UserError, as ``save`` does."""
        raise UserError(
            f"{path}: a nonideal network has no file, because it is sampled from its specification; load the ideal network"
        )

    def in_spice(self) -> Self:
        """The equivalent network that SPICE solves (see Law.in_spice)."""
        return self if self.diode.in_spice() is self.diode else replace(self, ideal=self.ideal.in_spice())

    @cached_property
    def junctions(self) -> Junctions | None:
        """Individual parameters of the diodes; None if all are those of the law."""
        law, periphery = junction_of(self.ideal.single_diode), self.periphery
        if law is None or not periphery.differs(JUNCTION):
            return None
        return Junctions(
            law,
            periphery.hidden("saturation_factor", self.ideal),
            periphery.hidden("emission_factor", self.ideal),
            law.celsius if periphery.celsius is None else periphery.celsius,
            periphery.hidden("temperature_mismatch", self.ideal),
        )

    @cached_property
    def _laws(self) -> tuple[Law, ...]:
        """Laws of every hidden layer, and finally of all hidden nodes together."""
        nominal = self.diode
        if self.junctions is None:
            return (nominal,) * self.depth
        own = [self.junctions.law, *(self.junctions.of(at).law for at in self.at[:-1])]
        return tuple(Antiparallel(law) if isinstance(nominal, Antiparallel) else law for law in (*own[1:], own[0]))

    def law(self, layer: int | None = None) -> Law:
        """See LayeredNetwork; with individual parameters and temperatures of the diodes."""
        return self._laws[-1 if layer is None else layer - 1]

    def diode_model(self, layer: int) -> tuple[str, Mapping[str, Any]]:
        """See LayeredNetwork."""
        return self.diode.spice if self.junctions is None else self.junctions.of(self.at[layer - 1]).spice

    @property
    def spice_options(self) -> Mapping[str, float]:
        """See LayeredNetwork; at the temperature of the chip."""
        return self.diode.options | (self.junctions.options if self.junctions else {})

    def spice_notes(self) -> tuple[str, ...]:
        """See LayeredNetwork."""
        from eqprop_analog.networks.nonideal.netlist import chip_notes

        return chip_notes(self)

    @property
    def reciprocal(self) -> bool:
        """Whether the amplifiers are reciprocal, so that Kirchhoff's current law is the stationarity of an energy."""
        return not self.periphery.differs(("forward_factor", "return_factor", "saturation_voltage"))

    def _require_reciprocal(self, what: str) -> None:
        if not self.reciprocal:
            raise UserError(
                f"{what}: a circuit whose amplifiers have gain errors or saturation has no energy; use the contrast of the "
                f"ideal network, or leave out forward_factor, return_factor and saturation_voltage"
            )

    def _require_cells(self, what: str) -> None:
        if not all(crossbar.is_matrix for crossbar in self.ideal.crossbars):
            raise UserError(
                f"{what}: every cell needs its own conductance, but cells of these crossbars share them; use the ideal network"
            )

    def energy(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> Float[Array, " batch"]:
        """E = Σ_l γ_l [ ½ p_lᵀ Y_l p_l + Σ_j (Φ_lj(v_lj) + ½ g_in v_lj² - b_lj v_lj) ] of each sample, watts up to a constant.

        p_l = (A_{l-1}(v_{l-1} + o), v_l). Raises UserError for a circuit that is not reciprocal.
        """
        self._require_reciprocal("energy")
        loaded = zip(self.gammas, range(1, self.depth), voltages, strict=False)
        return super().energy(inputs, voltages) + sum(
            0.5 * gamma * (v**2) @ self.loading(layer) for gamma, layer, v in loaded
        )

    def cell_contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """Difference of ⟨∂E/∂θ⟩ between two phases divided by that of β, with ∂E/∂G = ½(Δv)² of the drop across each cell.

        It is the gradient of the cost of the nudge, including factors and offsets. The contrast of the node voltages with nominal
        gains is that of ``ideal``. It needs (batch, rows, columns) arrays. UserError for a circuit that is not reciprocal.
        """
        self._require_reciprocal("cell_contrast")
        self._require_cells("cell_contrast")
        check_pair("cell_contrast", layer_shapes(len(inputs), self.layers), plus, minus)
        span = plus.beta - minus.beta
        rows, phases = self.rows(inputs), (plus.voltages, minus.voltages)
        ports = [[*zip((rows, *self.drives(voltages)), voltages, strict=True)] for voltages in phases]
        conductances, biases = [], []
        for crossbar, one, other, gamma in zip(self.crossbars, *ports, self.gammas, strict=True):
            weight = gamma / self.gammas[-1] / len(inputs)
            mean = 0.5 * (one[0] + other[0]), 0.5 * (one[1] + other[1])
            slope = (one[0] - other[0]) / span, (one[1] - other[1]) / span
            conductances.append(weight * crossbar.gradient(mean, slope))
            biases.append(-weight * slope[1].sum(axis=0))
        return Gradient(tuple(conductances), tuple(biases))

    @cached_property
    def drive_blocks(self) -> tuple[Block, ...]:
        """B by blocks, siemens: currents that v + o - w of the hidden layers draws from all nodes through the amplifiers."""
        blocks = []
        for below, above, each in zip(self.at[:-1], self.at[1:], self.crossbars[1:], strict=True):
            gains, returns = self.gains[below], self.returns[below]
            blocks.append((below, below, (returns * (each.row_block() * gains).T).T))
            blocks.append((above, below, -each.between.T * gains))
        return tuple(blocks)

    @cached_property
    def sources(self) -> Layers:
        """Constant currents into the nodes of layers 1..L, except those of crossbar 1, amperes: biases and offsets."""
        currents = np.concatenate(self.biases)
        for to, of, block in self.drive_blocks:
            currents[to] -= times(block, self.offset[None, of])[0]
        return tuple(currents[at] for at in self.at)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """K by blocks, siemens: currents that the node voltages draw, with rows at 0 V and unsaturated amplifiers.

        K is symmetric in units of √γ if the circuit is reciprocal. It is an M-matrix (off-diagonals not positive, inverse not
        negative) if the return factors of each layer are equal, for any forward factors and saturation. Without saturation, this
        also holds if the forward factors of each layer are equal. It always holds with one hidden layer whose crossbar 1 has
        ideal wires and sources. Otherwise it holds for small errors (output_stiffness raises an error if it does not).
        """
        own: list[Square] = [each.column_block() for each in self.crossbars]
        blocks: list[Block] = []
        for layer, (below, above) in enumerate(pairwise(self.at)):
            (_, _, loaded), forward = self.drive_blocks[2 * layer : 2 * layer + 2]
            own[layer] = plus(plus(own[layer], loaded), self.loading(layer + 1))
            blocks += [forward, (below, above, -self.returns[below, None] * self.crossbars[layer + 1].between)]
        return (*((at, at, block) for at, block in zip(self.at, own, strict=True)), *blocks)

    @cached_property
    def couplings(self) -> tuple[Block, ...]:
        """The off-diagonal part of K by blocks, siemens."""
        dense = (each for each in self.blocks if each[2].ndim > 1)
        return tuple((to, of, block - np.diag(np.diag(block)) if to == of else block) for to, of, block in dense)

    @cached_property
    def nodal_matrix(self) -> Float[Array, "nodes nodes"]:
        """K, siemens, as one matrix."""
        matrix = np.zeros((sum(self.layers[1:]),) * 2)
        for to, of, block in self.blocks:
            matrix[to, of] = full(block)
        return matrix

    @cached_property
    def reach(self) -> Float[Array, " nodes"]:
        """K⁻¹ 1, ohms: response of each node to one ampere into every node; positive, because K is an M-matrix."""
        return solved(self.nodal_matrix, np.ones(len(self.nodal_matrix)))

    @cached_property
    def output_stiffness(self) -> Float[Array, "outputs outputs"]:
        """S, siemens: K after elimination of the hidden layers in turn. UserError if K is not an M-matrix.

        With a nudge that subtracts the conductances β f at the outputs, K remains an M-matrix if and only if the spectral radius
        of β f S⁻¹ is below 1. Diodes only increase K, and saturating amplifiers drive the outputs less: this is the worst case.
        """
        blocks = {(to.start, of.start): block for to, of, block in self.blocks}
        starts = [where.start for where in self.at]
        stiffness = blocks[starts[0], starts[0]]
        for layer, (below, above) in enumerate(pairwise(starts), start=1):
            self._require_stable(stiffness, layer)
            eliminated = blocks[above, below] @ solved_by(stiffness, blocks[below, above])
            stiffness = full(blocks[above, above]) - eliminated
        self._require_stable(stiffness, self.depth)
        return full(stiffness)

    def _require_stable(self, stiffness: Square, layer: int) -> None:
        held = solved_by(stiffness, np.ones((len(stiffness), 1)))[:, 0]
        if not (held > 0).all():
            raise UserError(
                f"net {self.node_name(layer, int(held.argmin()))}: the amplifiers' forward_factor and return_factor "
                f"return so much current that the equilibrium may not be unique; use smaller errors"
            )

    def require_definite(self, beta: float, input_conductance: Float[Array, " nodes"] | None = None) -> None:  # noqa: ARG002
        """Raise UserError with the name of the output if the equilibrium is not unique under a nudge of ``beta`` siemens."""
        if beta >= 0:
            return
        resistance = self.nudge_factor[:, None] * solved(self.output_stiffness, np.eye(self.layers[-1]))
        values, vectors = np.linalg.eig(resistance)
        softest = int(values.real.argmax())
        if -beta * values[softest].real >= 1:
            name = self.node_name(self.depth, int(np.abs(vectors[:, softest]).argmax()))
            raise UserError(
                f"nudge: beta = {beta:.4g} S makes the circuit indefinite at net {name}: in this circuit the outputs are "
                f"held by only {1 / values[softest].real:.4g} S; use |beta| below that"
            )
