"""The learning signal: the difference of ∂E/∂θ between two phases, for a conductance that of the squared voltage drops."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models import Layers, ResistiveNetwork

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Gradient:
    """dC/dθ, batch mean: by conductance (V²/S) and by bias current (V²/A), like the network's own arrays."""

    conductances: tuple[Float[Array, "rows columns"], ...]
    biases: tuple[Float[Array, " nodes"], ...]


def contrast(
    network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium
) -> Gradient:
    """dC/dG_l[i,j] = (γ_l/γ_L)/(β₊ - β₋) · ½⟨(Δv_ij)²₊ - (Δv_ij)²₋⟩ and dC/db_l[j] = -(γ_l/γ_L)/(β₊ - β₋)·⟨v₊ - v₋⟩.

    ``plus`` and ``minus`` may be any two phases of different β: ±β is centred (error O(β²)), +β and free one-sided
    (O(β)). ``inputs`` as given to the solver; ⟨⟩ is the batch mean. Source: Scellier & Bengio 2017; Kendall et al. 2020.
    Raises UserError if the phases do not differ in β, have not the shapes of network and inputs, or failed.
    """
    inputs = network.check_inputs(inputs)
    expected = tuple((len(inputs), size) for size in network.layers[1:])
    for phase in (plus, minus):
        if tuple(v.shape for v in phase.voltages) != expected:
            got = [v.shape for v in phase.voltages]
            raise UserError(f"contrast: expected voltages of shapes {list(expected)}, got {got}")
        phase.require()
    span = (plus.nudge.beta if plus.nudge else 0.0) - (minus.nudge.beta if minus.nudge else 0.0)
    if span == 0:
        raise UserError("contrast: both phases have the same beta, so their difference says nothing")
    mean = tuple(0.5 * (p + m) for p, m in zip(plus.voltages, minus.voltages, strict=True))
    slope = tuple((p - m) / span for p, m in zip(plus.voltages, minus.voltages, strict=True))
    return drop_gradient(network, inputs, mean, slope)


def drop_gradient(
    network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], mean: Layers, slope: Layers
) -> Gradient:
    """(γ_l/γ_L)⟨Δv̄ · dΔv/dβ⟩ for every conductance, from node voltages ``mean`` (V) and ``slope`` = dv/dβ (V/S or V/A).

    ½(Δ₊² - Δ₋²) is the mean drop times the difference of drops, which multiplies out into one matrix product and two
    rank-one terms: no (batch, i, j) array, and no cancellation of large squares.
    """
    batch = len(inputs)
    conductances, biases = [], []
    drive = inputs * inputs.dtype.type(network.input_gain)
    drive_slope = None
    for layer, (v, dv, gamma) in enumerate(zip(mean, slope, network.gammas, strict=True)):
        weight = gamma / network.gammas[-1] / batch
        own = (v * dv).sum(axis=0)
        if drive_slope is None:  # the rows +x, -x and the bias row have fixed voltages
            product = drive.T @ dv
            rows = [own - product, own + product]
            if network.bias_row:
                rows.append((own - inputs.dtype.type(network.bias_row) * dv.sum(axis=0))[None])
            matrix = np.concatenate(rows)
        else:
            product = np.concatenate([drive, drive_slope]).T @ np.concatenate([dv, v])
            matrix = (drive * drive_slope).sum(axis=0)[:, None] + own - product
        matrix *= weight
        conductances.append(matrix)
        biases.append(-weight * dv.sum(axis=0))
        if layer < network.depth - 1:
            drive, drive_slope = network.amplifier_gain[layer] * v, network.amplifier_gain[layer] * dv
    return Gradient(tuple(conductances), tuple(biases))
