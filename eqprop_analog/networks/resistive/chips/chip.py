"""One chip of a specification: its devices, its circuit and its read-out, all sampled from (seed, number)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.devices.conductance import ChipDevices
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.readout import Readout
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.chips.drawing import drawn_periphery, normal_of
from eqprop_analog.networks.resistive.chips.mapping import require_cells
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.whole_chip.network import chip_of
from eqprop_analog.networks.whole_chip.newton import newton_for
from eqprop_analog.spice.ngspice.solver import NgspiceSolver, NonidealNgspiceSolver

Array = np.ndarray
Circuit = ResistiveNetwork | NonidealNetwork

TRAINING_TOLERANCE = 1e-9
"""Tolerance of node voltages relative to the circuit's largest voltage while a chip with an imperfect periphery learns."""


class _Stream(IntEnum):
    """The quantities that are sampled, each from a separate random stream."""

    PULSES = 0
    READINGS = 1
    PERIPHERY = 2


@dataclass(eq=False)
class Chip:
    """A network on one chip: written conductances deviate from the wanted ones, and readings from the actual voltages."""

    specification: Specification
    number: int
    devices: ChipDevices
    readout: Readout
    periphery: Periphery
    network: ResistiveNetwork
    """Its conductances are the present ones of the devices (S); settings, gains and biases (programmable sources) are nominal."""
    pulses: np.random.Generator
    """Random numbers for rounding pulse counts and for cycle-to-cycle variation."""
    readings: np.random.Generator
    """Random numbers for read noise."""
    writes: int = 0
    """Number of times that the complete chip has been programmed."""

    @classmethod
    def drawn(cls, specification: Specification, network: ResistiveNetwork, seed: int, number: int = 0) -> "Chip":
        """Chip ``number`` (from 0) of the lot ``seed``, for networks like ``network`` and in its dtype, not yet programmed.

        The chip depends on ``seed`` and ``number`` alone, not on other chips or the process. Raises UserError for a negative seed
        or number, and if the conductance window of the network is not that of the devices.
        """
        window = specification.technology.window
        if not np.allclose(network.conductance_window, (window.lowest, window.highest), rtol=1e-9, atol=0):
            low, high = network.conductance_window
            raise UserError(
                f"conductance_window: the window of the devices is {window.lowest:g} to {window.highest:g} S, that "
                f"of the network {low:g} to {high:g} S; map the network to the devices first (chips.mapping.onto)"
            )
        require_cells(network)
        dtype = network.conductances[0].dtype
        shapes = [matrix.shape for matrix in network.conductances]
        devices = ChipDevices.drawn(specification.technology, shapes, seed, number, dtype)
        pulses, readings = (
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, stream)))
            for stream in (_Stream.PULSES, _Stream.READINGS)
        )
        normal = normal_of((seed, number, _Stream.PERIPHERY))
        table = specification.readout
        own = tuple(
            table.offset * normal(f"comparator {layer}", size) for layer, size in enumerate(network.layers[1:], start=1)
        )
        return cls(
            specification,
            int(number),
            devices,
            Readout(own, table.noise, table.bits, table.range),
            drawn_periphery(specification, network, normal),
            network.astype(dtype),
            pulses,
            readings,
        )

    def begin(self, fresh: ResistiveNetwork) -> None:
        """Write an untrained network, rounding to levels at random; the nearest level would almost always be the lowest one."""
        window = self.specification.technology.window
        random = np.random.default_rng(self.pulses.integers(2**63))
        dithered = tuple(
            (matrix + window.spacing(matrix) * random.uniform(-0.5, 0.5, matrix.shape)).astype(matrix.dtype)
            for matrix in fresh.conductances
        )
        self.program(replace(fresh, conductances=dithered))

    def program(self, wanted: ResistiveNetwork) -> None:
        """Write the conductances of ``wanted`` (S) into the devices, and set its bias currents."""
        delivered = self.devices.programmed(wanted.conductances, self.writes)
        for own, matrix in zip(self.network.conductances, delivered, strict=True):
            own[...] = matrix
        for bias, currents in zip(self.network.biases, wanted.biases, strict=True):
            bias[...] = currents
        self.writes += 1

    def restore(self, network: ResistiveNetwork) -> None:
        """Restore the conductances and bias currents of ``network``, an earlier state of this chip."""
        for name, values in self.network.arrays().items():
            values[...] = network.arrays()[name]

    def change(self, wanted: Mapping[str, Array]) -> None:
        """Apply pulses for the wanted changes of conductances (S), and change bias currents (A); the arrays are overwritten."""
        for layer, (devices, matrix, bias) in enumerate(
            zip(self.devices.crossbars, self.network.conductances, self.network.biases, strict=True), start=1
        ):
            devices.update(matrix, wanted[f"conductance_{layer}"].astype(matrix.dtype, copy=False), self.pulses)
            np.add(bias, wanted[f"bias_{layer}"], out=bias)

    def age(self, seconds: float) -> None:
        """Let the devices drift for ``seconds`` after the last write."""
        drifted = self.devices.after(seconds, self.network.conductances)
        for own, matrix in zip(self.network.conductances, drifted, strict=True):
            own[...] = matrix

    def circuit(self, dtype: DTypeLike | None = None) -> Circuit:
        """The present circuit, in ``dtype`` or the chip's dtype if the periphery is ideal, otherwise in float64."""
        network = self.network if dtype is None else self.network.astype(dtype)
        if self.specification.circuit_is_ideal:
            return network
        return chip_of(network, self.periphery, **self.specification.wiring)

    def solver(self) -> Any:
        """The NumPy solver of ``circuit``, to full precision."""
        return SurrogateSolver() if self.specification.circuit_is_ideal else newton_for(self.specification.cell_law)

    def training_solver(self, sweeps: int | None) -> Any:
        """The same for training: with an ideal periphery, truncated after ``sweeps`` sweeps unless it is None."""
        if self.specification.circuit_is_ideal:
            return SurrogateSolver(sweeps=sweeps, check_residual=False)
        return newton_for(self.specification.cell_law, TRAINING_TOLERANCE)

    def ngspice(self, workers: int) -> Any:
        """The ngspice solver of ``circuit``."""
        return NgspiceSolver(workers) if self.specification.circuit_is_ideal else NonidealNgspiceSolver(workers)

    def measured(self, equilibrium: Equilibrium) -> Equilibrium:
        """Readings of ``equilibrium``; every call draws new read noise."""
        return self.readout.measured(equilibrium, self.readings)
