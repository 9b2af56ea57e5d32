"""Input gain, nudge, rates and sweeps that follow from a network itself: what its circuit does to a probe of random inputs.

Everything asked for here is dimensionless: a fraction of the targets, of the outputs' conductance, of the outputs' error.
The circuit turns it into volts, siemens and S²/V². docs/recipe.md derives it and shows what was measured.
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
"""Volts at the output of the right class."""
SWING = 0.12
"""Root mean square of what inputs do to the outputs of the untrained network, over the target."""
NUDGE = 0.2
"""β over λ_min(S), the least conductance that holds the outputs."""
STEP = 1.0
"""How many times an output's error one update takes away, to first order, with all crossbars together, were every sample alike.
It holds for two crossbars and the usual batch. Crossbars share it in proportion to what a relative change of their conductances
does to the outputs."""
BIAS_STEP = 0.01
"""The same of the bias currents of one layer, over STEP."""
USUAL_BATCH = 4
COMMON = 0.2
"""Squared length of the mean gradient over the mean squared length of the samples' own: what a batch does not average out."""
SETTLED = 1e-5
"""What truncated phases may leave of the outputs' swing before training, in which coupling between layers grows."""
MOST_SWEEPS = 40
PROBES = 32
"""Samples of the probe."""
REACHED = 0.5
"""Of the swing: what must come of the input gain."""
TRIALS = 30
"""Of the input gain; a circuit of ideal diodes needs two."""


@dataclass(frozen=True)
class Recipe:
    """What training of one network takes, SI units."""

    input_gain: float
    """Volts per unit of input."""
    beta: float
    """Siemens."""
    rates: Rates
    sweeps: int
    swing: float
    """Volts: root mean square of what inputs do to the outputs before training."""


def recipe(network: ResistiveNetwork, pixel: float, batch: int, *, given_gain: bool = False) -> Recipe:
    """The recipe of a fresh ``network`` for inputs of root mean square ``pixel`` (without unit) and so many samples an update.

    ``given_gain``: leave the network's input gain as it is. Raises UserError where inputs do not reach the outputs.
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
    """Root mean square of what inputs of root mean square ``pixel`` do to the read-outs, volts. UserError if nothing.

    ``solver``: of the circuit that is meant, where that is another one than the network itself.
    """
    return _swing(network, _probe(network, pixel), solver)


def _probe(network: ResistiveNetwork, pixel: float) -> Float[Array, "batch inputs"]:
    return np.random.default_rng(0).uniform(0, np.sqrt(3) * pixel, (PROBES, network.layers[0]))


def _of_batch(size: int) -> float:
    """How much larger a step the mean over so many samples bears than that of one."""
    return size / (1 + (size - 1) * COMMON)


def _swing(network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], solver: Solver | None = None) -> float:
    """Root mean square of the read-outs over inputs and classes, less what they are without input, volts."""
    both = (solver or SurrogateSolver()).solve(network, np.concatenate([inputs, np.zeros_like(inputs[:1])])).require()
    read = network.readout(both.outputs)
    moved = float(np.sqrt(((read[:-1] - read[-1]) ** 2).mean()))
    if not moved > 0:
        raise UserError("recipe: the inputs do not change the outputs of this network; check the rails of its diodes")
    return moved


def _kernels(
    network: ResistiveNetwork, inputs: Float[Array, "batch inputs"]
) -> tuple[Float[Array, " crossbars"], Float[Array, " crossbars"]]:
    """‖∂r/∂G_l‖² (V²/S²) and ‖∂r/∂b_l‖² (V²/A²) of every layer, r being a read-out: means over samples, each of one class."""
    free = SurrogateSolver().solve(network, inputs).require()
    equations = NodalEquations.of(network, inputs)
    currents = [np.zeros_like(v) for v in free.voltages]
    currents[-1] = network.along_readout(np.eye(network.classes)[np.arange(len(inputs)) % network.classes])
    response = newton_step(equations, free.voltages, tuple(currents))
    conductances, biases = np.zeros(network.depth), np.zeros(network.depth)
    for k in range(len(inputs)):  # one sample at a time: a gradient is as large as the network
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
    """The fewest sweeps that leave the outputs within SETTLED of their swing; at least two more than crossbars."""
    settled = network.readout(SurrogateSolver().solve(network, inputs).outputs)
    swing = np.sqrt((settled**2).mean())
    for sweeps in range(network.depth + 2, MOST_SWEEPS):
        read = network.readout(SurrogateSolver(sweeps=sweeps, check_residual=False).solve(network, inputs).outputs)
        if np.sqrt(((read - settled) ** 2).mean()) <= SETTLED * swing:
            return sweeps
    return MOST_SWEEPS
