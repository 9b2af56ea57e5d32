"""Nudges: the small force on the outputs towards their targets that turns a free phase into a nudged one."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import LARGEST, one_of, real_array, real_number

Array = np.ndarray
Kind = Literal["conductance", "current", "feedback", "output"]
Cost = Literal["squared-error", "cross-entropy"]


def cost(
    name: Cost, readout: Float[Array, "batch classes"], target: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Return the cost C of each sample: ½‖r - y‖² (V²), or -Σ y ln softmax(r / 1 V) (dimensionless)."""
    if name == "squared-error":
        return 0.5 * ((readout - target) ** 2).sum(axis=1)
    from scipy.special import log_softmax

    return -(target * log_softmax(readout, axis=1)).sum(axis=1)


def cost_slope(
    name: Cost, readout: Float[Array, "batch classes"], target: Float[Array, "batch classes"]
) -> Float[Array, "batch classes"]:
    """Return ∂C/∂r of each sample: r - y (V), or softmax(r / 1 V)·Σy - y (1/V)."""
    if name == "squared-error":
        return readout - target
    from scipy.special import softmax

    return softmax(readout, axis=1) * target.sum(axis=1, keepdims=True) - target


@dataclass(frozen=True, eq=False)
class Nudge:
    """Adds β·C to the energy at the outputs (Scellier & Bengio 2017), or its tangent at the free equilibrium.

    C is a cost of the read-outs r: the output nodes' voltages, or the differences of pairs of them.

    ``kind="conductance"``: a conductance β from each output to a source at its target injects β(y - v); squared error.
    ``kind="current"`` (Kendall et al. 2020): the constant current -β ∂C/∂r computed at the free equilibrium; any cost.
    ``kind="feedback"`` (Laborieux et al. 2021): the current -β ∂C/∂r that follows the read-out; any cost; Hopfield networks.
    ``kind="output"`` (Ernoult et al. 2019): a conductance β to the target behind a Hopfield network's output
    buffers, whose output conductance is 1: s = ρ(u) + β(y - s). To first order it has no factor ρ′(u). With the sigmoid
    of gain 1, whose ρ′ is 4s(1 - s), it is the nudge of the cost -¼ Σ [y ln s + (1 - y) ln(1 - s)], for which saturated
    outputs also get a gradient. A negative β is a negative conductance, which is allowed while the circuit stays
    positive definite. In a Hopfield network, whose states are bounded, any β is allowed, and β is dimensionless.

    >>> import eqprop_analog as ea
    >>> nudge = ea.Nudge(target=[[1.0, 0.0]], beta=1e-8)  # volts at every read-out; siemens
    >>> nudge.beta, nudge.kind
    (1e-08, 'conductance')
    """

    target: Float[Array, "batch classes"]
    """Targets y, volts, (batch, classes); (1, classes) is the same for all samples, (classes,) is for a batch of one."""
    beta: float
    """Strength β: siemens for squared error, amperes for cross-entropy."""
    kind: Kind = "conductance"
    cost: Cost = "squared-error"
    lone: bool = field(init=False, repr=False)
    """Whether the target was given as (classes,)."""

    def __post_init__(self) -> None:
        """Check what can be checked without a network."""
        target = real_array(self.target, "nudge: target (volts)", largest=LARGEST)
        object.__setattr__(self, "lone", target.ndim == 1)
        object.__setattr__(self, "target", np.atleast_2d(target))
        object.__setattr__(self, "beta", real_number(self.beta, "nudge: beta", "siemens, or amperes for cross-entropy"))
        if self.target.ndim != 2:
            raise UserError(f"nudge: expected a target of shape (batch, classes), got {self.target.shape}")
        if self.beta == 0:
            raise UserError("nudge: beta must not be zero; leave the nudge out for the free phase")
        one_of(self.kind, "nudge: kind", get_args(Kind))
        one_of(self.cost, "nudge: cost", get_args(Cost))
        if self.kind in ("conductance", "output") and self.cost != "squared-error":
            raise UserError(
                'nudge: a conductance can nudge by the squared error only; use kind="current" for other costs'
                ' (in a Hopfield network also "feedback")'
            )

    @property
    def taken_at_free(self) -> bool:
        """Whether it is the cost's tangent at a free equilibrium, whose errors it inherits."""
        return self.kind == "current"

    def injection(
        self, free_readout: Float[Array, "batch classes"] | None
    ) -> tuple[float, Float[Array, "batch classes"]]:
        """Return the nudge as (g, c): it injects the current c - g·r along a read-out of voltage r; siemens and amperes.

        ``free_readout``: read-outs of the free equilibrium, volts, which a current nudge needs. Raises UserError for a
        current nudge without them, and for feedback.
        """
        if self.kind in ("feedback", "output"):
            raise UserError(
                f'nudge: kind="{self.kind}" is for Hopfield networks; for a circuit of resistors use '
                'kind="conductance", which follows the outputs, or kind="current", which takes any cost'
            )
        if self.kind == "conductance":
            return self.beta, self.beta * self.target
        if free_readout is None:
            raise UserError("nudge: a current nudge is computed at the free equilibrium; pass it as start=free")
        return 0.0, -self.beta * cost_slope(self.cost, free_readout, self.target)
