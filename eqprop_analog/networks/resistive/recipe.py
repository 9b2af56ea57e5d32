"""Input gain, nudge, learning rates and number of sweeps, derived from the response of a network to random probe inputs.

All constants are dimensionless: a fraction of the targets, of the outputs' conductance, or of the outputs' error. The circuit
converts them to volts, siemens and S²/V². docs/recipe.md contains the derivation and the measurements.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.solver import Solver
from eqprop_analog.devices.law import LARGEST_VOLTAGE
from eqprop_analog.errors import UserError
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.newton import newton_step
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver

Array = np.ndarray

TARGET = 1.0
"""Target voltage of the correct class, volts."""
SWING = 0.12
"""Rms response of the outputs of the untrained network to inputs, relative to the target."""
NUDGE = 0.2
"""β relative to λ_min(S), the smallest eigenvalue of the output conductance."""
STEP = 1.0
"""First-order reduction of an output's error by one update of all crossbars, in units of this error, if all samples were equal.
It applies to two crossbars and the default batch size. It is divided among the crossbars in proportion to the response of the
outputs to a relative change of their conductances."""
BIAS_STEP = 0.01
"""The same for the bias currents of one layer, relative to STEP."""
USUAL_BATCH = 4
COMMON = 0.2
"""Squared norm of the mean gradient relative to the mean squared norm of the gradients of single samples."""
SETTLED = 1e-5
"""Deviation of truncated phases before training, relative to the outputs' swing; training increases the coupling."""
MOST_SWEEPS = 40
PROBES = 32
"""Number of probe samples."""
REACHED = 0.5
"""Smallest fraction of the swing that the input gain must produce."""
TRIALS = 30
"""Largest number of adjustments of the input gain; a circuit with ideal diodes needs two."""


@dataclass(frozen=True)
class Recipe:
    """Training settings of one network, SI units."""

    input_gain: float
    """Input gain, volts per unit of input."""
    beta: float
    """β, siemens."""
    rates: Rates
    sweeps: int
    swing: float
    """Rms response of the outputs to inputs before training, volts."""


def recipe(network: ResistiveNetwork, pixel: float, batch: int, *, given_gain: bool = False) -> Recipe:
    """The recipe of an untrained ``network`` for inputs of root mean square ``pixel`` (dimensionless) and a batch size.

    ``given_gain``: do not change the input gain of the network. Raises UserError if the inputs do not affect the outputs.
    """
    inputs = _probe(network, pixel)
    moved = _swing(network, inputs)
    for _ in range(0 if given_gain else TRIALS):
        off = SWING * TARGET / moved
        if abs(np.log(off)) < 0.01:
            break
        network = replace(network, input_gain=float(network.input_gain * np.clip(off, 1e-3, 1e3)))
        moved = _swing(network, inputs)
    if not given_gain and (moved < REACHED * SWING * TARGET or network.input_gain > LARGEST_VOLTAGE):
        raise UserError(
            f"recipe: inputs of {network.input_gain:.2g} V at 1 move the outputs by only {moved:.2g} V, expected "
            f"{SWING * TARGET:g} V: the diodes clamp the hidden nodes, or the circuit attenuates; check the diode's "
            "rail and saturation current, use --amplifier-gain or fewer layers, or give --input-gain"
        )
    conductances, biases = _kernels(network, inputs)
    relative = np.sqrt(conductances * [(matrix**2).mean() if matrix.size else 0.0 for matrix in network.conductances])
    step = STEP * 2 / np.count_nonzero(relative) * _of_batch(batch) / _of_batch(USUAL_BATCH) * relative / relative.sum()
    own = np.divide(step, conductances, out=np.zeros_like(step), where=relative > 0)
    rates = Rates(tuple(own.tolist()), tuple((BIAS_STEP * step / biases).tolist()))
    beta = NUDGE * float(np.linalg.eigvalsh(network.output_stiffness())[0])
    return Recipe(network.input_gain, beta, rates, _sweeps(network, inputs), moved)


def swing(network: ResistiveNetwork, pixel: float, solver: Solver | None = None) -> float:
    """Rms response of the read-outs to inputs of root mean square ``pixel``, volts. UserError if there is no response.

    ``solver``: the solver of the circuit, if the circuit is not the network itself.
    """
    return _swing(network, _probe(network, pixel), solver)


def _probe(network: ResistiveNetwork, pixel: float) -> Float[Array, "batch inputs"]:
    return np.random.default_rng(0).uniform(0, np.sqrt(3) * pixel, (PROBES, network.layers[0]))


def _of_batch(size: int) -> float:
    """Ratio of the largest stable step for the mean over a batch to that for one sample."""
    return size / (1 + (size - 1) * COMMON)


def _swing(network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], solver: Solver | None = None) -> float:
    """Rms of the read-outs over inputs and classes after subtraction of their values without input, volts."""
    both = (solver or SurrogateSolver()).solve(network, np.concatenate([inputs, np.zeros_like(inputs[:1])])).require()
    read = network.readout(both.outputs)
    moved = float(np.sqrt(((read[:-1] - read[-1]) ** 2).mean()))
    if not moved > 0:
        raise UserError("recipe: the inputs do not change the outputs of this network; check the rails of its diodes")
    return moved


def _kernels(
    network: ResistiveNetwork, inputs: Float[Array, "batch inputs"]
) -> tuple[Float[Array, " crossbars"], Float[Array, " crossbars"]]:
    """‖∂r/∂G_l‖² (V²/S²) and ‖∂r/∂b_l‖² (V²/A²) of every layer for a read-out r: means over samples, one class for each."""
    free = SurrogateSolver().solve(network, inputs).require()
    equations = NodalEquations.of(network, inputs)
    currents = [np.zeros_like(v) for v in free.voltages]
    currents[-1] = network.along_readout(np.eye(network.classes)[np.arange(len(inputs)) % network.classes])
    response = newton_step(equations, free.voltages, tuple(currents))
    conductances, biases = np.zeros(network.depth), np.zeros(network.depth)
    for k in range(len(inputs)):  # one sample at a time, because a gradient is as large as the network
        one = slice(k, k + 1)
        gradient = network.drop_gradient(
            inputs[one], tuple(v[one] for v in free.voltages), tuple(v[one] for v in response)
        )
        conductances += [float((matrix**2).sum()) / len(inputs) for matrix in gradient.conductances]
        biases += [float((bias**2).sum()) / len(inputs) for bias in gradient.biases]
    learning = [crossbar.free_parameters > 0 for crossbar in network.crossbars]
    if not (conductances[learning] > 0).all():
        raise UserError(
            "recipe: a crossbar of this network has no influence on its outputs; check the rails of its diodes"
        )
    return conductances, biases


def _sweeps(network: ResistiveNetwork, inputs: Float[Array, "batch inputs"]) -> int:
    """Smallest number of sweeps with outputs settled to SETTLED of their swing; at least two more than the crossbars."""
    settled = network.readout(SurrogateSolver().solve(network, inputs).outputs)
    swing = np.sqrt((settled**2).mean())
    for sweeps in range(network.depth + 2, MOST_SWEEPS):
        read = network.readout(SurrogateSolver(sweeps=sweeps, check_residual=False).solve(network, inputs).outputs)
        if np.sqrt(((read - settled) ** 2).mean()) <= SETTLED * swing:
            return sweeps
    return MOST_SWEEPS
