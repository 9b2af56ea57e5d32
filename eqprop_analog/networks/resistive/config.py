"""The configuration of a resistive network's training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from eqprop_analog.characterization.device_file import with_device_file
from eqprop_analog.core import Network, Solver
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Cost
from eqprop_analog.devices import law_from, with_units
from eqprop_analog.devices.cells import LINEAR, CellLaw, cell_from, cell_table
from eqprop_analog.devices.law import LARGEST_VOLTAGE
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import (
    PAIR,
    Count,
    NotNegative,
    Positive,
    TrainConfig,
    Training,
    for_own_data,
    outer_layers,
    spread,
)
from eqprop_analog.experiments.solvers import SURROGATE, SolverName
from eqprop_analog.networks.crossbars import Crossbar
from eqprop_analog.networks.crossbars.wired import TILE
from eqprop_analog.networks.resistive.connections import crossbars_from
from eqprop_analog.networks.resistive.initial import reach
from eqprop_analog.networks.resistive.layered import Outputs
from eqprop_analog.networks.resistive.recipe import recipe
from eqprop_analog.networks.resistive.truncated import Method
from eqprop_analog.quantities import In, in_file

if TYPE_CHECKING:
    from eqprop_analog.learning.trainer import Rule
    from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
FOLLOWING = ("beta", "conductance_rates", "bias_rates")
"""Settings that follow from the network if a configuration omits them; input gain and sweeps then follow, too."""
LARGEST_CONDUCTANCE = 1.0
"""Largest conductance, siemens: the window of published recipes without an upper end.

A memory device never has one ohm.
"""
SMALLEST_CONDUCTANCE = 1e-12
"""Smallest upper end of a window, siemens."""
ABSURD_RATE = 1e11
"""Largest rate of conductances relative to (G/V)², with G the largest conductance of the fresh crossbar and V the input gain, at
most 1 V. Published and derived rates of circuits that do not attenuate are 1 to 200."""
ABSURD_BIAS_RATE = 1e7
"""Largest rate of bias currents relative to (D/V)², with D the sum of a fresh column's conductances; published and derived ones
are up to 200."""
LEAST_NUDGE = 16
"""Smallest β, in roundings of the conductance at an output; below it, β changes the output by less than rounding."""
LARGEST_GAIN = 1e4
"""Largest gain of an amplifier; its inverse is the smallest gain."""
SHOWN, MOST_EPOCHS = 30_000, 100
"""Total number of training samples of the recipe for a small data set, and the largest number of epochs."""
PLACEHOLDER = 1e-30
"""Placeholder for them while the recipe inspects the network."""


class ResistiveConfig(TrainConfig):
    """Training of a resistive network; SI units."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}
    devices_of_regressions: ClassVar[tuple[str, ...]] = ("cpu", "cuda", "torch-cpu")

    model: Literal["resistive"] = "resistive"
    layers: list[Count] | None = Field(None, min_length=2)
    """Number of inputs, and of nodes of every layer, connected by dense crossbars."""
    connections: list[dict[str, int | float]] | None = Field(None, min_length=1)
    """Instead of layers: one table per connection, {channels, kernel, stride, padding}, {pool, siemens} or {outputs} (see
    ResistiveNetwork.convolutional); the first connects the images."""
    outputs: Outputs = "single"
    """Outputs: one node per class, or pairs of nodes whose difference is read."""
    input_gain: Annotated[Positive, In("V")] = 1.0
    """Voltage at an input of 1, volts."""
    amplifier_gain: Positive | list[Positive] = 1.0
    """Gain of the amplifiers after hidden nodes: one for all layers, or one for each; 1 means no amplifiers."""
    conductance_window: Annotated[tuple[Annotated[NotNegative, In("S")], Annotated[Positive, In("S")]], PAIR] = (
        0.0,
        1e-4,
    )
    """Smallest and largest conductance, siemens, to which learning clips."""
    diode: dict[str, bool | float | str | list[float]] = Field({"law": "ngspice"})
    """Diodes of hidden nodes: ``law``, its parameters, ``arrangement`` ("single", "antiparallel"); or ``file``, a device file."""
    bias_row: Annotated[float, Field(allow_inf_nan=False), In("V")] = 0.0
    """Voltage of an additional row of crossbar 1, volts; 0 means no bias row."""

    method: Method = "equilibrium-propagation"
    """Nudged phases or, for comparison, the exact response of the free phase."""
    nudging: Literal["centred", "one-sided"] = "centred"
    """Nudged phases: under +β and -β (centred), or only under +β (one-sided)."""
    kind: Literal["conductance", "current"] = "conductance"
    """A nudge by conductances to the targets, or by constant currents."""
    cost: Cost = "squared-error"
    """Cost function that the training minimizes."""
    beta: Positive
    """Strength β of the nudge: siemens; amperes for cross-entropy."""
    conductance_rates: Annotated[NotNegative, In("S²/V²")] | list[Annotated[NotNegative, In("S²/V²")]]
    """Learning rates of conductances, S²/V²: one for all crossbars, or one for each."""
    bias_rates: Annotated[NotNegative, In("A²/V²")] | list[Annotated[NotNegative, In("A²/V²")]]
    """Learning rates of bias currents, A²/V²: one for all layers, or one for each."""

    solver: SolverName = SURROGATE
    """Solver of every equilibrium."""
    sweeps: Count | None = None
    """Surrogate only: truncate every training phase after this number of sweeps instead of converging."""
    test_sweeps: Count | None = None
    """Surrogate only: truncate the phases of test images after this number of sweeps."""
    device: Literal["cpu", "cuda", "torch-cpu"] = "cpu"
    """Surrogate only: device that computes truncated phases: "cpu" by NumPy or compiled code, "cuda" on a GPU by PyTorch,
    "torch-cpu" by PyTorch on the CPU."""
    wire_resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """Resistance of the crossbars' wires from one cell to the next, ohms; above 0, every phase in training and testing is solved
    in the circuit with its wires."""
    tile: Annotated[tuple[Count, Count], PAIR] = TILE
    """With wires: largest number of rows and columns of one array; larger crossbars are several arrays joined at their ends."""
    link_resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """With wires: resistance of the wire between each end of an array's rows and columns and its node, ohms, in addition to one
    segment."""
    cell: dict[str, float | str] = Field(dict(LINEAR))
    """Current-voltage law of every crossbar cell, I = G f(V), where G is learned: ``law``, "linear", or "sinh" or "cubic" with
    its ``scale`` in volts."""
    read_at: Literal["nodes", "cells"] = "nodes"
    """With wires: where the voltages of an update are read: at the ends of rows and columns ("nodes"), or across each cell by its
    own read-out ("cells")."""
    workers: Count = 1
    """Number of worker processes; ngspice only."""
    on_failure: Literal["stop", "skip"] = "stop"
    """Treatment of a sample without a certified equilibrium: end the training with its status, or leave it out."""

    @property
    def cell_law(self) -> CellLaw | None:
        """That of the cells; None is linear."""
        return cell_from(self.cell)

    @property
    def wired(self) -> bool:
        """Whether it is trained in another circuit than its network's: through wires, or with a law of the cells."""
        return self.wire_resistance > 0 or self.cell_law is not None

    @property
    def torch_device(self) -> str:
        """PyTorch's name of the device."""
        return self.device.removeprefix("torch-")

    @model_validator(mode="before")
    @classmethod
    def _beta_in_its_unit(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("beta"), str):
            unit = "A" if values.get("cost") == "cross-entropy" else "S"
            return values | {"beta": in_file(values["beta"], unit, name="beta")}
        return values

    @field_validator("diode")
    @classmethod
    def _known_law(cls, value: dict[str, Any]) -> dict[str, Any]:
        value = with_units(with_device_file(value))
        law_from(value)
        return value

    @field_validator("cell")
    @classmethod
    def _known_cell(cls, value: dict[str, Any]) -> dict[str, Any]:
        return cell_table(cell_from(value))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._require_shape()
        self._plausible()
        if self.kind == "conductance" and self.cost != "squared-error":
            raise ValueError(
                'cost: a conductance can nudge by the squared error only; set kind="current" for other costs'
            )
        if self.kind == "conductance" and self.outputs == "pairs":
            raise ValueError('kind: a conductance cannot nudge a pair of outputs; set kind = "current"')
        if self.solver != SURROGATE and self.precision == "float32":
            raise ValueError(f'precision: {self.solver} computes in float64; set precision = "float64"')
        if self.solver != SURROGATE and not self.sweeps == self.test_sweeps is None:
            raise ValueError(f"sweeps: {self.solver} always solves to convergence; leave out sweeps and test_sweeps")
        if self.method == "implicit" and (self.sweeps is None or self.on_failure == "skip"):
            raise ValueError('method: "implicit" needs a fixed number of sweeps and on_failure = "stop"')
        if self.device != "cpu" and (self.sweeps is None or self.on_failure == "skip"):
            raise ValueError(f'device: "{self.device}" needs a fixed number of sweeps and on_failure = "stop"')
        self._require_wires()
        return self

    def _require_wires(self) -> None:
        """Raise ValueError for settings that are incompatible with wires, or that need wires."""
        if self.wire_resistance == 0:
            if self.read_at == "cells":
                raise ValueError(
                    'read_at: without wire_resistance, nodes and cells have the same voltages; set read_at = "nodes"'
                )
            if self.link_resistance:
                raise ValueError(
                    f"link_resistance: {self.link_resistance:g} ohm between arrays with ideal wires; set wire_resistance above "
                    "0 ohm, or leave it out"
                )
        if not self.wired:
            return
        name, what = ("wire_resistance", "wires") if self.wire_resistance else ("cell", "nonlinear cells")
        if self.solver != SURROGATE:
            raise ValueError(f'{name}: training through {what} is for solver = "surrogate", got "{self.solver}"')
        if not self.sweeps == self.test_sweeps is None or self.on_failure == "skip" or self.precision == "float32":
            raise ValueError(
                f"{name}: with {what}, every phase converges, in float64; leave out sweeps and test_sweeps, and set "
                'precision = "float64" and on_failure = "stop"'
            )
        if self.connections is not None:
            raise ValueError(f"{name}: only dense crossbars have {what}; use layers instead of connections")

    def _require_shape(self) -> None:
        """Raise ValueError for invalid layers, and for lists of the wrong length."""
        if (self.layers is None) == (self.connections is None):
            raise ValueError("layers: give either layers or connections")
        try:
            crossbars = len(self.crossbars())
        except UserError as error:
            raise ValueError(str(error)) from error
        for name in ("conductance_rates", "bias_rates"):
            given = getattr(self, name)
            if isinstance(given, list) and len(given) != crossbars:
                raise ValueError(f"{name}: {len(given)} values for {crossbars} crossbars")
        if isinstance(self.amplifier_gain, list) and len(self.amplifier_gain) != crossbars - 1:
            raise ValueError(f"amplifier_gain: {len(self.amplifier_gain)} values for {crossbars - 1} hidden layers")

    def _plausible(self) -> None:
        """Raise ValueError for values that no circuit has, or that no update can use."""
        high = self.conductance_window[1]
        if high > LARGEST_CONDUCTANCE:
            raise ValueError(
                f"conductance_window: expected at most {LARGEST_CONDUCTANCE:g} S, got G_max = {high:g} S, a resistor of "
                f"{1 / high:.2g} ohm, which is less than the resistance of its wires"
            )
        if high < SMALLEST_CONDUCTANCE:
            raise ValueError(
                f"conductance_window: expected at least {SMALLEST_CONDUCTANCE:g} S, which simulators connect across every "
                f"junction, got G_max = {high:g} S"
            )
        made = self.crossbars()
        rows = [crossbar.conductance.shape[0] for crossbar in made]  # of crossbar 1 those of the bias row, too
        if self.cost == "squared-error" and self.beta > made[-1].rows * high * 2:
            raise ValueError(
                f"beta: {self.beta:.3g} S is more than all cells of an output together can conduct, "
                f"{made[-1].rows * high * 2:.3g} S; expected a fraction of the conductance at the outputs"
            )
        fresh = [reach(max(each, 1), self.conductance_window) for each in rows]
        held = fresh[-1] * rows[-1]
        least = LEAST_NUDGE * float(np.finfo(self.precision).eps) * held
        if self.cost == "squared-error" and PLACEHOLDER < self.beta < least:
            raise ValueError(
                f"beta: {self.beta:.3g} S moves the outputs by less than {self.precision} can resolve; expected more than "
                f"{least:.2g} S, and a fraction of what holds an output, about {held / 4:.2g} S"
            )
        volts = min(self.input_gain, 1.0)
        for name, unit, most, scales in (
            ("conductance_rates", "S", ABSURD_RATE, fresh),
            ("bias_rates", "A", ABSURD_BIAS_RATE, [g * each / 4 for g, each in zip(fresh, rows, strict=True)]),
        ):
            rates = spread(getattr(self, name), len(rows))
            for number, (rate, scale) in enumerate(zip(rates, scales, strict=True), start=1):
                usual = (scale / volts) ** 2
                if rows[number - 1] and rate * self.rate_factor > most * usual:
                    raise ValueError(
                        f"{name}: {rate * self.rate_factor:.3g} {unit}^2/V^2 in layer {number} is far too large for an "
                        f"update; expected {usual:.2g} to {1000 * usual:.2g} {unit}^2/V^2"
                    )
        gains = spread(self.amplifier_gain, len(rows) - 1) if len(rows) > 1 else ()
        if not all(1 / LARGEST_GAIN <= gain <= LARGEST_GAIN for gain in gains):
            raise ValueError(
                f"amplifier_gain: expected {1 / LARGEST_GAIN:g} to {LARGEST_GAIN:g}, got {self.amplifier_gain}"
            )
        if not 1 / LARGEST_VOLTAGE <= self.input_gain <= LARGEST_VOLTAGE or abs(self.bias_row) > LARGEST_VOLTAGE:
            raise ValueError(
                f"input_gain: expected {1 / LARGEST_VOLTAGE:g} to {LARGEST_VOLTAGE:g} V, and bias_row at most as much, got "
                f"{self.input_gain:g} V and {self.bias_row:g} V"
            )

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Adapt layers instead of connections or vice versa, rates for their depth, and outputs for a user's data.

        For another ``solver`` than the surrogate, set float64 and converged phases.
        """
        adapted = for_own_data(values, overrides)
        paired = 2 if {**values, **overrides}.get("outputs") == "pairs" else 1
        for one, other, more in (("layers", "connections", 1), ("connections", "layers", 0)):
            if overrides.get(one) and other not in overrides:
                adapted.pop(other, None)
                adapted |= _rates_for(values, len(overrides[one]) - more)
        if overrides.get("own_data") and not any(name in overrides for name in ("layers", "connections")):
            layers = outer_layers(values, overrides, paired)
            if values.get("connections"):
                adapted["connections"] = [*values["connections"][:-1], {"outputs": layers[-1]}]
            else:
                adapted["layers"] = layers
        if overrides.get("own_data") and not all(name in values for name in FOLLOWING) and "epochs" in values:
            adapted |= _schedule_for(values, overrides)
        if overrides.get("solver", SURROGATE) != SURROGATE:
            adapted = {name: value for name, value in adapted.items() if name not in ("sweeps", "test_sweeps")}
            adapted["precision"] = "float64"
        if overrides.get("wire_resistance") or overrides.get("cell", LINEAR) != LINEAR:
            adapted = {name: value for name, value in adapted.items() if name not in ("sweeps", "test_sweeps")}
            adapted["precision"] = "float64"
        return adapted

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Complete ``values`` by the recipe of the network if they lack any of FOLLOWING; given values are kept."""
        if all(name in values for name in FOLLOWING):
            return values
        described = cls.model_validate({**dict.fromkeys(FOLLOWING, PLACEHOLDER), **values})
        found = recipe(
            described.network(), described.input_rms, described.batch_size, given_gain="input_gain" in values
        )
        following: dict[str, Any] = {
            "input_gain": found.input_gain,
            "beta": found.beta,
            "conductance_rates": list(found.rates.conductances),
            "bias_rates": list(found.rates.biases),
        }
        if described.solver == "surrogate" and described.on_failure == "stop" and not described.wired:
            following["sweeps"] = found.sweeps
        return following | values

    def crossbars(self) -> tuple[Crossbar, ...]:
        """Return the crossbars of the network, with conductances without values. Raises UserError."""
        if self.connections is not None:
            return crossbars_from(self.image_shape, self.connections, bias_row=bool(self.bias_row))
        sizes = self.layers or []
        return crossbars_from(sizes[:1], [{"outputs": size} for size in sizes[1:]], bias_row=bool(self.bias_row))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, and of nodes of every layer."""
        made = self.crossbars()
        return (made[0].rows // 2, *(crossbar.columns for crossbar in made))

    @property
    def classes(self) -> int:
        """Number of read-outs: output nodes, or pairs of them."""
        return self.sizes[-1] // 2 if self.outputs == "pairs" else self.sizes[-1]

    @property
    def method_in_words(self) -> str:
        """The solver, in words."""
        return f"with {self.solver}"

    @property
    def truncation(self) -> str:
        """The numbers of sweeps after which phases are stopped, in words."""
        tests = f"{self.test_sweeps} sweeps in tests" if self.test_sweeps not in (None, self.sweeps) else ""
        return " and ".join(filter(None, (f"{self.sweeps} sweeps" if self.sweeps else "", tests)))

    @property
    def rule_in_words(self) -> str:
        """Amplitudes, nudge and rates, with their units, in words."""
        low, high = self.conductance_window
        crossbars = len(self.crossbars())
        unit = "S" if self.cost == "squared-error" else "A"
        rates, biases = (spread(rates, crossbars) for rates in (self.conductance_rates, self.bias_rates))
        sweeps = f"{self.sweeps} sweeps per phase" if self.sweeps else "every phase converges"
        return (
            f"conductances {low:g} to {high:g} S, {self.input_gain:.4g} V at an input of 1, amplifier gain "
            f"{self.amplifier_gain}, beta {self.beta:.3g} {unit} ({self.kind}), batches of {self.batch_size}, {sweeps}; "
            f"rates of crossbars {', '.join(f'{rate:.3g}' for rate in rates)} S^2/V^2, of biases "
            f"{', '.join(f'{rate:.3g}' for rate in biases)} A^2/V^2"
        )

    def network(self) -> "ResistiveNetwork":
        """Return a fresh network of this configuration and seed, float64."""
        from eqprop_analog.networks.resistive.training import network

        return network(self)

    def rule(self, epoch: int) -> "Rule":
        """Return the learning rule in epoch 0, 1, ..."""
        from eqprop_analog.networks.resistive.training import rule

        return rule(self, epoch)

    def circuit_beta(self, network: Network) -> float:
        """Return the training's β if it nudges by conductances, else a tenth of the stability bound."""
        return network.usual_beta() if self.kind == "current" else self.beta

    def circuit(self, network: Network) -> Network:
        """See TrainConfig."""
        from eqprop_analog.networks.resistive.training import wired_solver

        return wired_solver(self).chip(network) if self.wired else network  # type: ignore[arg-type]

    def contrast(
        self, circuit: Network, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium
    ) -> Mapping[str, Array]:
        """See TrainConfig."""
        if self.read_at == "cells":
            found: Mapping[str, Array] = circuit.cell_contrast(inputs, plus, minus)  # type: ignore[attr-defined]
            return found
        return super().contrast(circuit, inputs, plus, minus)

    def surrogate(self) -> Solver:
        """See TrainConfig; through the wires, if there are any."""
        from eqprop_analog.networks.resistive.training import wired_solver

        return wired_solver(self) if self.wired else super().surrogate()

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:  # noqa: ARG002 - draws nothing
        """Return the training of a fresh network. Raises UserError if a negative nudge makes the circuit indefinite."""
        from eqprop_analog.networks.resistive.training import training

        return training(self)


def _schedule_for(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, float]:
    """Return enough epochs for SHOWN samples of a small data set in total, and a decay with the same total effect."""
    epochs = overrides.get("epochs", values["epochs"])
    if "epochs" not in overrides:
        epochs = int(np.clip(SHOWN // overrides["own_data"]["found"]["training"], epochs, MOST_EPOCHS))
    return {"epochs": epochs, "decay": values.get("decay", 1.0) ** (values["epochs"] / max(epochs, values["epochs"]))}


def _rates_for(values: Mapping[str, Any], crossbars: int) -> dict[str, list[float]]:
    """Return a preset's rates for another depth: its first rate for all crossbars but the last, which keeps the last rate."""
    lists = {name: values[name] for name in ("conductance_rates", "bias_rates") if isinstance(values.get(name), list)}
    return {
        name: [rates[0]] * (crossbars - 1) + [rates[-1]]
        for name, rates in lists.items()
        if rates and len(rates) != crossbars
    }
