"""A whole chip, solved for every node of its wires: tiles of possibly nonlinear cells, diodes, amplifiers, sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.checks import check_pair, layer_shapes
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.gradient import Gradient
from eqprop_analog.devices.cells import CellLaw, require_cell
from eqprop_analog.errors import UserError
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.whole_chip.assembly import Assembly, assembled

if TYPE_CHECKING:
    from eqprop_analog.networks.whole_chip.equations import WholeChipEquations
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class WholeChip(NonidealNetwork):
    """A NonidealNetwork with cell currents G f(u), as one set of equations for its nodes, row ports and wires.

    With linear cells it has the same equilibria as the NonidealNetwork, which eliminates the wires. Limits of nudges and
    definiteness refer to cells at small drops, where they conduct least.
    """

    family: ClassVar[str] = "whole_chip"

    cell: CellLaw | None = None
    """f of every cell; None is linear."""
    circuit_kind: str = field(init=False, default=", one whole chip")

    def __post_init__(self) -> None:
        """Copy and validate the values."""
        require_cell(self.cell)
        super().__post_init__()
        object.__setattr__(self, "crossbars", tuple(replace(each, cell=self.cell) for each in self.crossbars))

    @property
    def forms(self) -> tuple[str, ...]:
        """See core.Network: the circuit with every device."""
        return ("flat",)

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "WholeChipEquations":  # type: ignore[override]
        """Kirchhoff's current law at every node, including those of the wires."""
        from eqprop_analog.networks.whole_chip.equations import WholeChipEquations

        return WholeChipEquations.of(self, inputs)

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence[Any] = (None,),
        form: str = "flat",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """See core.Network; every node is probed."""
        return replace(super().circuit(inputs, phases, form, validate=validate), probes=self.assembly.names)

    @cached_property
    def assembly(self) -> Assembly:
        """Nodes and branches of the chip."""
        layers = [tuple(self.node_name(l, j) for j in range(self.layers[l])) for l in range(1, self.depth + 1)]
        return assembled(self.crossbars, tuple(layers), self.returns)

    def spice_notes(self) -> tuple[str, ...]:
        """See LayeredNetwork."""
        if self.cell is None:
            return super().spice_notes()
        return (*super().spice_notes(), f"B<l>_<i>_<j> are the cells, of law {self.cell}, in place of R<l>_<i>_<j>.")

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """Contrast of the node voltages: co-contents of the cells for the drops between nominal drives and nodes."""
        if self.cell is None:
            return super().contrast(inputs, plus, minus)
        check_pair("contrast", layer_shapes(len(inputs), self.layers), plus, minus)
        rows = self.ideal.rows(self.check_inputs(inputs))

        pairs = list(zip(plus.voltages, minus.voltages, strict=True))
        middle, apart = (
            [a[:, :, None] - v[:, None] for a, v in zip((at_rows, *self.ideal.drives(volts)), volts, strict=True)]
            for at_rows, volts in (
                (rows, tuple(0.5 * (one + other) for one, other in pairs)),
                (np.zeros_like(rows), tuple(one - other for one, other in pairs)),
            )
        )
        return self._differences(middle, apart, plus, minus)

    def cell_contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """See NonidealNetwork: contrast of the co-contents at the cells. Solves the wires of both phases again."""
        self._require_reciprocal("cell_contrast")
        self._require_cells("cell_contrast")
        check_pair("cell_contrast", layer_shapes(len(inputs), self.layers), plus, minus)
        equations = self.equations(self.check_inputs(inputs))
        (one,), (other,) = equations.unknowns(plus.voltages), equations.unknowns(minus.voltages)
        middle, apart = equations.drops(0.5 * (one + other)), equations.drops_between(one - other)
        return self._differences(self._by_cell(middle), self._by_cell(apart), plus, minus)

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> Gradient:
        """See NonidealNetwork: f(u) of every cell times the response to its current."""
        self._require_cells("gradient")
        equations = self.equations(self.check_inputs(inputs))
        (nodes,) = equations.unknowns(voltages)
        moved = equations.moved_wires(nodes, response)
        drops = self._by_cell(equations.drops(nodes))
        cells = [
            np.einsum("brc,brc->rc", self._volts(u), w) / len(inputs)
            for u, w in zip(drops, self._by_cell(moved), strict=True)
        ]
        return Gradient(tuple(cells), tuple(-own.mean(axis=0) for own in response))

    def energy(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> Float[Array, " batch"]:
        """Raise UserError for nonlinear cells."""
        if self.cell is None:
            return super().energy(inputs, voltages)
        raise UserError(f"energy: it is computed only for linear cells, but these have the law {self.cell}")

    def _volts(self, drops: Float[Array, "..."]) -> Float[Array, "..."]:
        return drops if self.cell is None else self.cell.volts(drops)

    def _by_cell(self, drops: Float[Array, "batch branches"]) -> list[Float[Array, "batch rows columns"]]:
        """Values of the branches that are cells, by crossbar; 0 for cells that do not conduct."""
        found = []
        for crossbar, places in zip(self.crossbars, self.assembly.cells, strict=True):
            each = np.zeros((len(drops), *crossbar.conductance.shape))
            each[:, places[:, 1], places[:, 2]] = drops[:, places[:, 0]]
            found.append(each)
        return found

    def _differences(
        self, middle: Sequence[Array], apart: Sequence[Array], plus: Equilibrium, minus: Equilibrium
    ) -> Gradient:
        """Mean drops of both phases and their difference, from differences of node voltages to avoid cancellation."""
        span = plus.beta - minus.beta
        weights = [gamma / self.gammas[-1] / len(plus.outputs) for gamma in self.gammas]
        contents = (self._contents(mean, change) for mean, change in zip(middle, apart, strict=True))
        cells = [weight / span * each.sum(axis=0) for weight, each in zip(weights, contents, strict=True)]
        pairs = zip(weights, plus.voltages, minus.voltages, strict=True)
        return Gradient(tuple(cells), tuple(-weight * ((a - b) / span).sum(axis=0) for weight, a, b in pairs))

    def _contents(self, middle: Float[Array, "..."], apart: Float[Array, "..."]) -> Float[Array, "..."]:
        """Integral of f between two drops, volts squared."""
        return middle * apart if self.cell is None else self.cell.difference(middle, apart)


def chip_of(
    network: ResistiveNetwork, periphery: Periphery | None = None, *, cell: CellLaw | None = None, **wires: Any
) -> NonidealNetwork:
    """``network`` with a ``periphery``, ``wires`` (wire_resistance, tile, ... of NonidealNetwork) and cells of a law.

    Wires of linear cells are eliminated; with a ``cell`` law the chip is a WholeChip. Raises UserError as these classes do.
    """
    periphery = Periphery() if periphery is None else periphery
    if cell is None:
        return NonidealNetwork(network, periphery, **wires)
    return WholeChip(network, periphery, **wires, cell=cell)
