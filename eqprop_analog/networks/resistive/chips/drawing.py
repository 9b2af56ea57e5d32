"""The periphery of one chip, sampled from a specification."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
Normal = Callable[[str, int], Float[Array, " size"]]
"""Returns ``size`` standard normal numbers for the part ``name``, from a separate random stream."""


def normal_of(key: Sequence[int]) -> Normal:
    """The random numbers of chip ``key``; adding or removing an imperfection does not change the others."""

    def normal(name: str, size: int) -> Float[Array, " size"]:
        stream = tuple(name.encode())
        return np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=(*key[1:], *stream))).standard_normal(
            size
        )

    return normal


def drawn_periphery(specification: Specification, network: ResistiveNetwork, normal: Normal) -> Periphery:
    """Factors exp(σ ξ), offsets σ ξ, and the quantities that are the same on all chips."""
    diode, amplifier, nudge = specification.diode, specification.amplifier, specification.nudge
    hidden, outputs, classes = network.layers[1:-1], network.layers[-1], network.classes

    def offsets(name: str, sigma: float) -> list[Array]:
        return [sigma * normal(f"{name} {layer}", size) for layer, size in enumerate(hidden, start=1)]

    def factors(name: str, sigma: float) -> list[Array]:
        return [np.exp(offset) for offset in offsets(name, sigma)]

    return Periphery(
        saturation_factor=factors("saturation current", diode.saturation_current),
        emission_factor=factors("emission", diode.emission),
        celsius=diode.celsius,
        temperature_mismatch=offsets("temperature", diode.temperature),
        forward_factor=factors("gain", amplifier.gain),
        return_factor=factors("return gain", amplifier.return_gain),
        offset=offsets("offset", amplifier.offset),
        saturation_voltage=math.inf if amplifier.saturation is None else amplifier.saturation,
        output_resistance=amplifier.output_resistance,
        input_conductance=amplifier.input_conductance,
        source_resistance=specification.source.resistance,
        nudge_factor=np.exp(nudge.gain * normal("nudge", outputs)),
        target_offset=nudge.offset * normal("target", classes),
    )
