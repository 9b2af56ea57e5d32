"""Power measured in ngspice: v·i of every device of the flat netlist, with the simulator's own currents."""

import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Equilibrium, by_layer
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.family import TOLERANCE
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.power import Power
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.elements import (
    Amplifiers,
    Crossbar,
    CurrentSources,
    Diodes,
    Element,
    NudgeSources,
    VoltageSources,
)
from eqprop_analog.spice.netlist import metered_netlist, model_text
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT
from eqprop_analog.spice.ngspice.workers import Workers

Array = np.ndarray

REPEATS = 3
"""Number of solutions of each operating point, because ngspice returns its last but one iterate (see NgspiceSolver)."""
METERS = {"b": ("i", "v"), "d": ("id", "vd")}
"""Vectors of a device by the first letter of its name; all others provide their power, ``p``. A behavioural source does not
provide it, and for a diode without series resistance it is infinite."""


def measured_power(
    inputs: Float[Array, "batch inputs"], phases: Sequence[NodalEquations], time_limit: float = TIME_LIMIT
) -> list[tuple[Power, Equilibrium]]:
    """Power of every part at each sample's equilibrium, watts, in each of ``phases``, and ngspice's certified voltages.

    ``phases``: equations of ``inputs``, free or nudged, of a network that SPICE can represent (``in_spice``). Every sample in
    every phase is a separate netlist with a limit of ``time_limit`` seconds. The 1 µΩ device that replaces an ideal clamp at a
    rail other than 0 V converts the rounding of this voltage to a current, 1e-11 A at 0.1 V. Raises UserError for a circuit that
    ngspice does not solve.
    """
    work = Workers(1, time_limit)
    try:
        return [_phase(work, inputs, equations) for equations in phases]
    except (libngspice.SimulationError, TimeLimitExceeded) as error:
        raise UserError(f"ngspice did not solve the flat circuit: {type(error).__name__}: {error}") from error
    finally:
        work.close()


def meters(circuit: Circuit) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every device of a static flat circuit: its part of Power, and the vectors whose product is v·i, watts."""
    inside = {
        model: re.findall(r"^([a-z]\w*) ", model_text(circuit, model), re.MULTILINE | re.IGNORECASE)
        for model in circuit.models
    }
    for element in circuit.elements:
        for line in element.lines():
            name, *rest = line.lower().split()
            devices = [name]
            if name.startswith("x"):
                (model,) = inside.keys() & set(rest)
                devices = [f"{device[0]}.{name}.{device}".lower() for device in inside[model]]
            for device in devices:
                yield _part(element, name), tuple(f"@{device}[{kind}]" for kind in METERS.get(device[0], ("p",)))


def _part(element: Element, device: str) -> str:
    """Name of the part in ``Power.sources`` or ``Power.sinks``."""
    match element:
        case VoltageSources():
            return "bias rails" if device.startswith("vrail") else "input rows"
        case CurrentSources():
            return "bias currents"
        case Crossbar():
            return f"crossbar {element.number}"
        case Diodes():
            return "diodes"
        case Amplifiers():
            return "amplifiers' supply"
        case NudgeSources():
            return "nudge's conductances" if device.startswith("r") else "nudge"
    raise TypeError(element)


def _phase(work: Workers, inputs: Float[Array, "batch inputs"], equations: NodalEquations) -> tuple[Power, Equilibrium]:
    network = equations.network
    jobs = []
    for sample in range(len(inputs)):
        injection = equations.select(np.array([sample])).injection
        circuit = compile_network(network, inputs[sample, None], [injection], "flat", validate=sample == 0)
        devices = list(meters(circuit))
        vectors = [*(f"v({net})" for net in circuit.probes), *(vector for _, names in devices for vector in names)]
        netlist = metered_netlist(circuit, vectors, REPEATS)
        jobs.append((devices, work.submit(libngspice.measure, netlist, vectors, REPEATS)))
    voltages, absorbed = [], []
    for devices, job in jobs:
        values = work.result(job)
        nodes = sum(network.layers[1:])
        voltages.append(values[:nodes])
        left = iter(values[nodes:].tolist())
        watts: dict[str, list[float]] = {}
        for part, names in devices:
            watts.setdefault(part, []).append(math.prod(next(left) for _ in names))
        absorbed.append({part: math.fsum(each) for part, each in watts.items()})

    def of(part: str) -> Float[Array, " batch"]:
        return np.array([each.get(part, 0.0) for each in absorbed])

    power = Power(
        rows=0.0 - of("input rows"),
        rails=0.0 - of("bias rails"),
        biases=0.0 - of("bias currents"),
        nudge=0.0 - of("nudge"),
        amplifiers=0.0 - of("amplifiers' supply"),
        crossbars=np.stack([of(f"crossbar {l}") for l in range(1, network.depth + 1)], axis=-1),
        diodes=of("diodes"),
        nudge_conductances=of("nudge's conductances"),
    )
    layers = by_layer(np.array(voltages), network.layers)
    return power, certified(equations, layers, TOLERANCE, None).require()
