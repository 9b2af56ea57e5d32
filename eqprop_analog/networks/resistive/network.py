"""Layered nonlinear resistive networks: parameters, energy, definiteness.

Source: Kendall et al. 2020, arXiv 2006.01981; Scellier 2024, arXiv 2402.11674.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.core.checks import (
    check_layers,
    check_pair,
    check_seed,
    check_window,
    layer_shapes,
    unsound_conductance,
)
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.gradient import Gradient, named
from eqprop_analog.core.shown import quantity_text, sizes_text
from eqprop_analog.devices import (
    Antiparallel,
    Law,
    NgspiceDiode,
    check_law,
    in_words,
    law_from,
    own_subcircuit,
    table_of,
)
from eqprop_analog.errors import UserError
from eqprop_analog.files import loaded_arrays, real, save_arrays
from eqprop_analog.incoming import (
    LARGEST,
    in_one_precision,
    known_keywords,
    listed,
    numbers,
    one_of,
    real_array,
    real_number,
)
from eqprop_analog.networks.crossbars import Crossbar, Dense, crossbar_from
from eqprop_analog.networks.crossbars.convolution import image_shape
from eqprop_analog.networks.crossbars.square import Square, full, plus, solved_by
from eqprop_analog.networks.resistive.connections import crossbars_from, fresh, require_both_signs
from eqprop_analog.networks.resistive.layered import LayeredNetwork, Outputs

if TYPE_CHECKING:
    from eqprop_analog.networks.resistive.equations import NodalEquations
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray

FORMAT = "eqprop-analog resistive network 1"


@dataclass(frozen=True, eq=False, repr=False)
class ResistiveNetwork(LayeredNetwork):
    """E = Σ_l γ_l [ ½ Σ_ij G_l[i,j](a_{l-1,i} - v_{l,j})² + Σ_j Φ_l(v_{l,j}) - Σ_j b_{l,j} v_{l,j} ],  γ_{l+1} = γ_l/A_l².

    Drive a_0 holds the input rows, a_l = A_l v_l the amplified hidden nodes. Kirchhoff's current law is ∂E/∂v = 0.
    """

    family: ClassVar[str] = "resistive"

    conductances: tuple[Float[Array, "rows columns"], ...]
    """Conductances, siemens; [l][i, j] connects drive row i to column j.

    Rows of crossbar 1: +x of every input, then -x, then the bias row.
    """
    biases: tuple[Float[Array, " nodes"], ...]
    """Bias currents into each node of layers 1..L, amperes, of either sign."""
    diode: Law = field(default_factory=NgspiceDiode)
    """Law of every hidden node; the first half of a layer (rounded up) is excitatory, the second inhibitory. With an antiparallel
    pair (devices.Antiparallel), all nodes are equal."""
    amplifier_gain: tuple[float, ...] = ()
    """A_l of each hidden layer; 1 is no amplifier."""
    input_gain: float = 1.0
    """Voltage at an input of 1, volts."""
    conductance_window: tuple[float, float] = (0.0, 1e-4)
    """(G_min, G_max), siemens: the range of learned conductances."""
    bias_row: float = 0.0
    """Fixed voltage of an additional row of crossbar 1, volts, of either sign; 0 means no such row."""
    outputs: Outputs = "single"
    """One output node per class, or "pairs": class k is read as v_2k - v_2k+1."""
    crossbars: tuple[Crossbar, ...] = ()
    """Crossbars between the layers: operators over ``conductances``.

    Given ones define the kinds; () means dense ones.
    """

    def __post_init__(self) -> None:
        """Convert all arrays to one precision, and settings to plain numbers.

        Raises UserError if this is not possible.
        """
        arrays = in_one_precision({"crossbar": self.conductances, "biases of layer": self.biases})
        settings = {
            "conductances": arrays[0],
            "biases": arrays[1],
            "amplifier_gain": numbers(self.amplifier_gain, "amplifier_gain"),
            "input_gain": real_number(self.input_gain, "input_gain", "volts per unit of input"),
            "conductance_window": check_window(self.conductance_window),
            "bias_row": real_number(self.bias_row, "bias_row", "volts, or 0 for no such row"),
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "crossbars", _bound(self.crossbars, arrays[0]))
        check_law(self.diode)

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        low, high = (quantity_text(value, "S") for value in self.conductance_window)
        gains = ", ".join(f"{gain:g}" for gain in self.amplifier_gain)
        return {
            "layers": sizes_text(self.layers) + (" (outputs in pairs)" if self.outputs == "pairs" else ""),
            "cells": f"{sum(matrix.size for matrix in self.conductances):,}",
            "window": f"{low} to {high}",
            "diode": repr(self.diode),
            "amplifier gain": gains or "none",
            "input gain": quantity_text(self.input_gain, "V"),
            **({"bias row": quantity_text(self.bias_row, "V")} if self.bias_row else {}),
        }

    @classmethod
    @known_keywords
    def dense(  # noqa: PLR0913 - every setting of a network, by name
        cls,
        layers: Sequence[int],
        seed: int = 0,
        *,
        diode: Law | None = None,
        amplifier_gain: float | Sequence[float] = 1.0,
        input_gain: float = 1.0,
        conductance_window: tuple[float, float] = (0.0, 1e-4),
        bias: float | Sequence[ArrayLike] = 0.0,
        bias_row: float = 0.0,
        outputs: Outputs = "single",
    ) -> Self:
        """Make a network of ``layers`` = (inputs, hidden ..., outputs) with fresh conductances.

        They are distributed within the window (see the module initial): for a window from 0 to 1 µS or more, max(0,
        U(-a, a))·1 µS with a = 1/√fan_in.

        The arguments:

        - layers: numbers of nodes; ``outputs="pairs"`` needs two per class.
        - seed: seed of the conductances.
        - diode: law of every hidden node's diode (default: ngspice's own, on rails of ±0.2 V).
        - amplifier_gain: gain A of the bidirectional amplifier after a hidden node, one for all or one per hidden
          layer; 1 is none.
        - input_gain: voltage of a row at an input of 1, volts.
        - conductance_window: (G_min, G_max), siemens.
        - bias: bias currents, amperes, one for all nodes or an array per layer.
        - bias_row: voltage of an additional row of crossbar 1, volts; 0 is none.
        - outputs: "single", or "pairs", whose difference is read.

        Raises UserError.

        >>> import eqprop_analog as ea
        >>> network = ea.ResistiveNetwork.dense([4, 6, 2], seed=0, amplifier_gain=4, conductance_window=(1e-7, 1e-4))
        >>> [matrix.shape for matrix in network.conductances], network.conductance_window
        ([(8, 6), (6, 2)], (1e-07, 0.0001))
        """
        sizes, bias_row = check_layers(layers), real_number(bias_row, "bias_row", "volts")
        kinds = crossbars_from(sizes[:1], [{"outputs": size} for size in sizes[1:]], bias_row=bool(bias_row))
        return cls._fresh(kinds, seed, diode, amplifier_gain, input_gain, conductance_window, bias, bias_row, outputs)

    @classmethod
    @known_keywords
    def convolutional(  # noqa: PLR0913 - every setting of a network, by name
        cls,
        image: Sequence[int],
        connections: Sequence[Mapping[str, Any]],
        seed: int = 0,
        *,
        diode: Law | None = None,
        amplifier_gain: float | Sequence[float] = 1.0,
        input_gain: float = 1.0,
        conductance_window: tuple[float, float] = (0.0, 1e-4),
        bias: float | Sequence[ArrayLike] = 0.0,
        bias_row: float = 0.0,
        outputs: Outputs = "single",
    ) -> Self:
        """Make a network of an ``image`` = (channels, height, width) and tables of ``connections``, with initial conductances.

        A table is {channels, kernel, stride, padding}, a convolution; {pool, siemens}, average pooling by fixed resistors; or
        {outputs}, a dense connection. Nodes of a convolution are (channel, down, across), the first half of the
        channels excitatory. ``seed``, ``diode``, ``amplifier_gain``, ``input_gain``, ``conductance_window``, ``bias``,
        ``bias_row`` and ``outputs`` are those of ``dense``. Raises UserError.
        """
        bias_row = real_number(bias_row, "bias_row", "volts")
        kinds = crossbars_from(image_shape(image, "image"), listed(connections, "connections"), bias_row=bool(bias_row))
        if not isinstance(diode, Antiparallel):
            require_both_signs(kinds)
        return cls._fresh(kinds, seed, diode, amplifier_gain, input_gain, conductance_window, bias, bias_row, outputs)

    @classmethod
    def from_relu(cls, model: Any, **settings: Any) -> "ResistiveNetwork":
        """Make the network of a trained ReLU network, with equal outputs up to O(1/gain); see relu.translate_relu.

        ``model``: a ``torch.nn.Sequential`` or pairs of arrays; ``settings``: amplifier_gain, input_gain, conductance_window.
        """
        from eqprop_analog.networks.resistive.relu import translate_relu

        return translate_relu(model, **settings).network

    @classmethod
    def _fresh(  # noqa: PLR0913, PLR0917 - every setting of a network
        cls,
        kinds: Sequence[Crossbar],
        seed: int,
        diode: Law | None,
        amplifier_gain: float | Sequence[float],
        input_gain: float,
        conductance_window: tuple[float, float],
        bias: float | Sequence[ArrayLike],
        bias_row: float,
        outputs: Outputs,
    ) -> Self:
        """Make a network of these crossbars with fresh conductances."""
        window, sizes = check_window(conductance_window), [kind.columns for kind in kinds]
        try:
            crossbars = fresh(kinds, window, np.random.default_rng(check_seed(seed)))
        except (MemoryError, ValueError) as error:
            raise UserError(f"layers: {sizes} do not fit into memory ({error})") from error
        levels = [bias] * len(sizes) if np.isscalar(bias) else listed(bias, "bias")
        if len(levels) != len(sizes):
            raise UserError(f"bias: expected one array for each of {len(sizes)} layers, got {len(levels)}")
        try:
            biases = tuple(
                np.array(np.broadcast_to(real_array(level, "bias (amperes)", float), (size,)))
                for level, size in zip(levels, sizes, strict=True)
            )
            gains = tuple(np.broadcast_to(real_array(amplifier_gain, "amplifier_gain"), (len(sizes) - 1,)).tolist())
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"bias or amplifier_gain does not fit layers {sizes}: {error}") from error
        network = cls(
            tuple(crossbar.conductance for crossbar in crossbars),
            biases,
            diode if diode is not None else NgspiceDiode(),
            gains,
            input_gain,
            window,
            bias_row,
            outputs,
            crossbars,
        )
        network.validate()
        return network

    @property
    def forms(self) -> tuple[str, str]:
        """See core.Network."""
        return "norton", "flat"

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "NodalEquations":
        """Return Kirchhoff's current law at every node. Raises UserError for a node that no conductance drives."""
        from eqprop_analog.networks.resistive.equations import NodalEquations

        return NodalEquations.of(self, inputs)

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence[Any] = (None,),
        form: str = "norton",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """See core.Network."""
        from eqprop_analog.networks.resistive.netlist import compile_network

        one_of(form, "form", self.forms)
        injections = [each and each.injection for each in phases]
        return compile_network(self, inputs, injections, form, validate=validate)  # type: ignore[arg-type]

    def reduced_circuit(
        self, inputs: Float[Array, "batch inputs"], phases: Sequence[Any] = (None,), **settings: Any
    ) -> "Circuit":
        """The Norton form without the last amplifiers; see networks.resistive.netlist.without_last_amplifiers.

        ``inputs``, ``phases`` and ``settings`` are those of ``circuit``.
        """
        from eqprop_analog.networks.resistive.netlist import without_last_amplifiers

        return without_last_amplifiers(self, inputs, [each and each.injection for each in phases], **settings)

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy whose arrays have ``dtype``."""
        return replace(
            self,
            conductances=tuple(matrix.astype(dtype) for matrix in self.conductances),
            biases=tuple(bias.astype(dtype) for bias in self.biases),
        )

    def in_spice(self) -> Self:
        """Return the network that SPICE solves instead of this one (see Law.in_spice)."""
        return self if self.diode.in_spice() is self.diode else replace(self, diode=self.diode.in_spice())

    def with_own_devices(self) -> Self:
        """Return the network whose diodes in SPICE are the devices of their tables.

        Raises UserError if there are none.
        """
        diode = own_subcircuit(self.diode)
        if diode is None:
            raise UserError(
                f"diode: {in_words(self.diode):.200} was not made from a SPICE device, so that it has no subcircuit of its own; "
                f"`eqprop-analog device from-spice` makes such laws"
            )
        return replace(self, diode=diode)

    def validate(self) -> None:
        """Raise UserError unless shapes, window, gains and values describe a network that can be built."""
        self._validate_shapes()
        self._validate_settings()
        if (rows := self.crossbars[0].rows) % 2 != bool(self.bias_row):
            expected = "an odd number of rows (±x and the bias row)" if self.bias_row else "an even number of rows (±x)"
            raise UserError(f"crossbar 1: expected {expected}, got {rows}")
        for number, (crossbar, bias) in enumerate(zip(self.crossbars, self.biases, strict=True), start=1):
            if bias.shape != (crossbar.columns,):
                raise UserError(f"biases of layer {number}: expected shape ({crossbar.columns},), got {bias.shape}")
            if (found := unsound_conductance(crossbar.conductance)) is not None:
                cell, what = found
                raise self._unsound(number, crossbar.place(cell), what)
            if not (good := np.isfinite(bias)).all():
                raise self._unsound(number, (0, int(good.argmin())), "bias current is not finite")

    def _validate_shapes(self) -> None:
        if not self.conductances or len(self.biases) != self.depth:
            raise UserError(
                f"network: expected at least one crossbar and as many arrays of biases, got {len(self.conductances)} and "
                f"{len(self.biases)}"
            )
        rows = None
        for number, crossbar in enumerate(self.crossbars, start=1):
            crossbar.check(f"crossbar {number}")
            if rows is not None and crossbar.rows != rows:
                raise UserError(f"crossbar {number}: expected {rows} rows, got {crossbar.rows}")
            rows = crossbar.columns
        check_layers(self.layers)

    def _validate_settings(self) -> None:
        if len(self.amplifier_gain) != self.depth - 1:
            raise UserError(f"amplifier_gain: expected {self.depth - 1} values, got {len(self.amplifier_gain)}")
        if not all(1e-9 <= gain <= 1e9 for gain in self.amplifier_gain):
            raise UserError(f"amplifier_gain: must be between 1e-9 and 1e9, got {list(self.amplifier_gain)}")
        if not 0 < self.input_gain <= LARGEST:
            raise UserError(
                f"input_gain: must be positive volts per unit of input, at most {LARGEST:g}, got {self.input_gain}"
            )
        if not abs(self.bias_row) <= LARGEST:
            raise UserError(f"bias_row: expected volts within ±{LARGEST:g}, got {self.bias_row:g}")
        one_of(self.outputs, "outputs", get_args(Outputs))
        if self.outputs == "pairs" and self.layers[-1] % 2:
            raise UserError(f"outputs: pairs need an even number of output nodes, two per class, got {self.layers[-1]}")

    def _unsound(self, layer: int, cell: tuple[int, ...], what: str) -> UserError:
        row, column = cell
        return UserError(f"net {self.node_name(layer, column)}: {what} (row {row}, column {column} of layer {layer})")

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """Return the difference of ⟨∂E/∂θ⟩ between two phases, over that of their β; see learning.contrast.

        Raises UserError for phases that failed or do not match.
        """
        check_pair("contrast", layer_shapes(len(inputs), self.layers), plus, minus)
        span = plus.beta - minus.beta
        mean = tuple(0.5 * (p + m) for p, m in zip(plus.voltages, minus.voltages, strict=True))
        slope = tuple((p - m) / span for p, m in zip(plus.voltages, minus.voltages, strict=True))
        return self.drop_gradient(inputs, mean, slope)

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> Gradient:
        """See core.Network; ``response`` is dv/dβ, the response of the linearized circuit."""
        return self.drop_gradient(inputs, voltages, response)

    def drop_gradient(self, inputs: Float[Array, "batch inputs"], mean: Layers, slope: Layers) -> Gradient:
        """(γ_l/γ_L)⟨Δv̄ · dΔv/dβ⟩ for every conductance, from node voltages ``mean`` (V) and ``slope`` = dv/dβ (V/S or V/A).

        ``inputs``: (batch, inputs), as in the data. ½(Δ₊² - Δ₋²) is the mean drop times the difference of drops, which
        avoids the cancellation of large squares.
        """
        conductances, biases = [], []
        drive = inputs * inputs.dtype.type(self.input_gain)
        drive_slope = np.zeros_like(drive)  # ideal sources
        for layer, (crossbar, v, dv, gamma) in enumerate(zip(self.crossbars, mean, slope, self.gammas, strict=True)):
            weight = gamma / self.gammas[-1] / len(inputs)
            if layer == 0:
                matrix = crossbar.mirrored_gradient(drive, self.bias_row, v, dv)
            else:
                matrix = crossbar.gradient((drive, v), (drive_slope, dv))
            matrix *= weight
            conductances.append(matrix)
            biases.append(-weight * dv.sum(axis=0))
            if layer < self.depth - 1:
                drive, drive_slope = self.amplifier_gain[layer] * v, self.amplifier_gain[layer] * dv
        return Gradient(tuple(conductances), tuple(biases))

    def confine(self) -> int:
        """Clip every conductance to its window, in place, and call ``renew``."""
        for matrix in self.conductances:
            np.clip(matrix, *self.conductance_window, out=matrix)
        return self.renew()

    def renew(self) -> int:
        """Reinitialize every column without conductances, in place; return their number (initial.renew)."""
        return sum(crossbar.renew(self.conductance_window) for crossbar in self.crossbars)

    def output_stiffness(self) -> Float[Array, "outputs outputs"]:
        """S, siemens: the conductance matrix seen at the outputs with every diode off and hidden nodes eliminated.

        With a nudge by a conductance beta, the circuit is positive definite if and only if beta > -λ_min(S).
        """
        stiffness: Square = self.crossbars[0].column_sums()
        for crossbar in self.crossbars[1:]:
            matrix = crossbar.matrix()
            eliminated = matrix.T @ solved_by(plus(stiffness, crossbar.row_sums()), matrix)
            stiffness = np.diag(crossbar.column_sums()) - eliminated
        return full(stiffness)

    def stiffness_bound(self, input_conductance: Float[Array, " nodes"] | None = None) -> float:
        """Return a lower bound of λ_min(S), siemens, by row sums, which reads crossbars 2..L once.

        S is an M-matrix, so λ_min(S) is at least its smallest row sum, the conductance of an output to the sources.
        ``input_conductance``: column sums of crossbar 1, if the caller has them.
        """
        grounded = self.crossbars[0].column_sums() if input_conductance is None else input_conductance
        for layer, crossbar in enumerate(self.crossbars[1:], start=2):
            share = grounded / (grounded + crossbar.row_sums())
            grounded = crossbar.forward((share if layer == 2 else np.full_like(share, share.min()))[None])[0]
        return float(grounded.min())

    def usual_beta(self) -> float:
        """Return the default β, siemens: a tenth of a bound below which the circuit is certainly definite."""
        return 0.1 * self.stiffness_bound()

    def require_definite(self, beta: float, input_conductance: Float[Array, " nodes"] | None = None) -> None:
        """Raise UserError, which names the output, if a nudge of ``beta`` siemens makes the circuit indefinite.

        ``input_conductance``: of crossbar 1 at each node of layer 1, siemens, if it is known.
        """
        if beta >= 0 or -beta < 0.999 * self.stiffness_bound(input_conductance):
            return
        values, vectors = np.linalg.eigh(self.astype(np.float64).output_stiffness())
        if -beta >= values[0]:
            output = int(np.abs(vectors[:, 0]).argmax())
            raise UserError(
                f"nudge: beta = {beta:.4g} S makes the circuit indefinite at net {self.node_name(self.depth, output)}: the "
                f"smallest eigenvalue of the output conductance is only {values[0]:.4g} S; use |beta| below that"
            )

    def save(self, path: str | Path) -> None:
        """Write an uncompressed ``.npz`` (arrays and one JSON text, no pickle) atomically.

        Raises UserError if it cannot be written.
        """
        description: dict[str, Any] = {
            "diode": table_of(self.diode),
            "amplifier_gain": self.amplifier_gain,
            "input_gain": self.input_gain,
            "conductance_window": self.conductance_window,
            "bias_row": self.bias_row,
            "outputs": self.outputs,
        }
        if not all(crossbar.is_matrix for crossbar in self.crossbars):
            description["crossbars"] = [crossbar.table() for crossbar in self.crossbars]
        save_arrays(path, FORMAT, description, self.arrays())

    def arrays(self) -> dict[str, Array]:
        """Return every parameter by its name in files: ``conductance_<l>`` (S) and ``bias_<l>`` (A), l from 1."""
        return named(self.conductances, self.biases)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a network written by ``save``. Raises UserError for any other file."""
        with loaded_arrays(path, FORMAT) as (description, file):
            depth = sum(name.startswith("conductance_") for name in file.files)
            conductances = tuple(real(file[f"conductance_{l}"]) for l in range(1, depth + 1))
            biases = tuple(real(file[f"bias_{l}"]) for l in range(1, depth + 1))
            tables = description.get("crossbars", [])
            network = cls(
                conductances,
                biases,
                law_from(description["diode"]),
                description["amplifier_gain"],
                description["input_gain"],
                description["conductance_window"],
                description.get("bias_row", 0.0),
                description.get("outputs", "single"),
                tuple(crossbar_from(*each) for each in zip(tables, conductances, strict=bool(tables))),
            )
            network.validate()
        return network


def _bound(kinds: Sequence[Crossbar], conductances: Sequence[Array]) -> tuple[Crossbar, ...]:
    """Return crossbars of these kinds over these arrays, by default dense ones. Raises UserError for a wrong number."""
    if not kinds:
        return tuple(Dense(matrix) for matrix in conductances)
    if len(kinds) != len(conductances):
        raise UserError(f"crossbars: expected one for each of {len(conductances)} conductances, got {len(kinds)}")
    return tuple(kind.of(values) for kind, values in zip(kinds, conductances, strict=True))
