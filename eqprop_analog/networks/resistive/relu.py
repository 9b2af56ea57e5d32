"""A feed-forward network of rectified linear units as a resistive network, whose outputs are equal up to O(1/gain).

A unit h = max(0, z) becomes two nodes: an excitatory one at +σh and an inhibitory one at -σh, each limited to its sign by an
ideal diode to ground. A weight W is the difference of the conductances from the two nodes (in the first layer, from the rows +x
and -x), so both signs are possible; for an inhibitory node, the two are exchanged. The common part of both conductances carries
no signal. It fills a column up to a sum S, which attenuates the signal as much as the amplifier after the node amplifies it:

    D = G₊ - G₋ = W·(S + L)/A,

where L is the load of the node by the next crossbar, a known constant, so that an activation of 1 is the same voltage after
every amplifier. The only error is the current that returns through the amplifier, 1/A of the forward current (for the outputs,
because their conductances are 1/A of the others): the outputs differ by O(1/A). Bidirectional amplifiers of high gain isolate
the layers.

Scellier & Mishra (arXiv 2312.15063) prove by such a translation that resistive networks with amplifiers approximate any
continuous function. The common conductances and the bidirectional amplifiers are specific to this implementation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.checks import check_window
from eqprop_analog.devices import Clamp
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import LARGEST, real_array, real_number
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
Layer = tuple[Float[Array, "inputs units"], Float[Array, " units"]]

USUAL_GAIN = 2.0
"""Default gain relative to the smallest possible gain."""
WIDEST = 0.9
"""Largest conductance of the network relative to the upper limit of the window."""
LARGEST_GAIN = 1e9
OUTPUTS = 10.0
"""Largest conductance of the last crossbar relative to the others, times the gain. The outputs are not loaded, so their
conductances may be small, and small conductances return little current."""
ROUNDING = 1e-12
IGNORED = ("Flatten", "Dropout", "Identity")
"""Modules of PyTorch that have no effect in a trained network."""


@dataclass(frozen=True)
class Translation:
    """A resistive network, and the scale between its outputs and those of the ReLU network."""

    network: ResistiveNetwork
    output_volts: float
    """Output voltage of the circuit for an output of 1 of the ReLU network, volts."""
    least_gain: float
    """Smallest gain of the amplifiers for which such a circuit exists."""


def layers_of(model: Any) -> list[Layer]:
    """(weights (inputs, units), biases (units,)) of every layer of a ``torch.nn.Sequential``, or of pairs of arrays.

    Raises UserError for other modules, for layers without exactly one ReLU between them, and for arrays that do not fit.
    """
    try:
        parts = list(model)
    except TypeError as error:
        raise UserError(
            f"expected a torch.nn.Sequential of Linear and ReLU, or a list of (weights, biases), got {type(model).__name__}"
        ) from error
    given = _from_modules(parts) if hasattr(model, "named_parameters") else parts
    found: list[Layer] = []
    for number, pair in enumerate(given, start=1):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UserError(f"layer {number}: expected (weights, biases), got {type(pair).__name__}")
        weights = real_array(pair[0], f"weights of layer {number}", float)
        if weights.ndim != 2 or not weights.size:
            raise UserError(f"weights of layer {number}: expected shape (inputs, units), got {weights.shape}")
        biases = (
            np.zeros(weights.shape[1]) if pair[1] is None else real_array(pair[1], f"biases of layer {number}", float)
        )
        if biases.shape != weights.shape[1:]:
            raise UserError(f"biases of layer {number}: expected shape ({weights.shape[1]},), got {biases.shape}")
        if found and found[-1][0].shape[1] != len(weights):
            raise UserError(
                f"weights of layer {number}: expected {found[-1][0].shape[1]} rows, the number of units of layer "
                f"{number - 1}, got {len(weights)}; transpose PyTorch's weights by .T"
            )
        found.append((weights, biases))
    if len(found) < 2:
        raise UserError(f"expected at least two layers, with ReLU between them, got {len(found)}")
    return found


def _from_modules(modules: Sequence[Any]) -> list[Any]:
    """Weights and biases of PyTorch's modules, which are recognised by the names of their classes."""
    kept = [module for module in modules if type(module).__name__ not in IGNORED]
    names = [type(module).__name__ for module in kept]
    wanted = [("Linear", "ReLU")[k % 2] for k in range(len(kept))]
    wrong = next((k for k, (name, want) in enumerate(zip(names, wanted, strict=True)) if name != want), None)
    if wrong is not None or len(kept) % 2 == 0:
        at = len(kept) if wrong is None else wrong
        got = names[at] if at < len(names) else "the end"
        raise UserError(f"expected Linear, ReLU, ..., Linear, got {got} as number {at + 1}")
    pairs = []
    for module in kept[::2]:
        bias = None if module.bias is None else module.bias.detach().cpu().double().numpy()
        pairs.append((module.weight.detach().cpu().double().numpy().T, bias))
    return pairs


def relu_outputs(model: Any, inputs: Any) -> Float[Array, "batch outputs"]:
    """Outputs of the ReLU network itself for ``inputs`` (batch, inputs)."""
    values = real_array(inputs, "inputs", float)
    layers = layers_of(model)
    for weights, biases in layers[:-1]:
        values = np.maximum(values @ weights + biases, 0)
    return values @ layers[-1][0] + layers[-1][1]


def translate_relu(
    model: Any,
    *,
    amplifier_gain: float | None = None,
    input_gain: float = 1.0,
    conductance_window: tuple[float, float] = (0.0, 1e-4),
) -> Translation:
    """The resistive network of a trained ReLU network; see the module.

    Its outputs differ by O(1/A). The higher the gain, the smaller the part of the conductances that represents the weights.

    The arguments:

    - model: a ``torch.nn.Sequential`` of Linear and ReLU, or a list of (weights (inputs, units), biases (units,)).
    - amplifier_gain: A of every hidden layer (default: twice the smallest possible gain).
    - input_gain: voltage of an input of 1, and of an activation of 1 after the amplifiers, volts.
    - conductance_window: (G_min, G_max), siemens.

    Raises UserError for another kind of network, and for a gain below the smallest possible one, which the error states.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> layers = [(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(2)), (np.ones((2, 1)), np.zeros(1))]  # |x_0 - x_1|
    >>> made = ea.translate_relu(layers, amplifier_gain=1e4)
    >>> volts = ea.SurrogateSolver().solve(made.network, [[0.2, 0.9]]).outputs
    >>> bool(abs(volts / made.output_volts - 0.7).max() < 1e-3)
    True
    """
    layers, window = layers_of(model), check_window(conductance_window)
    volts = real_number(input_gain, "input_gain", "volts per unit of input")
    if not 0 < volts <= LARGEST:
        raise UserError(f"input_gain: expected more than 0 V, and at most {LARGEST:g} V, got {volts:g}")
    if not all(weights.any() for weights, _ in layers):
        raise UserError("weights: those of one layer are all 0, so no signal passes through it")
    least = _least_gain(layers, volts, window)
    gain = USUAL_GAIN * least if amplifier_gain is None else real_number(amplifier_gain, "amplifier_gain")
    if gain > LARGEST_GAIN:
        raise UserError(f"amplifier_gain: expected at most {LARGEST_GAIN:g}, got {gain:g}")
    made = _made(layers, volts, gain, window) if gain >= 1 else None
    if made is None:
        raise UserError(
            f"amplifier_gain: expected at least {least:.4g} for these weights and this window, got {gain:g}"
        )
    return Translation(made, _output_volts(layers, volts), least)


def _output_volts(layers: Sequence[Layer], volts: float) -> float:
    """Output voltage for a 1, such that at most half of the conductances of an output carry the signal, volts."""
    return volts / (2 * float(np.abs(layers[-1][0]).sum(axis=0).max()))


def _made(layers: Sequence[Layer], volts: float, gain: float, window: tuple[float, float]) -> ResistiveNetwork | None:
    """The network with amplifiers of the given gain; None if the gain is too low."""
    conductances: list[Array] = []
    biases: list[Array] = []
    load = np.zeros(layers[-1][0].shape[1])
    for number, (weights, bias) in reversed(list(enumerate(layers))):
        last = number == len(layers) - 1
        ahead = _output_volts(layers, volts) if last else volts / gain  # voltage of a node for an activation of 1
        paired, offset = (weights, bias) if last else (np.hstack([weights, -weights]), np.append(bias, -bias))
        most = WIDEST * window[1] * (min(1.0, OUTPUTS / gain) if last else 1.0)
        found = _crossbar(paired, ahead / volts, load, window[0], most)
        if found is None:
            return None
        matrix, held = found
        conductances.insert(0, matrix)
        biases.insert(0, ahead * held * offset)
        load = matrix.sum(axis=1)
    return ResistiveNetwork(
        tuple(conductances),
        tuple(biases),
        diode=Clamp(rail=0.0),
        amplifier_gain=(gain,) * (len(layers) - 1),
        input_gain=volts,
        conductance_window=window,
    )


def _crossbar(
    weights: Float[Array, "inputs nodes"], ratio: float, load: Float[Array, " nodes"], least: float, most: float
) -> tuple[Float[Array, "rows nodes"], Float[Array, " nodes"]] | None:
    """Conductances from the rows or nodes of both signs, and the total S + L of each node, siemens; None if impossible.

    With D = ratio·W·(S + L) and the common part (S - Σ|D|)/rows, S is as large as the largest conductance, ``most``, allows.
    If necessary, it is increased until the common part is ``least``.
    """
    rows = 2 * len(weights)
    sums, peak = ratio * np.abs(weights).sum(axis=0), ratio * np.abs(weights).max(axis=0)
    if (sums >= 1).any():
        return None
    floor = least * (1 + rows * peak / (1 - sums)) * (load == 0)  # of a layer without load
    total = (np.maximum(most, floor) - load * (peak - sums / rows)) / ((1 - sums) / rows + peak)
    held = total + load
    common = (total - sums * held) / rows
    if (total <= 0).any() or (common < least * (1 - ROUNDING)).any():
        return None
    difference = ratio * weights * held
    common = np.maximum(common, least)
    return np.concatenate([common + np.maximum(difference, 0), common + np.maximum(-difference, 0)]), held


def _least_gain(layers: Sequence[Layer], volts: float, window: tuple[float, float]) -> float:
    """The smallest gain for which a network exists, to within one percent."""
    low, high = 1.0, 2.0
    while _made(layers, volts, high, window) is None:
        low, high = high, 2 * high
        if high > LARGEST_GAIN:
            raise UserError(
                "weights: no gain of the amplifiers maps them into the window; use a window that begins at 0 S"
            )
    if low == 1.0 and _made(layers, volts, low, window) is not None:
        return low
    while high > 1.01 * low:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _made(layers, volts, middle, window) is None else (low, middle)
    return high
