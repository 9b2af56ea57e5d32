"""Random whole chips for the agreement study: wires in tiles, and imperfect cells, diodes, amplifiers and sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import splu

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.core.solver import Solver
from eqprop_analog.devices.cells import CELLS, CellLaw, cell_table
from eqprop_analog.devices.junctions import junction_of
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.random_circuits import SAMPLES, Case, kinds, nudges, random_law
from eqprop_analog.networks.whole_chip.equations import HELD, WholeChipEquations
from eqprop_analog.networks.whole_chip.network import WholeChip, chip_of
from eqprop_analog.networks.whole_chip.newton import newton_for

Array = np.ndarray
Random = np.random.Generator

WIDEST = 40
CELLS_AT_MOST = 1500
"""Largest number of cells of all crossbars, for which ngspice's SPARSE needs seconds."""
SHARE = 3.0
"""|β| in units of the default β, which is a tenth of the limit of a unique equilibrium."""
TILES = ((128, 128), (4, 4), (8, 8), (16, 5), (3, 12))
BENT = 8.0
"""Largest voltage at the rows relative to the scale of a cell: sinh(8) is 1,490."""


@dataclass(frozen=True, eq=False)
class ChipCase(Case):
    """A random chip; with linear cells its wires are eliminated, otherwise all their nodes are solved."""

    network: NonidealNetwork

    @property
    def surrogate(self) -> Solver:
        """See Case."""
        return newton_for(self.cell)

    @property
    def cell(self) -> CellLaw | None:
        """The law of its cells."""
        return self.network.cell if isinstance(self.network, WholeChip) else None

    def two_orders(self, equations: Any, voltages: Layers) -> tuple[Layers, Layers, float]:
        """See Case: for the circuit with all nodes of its wires, by minimum degree and by column counts with row exchanges.

        The condition number is Skeel's, ‖|J⁻¹||J|‖_∞; J⁻¹ has no negative entry, so it follows from one solution.
        """
        if not isinstance(equations, WholeChipEquations):
            equations = WholeChipEquations(whole(equations.network), equations)
        (volts,) = equations.unknowns(voltages)
        assembly, order = equations.assembly, equations.assembly.order
        missing = equations.missing(volts, equations.without_diodes(volts))
        found: tuple[list[Array], list[Array]] = [], []
        condition = 0.0
        for sample in range(len(volts)):
            one, v = equations.select(np.array([sample])), volts[sample : sample + 1]
            more = (one.loads + np.minimum(one.diode_slopes(v), HELD))[0]
            matrix = assembly.matrix(one.slopes(one.drops(v))[0], one.follow(v)[0], more)
            right = matrix @ v[0][order] + missing[sample][order]
            symmetric, exchanged = assembly.factors(matrix), splu(matrix, permc_spec="COLAMD")
            for each, factors in zip(found, (symmetric, exchanged), strict=True):
                each.append(assembly.unordered(factors.solve(right)[None])[0])
            condition = max(condition, float(symmetric.solve(abs(matrix) @ np.ones(len(right))).max()))
        one_way, other = (equations.states((np.stack(each),)) for each in found)
        return one_way, other, condition

    def description(self) -> dict[str, Any]:
        """See Case."""
        network = self.network
        return super().description() | {
            "wire_resistance": network.wire_resistance,
            "link_resistance": network.link_resistance,
            "tile": list(network.tile),
            "cell": cell_table(self.cell),
            "resistors": network.resistors_in_circuit,
            "imperfections": sorted(name for name in vars(network.periphery) if network.periphery.differs([name])),
        }


def whole(network: NonidealNetwork) -> WholeChip:
    """``network`` with all nodes of its wires."""
    if isinstance(network, WholeChip):
        return network
    return WholeChip(
        network.ideal,
        network.periphery,
        network.wire_resistance,
        network.tile,
        link_resistance=network.link_resistance,
    )


def draw(seed: int, number: int, among: Sequence[tuple[str, bool]] = ()) -> Case:
    """Chip ``number`` of the study with ``seed``, independent of all others, with a diode ``among`` kinds().

    1-3 hidden layers; 1-40 nodes in a layer, log-uniform, but no more than 1,500 cells; cells of 1 to 100 µS, log-uniform, a
    fifth missing, alternately linear, sinh or cubic; wires of 0.1 to 100 ohms per segment, log-uniform, in one tile or in tiles
    of 3 x 12 to 16 x 5; links of 0.1 to 100 ohms in half of the chips; each imperfection of the periphery in half of the chips.
    """
    random = np.random.default_rng([seed, number, 18])
    law = random_law(random, *(among or kinds())[number % len(among or kinds())])
    hidden = int(random.integers(1, 4))
    layers = [0] + [WIDEST] * (hidden + 1)
    while 2 * layers[0] * layers[1] + np.dot(layers[1:-1], layers[2:]) > CELLS_AT_MOST:
        layers = np.exp(random.uniform(0, np.log(WIDEST + 1), hidden + 2)).astype(int).tolist()
    ideal = ResistiveNetwork.dense(
        layers,
        seed=number,
        diode=law,
        amplifier_gain=(random.uniform(1, 10, hidden) ** random.integers(0, 2, hidden)).tolist(),
        input_gain=float(10 ** random.uniform(-1, 1)),
        bias=[random.normal(0, 1e-6, size) for size in layers[1:]],
        bias_row=float(random.uniform(-5, 5)) if random.random() < 0.5 else 0.0,
    )
    for matrix in ideal.conductances:
        rows, columns = matrix.shape
        kept = random.random(matrix.shape) < 0.8
        kept[random.integers(rows, size=columns), np.arange(columns)] = True
        matrix[...] = kept * 10 ** random.uniform(-6, -4, matrix.shape)
    inputs = random.uniform(-1, 1, (SAMPLES, layers[0]))
    shape: dict[str, Any] = {
        "wire_resistance": float(10 ** random.uniform(-1, 2)),
        "tile": TILES[int(random.integers(len(TILES)))],
        "link_resistance": float(10 ** random.uniform(-1, 2)) if random.random() < 0.5 else 0.0,
    }
    shape["cell"] = _cell(random, number, max(np.abs(ideal.rows(inputs)).max(), abs(law.rail), 0.1))
    own = Periphery(**_imperfections(ideal, random))
    network = chip_of(ideal, own, **shape)
    found = nudges(network, SHARE * network.usual_beta(), random)
    if found[0].cost == "cross-entropy":
        own = Periphery(**{name: value for name, value in vars(own).items() if name != "target_offset"})
        network = chip_of(ideal, own, **shape)
    return ChipCase(seed, number, network, inputs, found)


def _cell(random: Random, number: int, largest: float) -> CellLaw | None:
    """None or the laws in turn, with a scale of at least an eighth of the ``largest`` voltage (V)."""
    laws = [None, *CELLS.values()]
    kind = laws[number // 2 % len(laws)]
    scale = largest / BENT * 10 ** random.uniform(0, 1)
    made: CellLaw | None = None if kind is None else kind(scale)  # type: ignore[call-arg]
    return made


def _imperfections(ideal: ResistiveNetwork, random: Random) -> dict[str, Any]:
    """The imperfect quantities of the chip: each kind with a probability of one half."""
    hidden, rows, outputs = ideal.layers[1:-1], ideal.crossbars[0].rows, ideal.layers[-1]

    def each(spread: float, middle: float = 0.0) -> list[Float[Array, " nodes"]]:
        return [middle + spread * random.normal(size=size) for size in hidden]

    def factors(spread: float) -> list[Float[Array, " nodes"]]:
        return [np.exp(values) for values in each(spread)]

    drawn: dict[str, Any] = {
        "forward_factor": factors(0.03),
        "return_factor": factors(0.03),
        "offset": each(0.01),
        "saturation_voltage": [random.uniform(1, 10, size) for size in hidden],
        "output_resistance": [10 ** random.uniform(0, 3, size) for size in hidden],
        "input_conductance": [1e-6 * random.random(size) for size in hidden],
        "source_resistance": 10 ** random.uniform(0, 3, rows),
        "nudge_factor": np.exp(0.05 * random.normal(size=outputs)),
        "target_offset": 0.02 * random.normal(size=outputs),
        "saturation_factor": factors(0.3),
        "emission_factor": [1 + 0.03 * np.tanh(values) for values in each(1.0)],
    }
    chosen = {name: value for name, value in drawn.items() if random.random() < 0.5}
    if junction_of(ideal.single_diode) is None:
        chosen = {name: value for name, value in chosen.items() if name not in ("saturation_factor", "emission_factor")}
    return chosen
