"""Training with phases truncated after a fixed number of sweeps, as in published recipes, in preallocated arrays."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.core.nudge import cost_slope
from eqprop_analog.incoming import whole_number
from eqprop_analog.kernels import kernels_for
from eqprop_analog.learning.trainer import Learner, Rule, required, taken
from eqprop_analog.learning.update import check_rates
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.newton import newton_step

Array = np.ndarray
Method = Literal["equilibrium-propagation", "implicit"]
"""Methods for the response of the free phase to its cost: by finite nudges, or by one linear solve."""

SETTLED = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-6}
"""Relative residual of the linear solve."""


class _Batch:
    """Arrays for batches of one size: the free phase, the stacked nudged phases, and their results."""

    def __init__(self, network: ResistiveNetwork, size: int, betas: list[float]) -> None:
        dtype, sizes = network.conductances[0].dtype, network.layers[1:]
        nudged = size * len(betas)
        self.size = size
        self.source = np.empty((max(size, nudged), sizes[0]), dtype)
        self.free: Layers = tuple(np.empty((size, nodes), dtype) for nodes in sizes)
        self.nudged: Layers = tuple(np.empty((nudged, nodes), dtype) for nodes in sizes)
        self.none = np.zeros((size, 1), dtype), np.zeros((size, sizes[-1]), dtype)
        self.nudge = np.repeat(np.array(betas, dtype), size)[:, None]
        self.current = np.empty((nudged, sizes[-1]), dtype)
        self.mean: Layers = tuple(np.empty_like(v) for v in self.free)
        self.slope: Layers = tuple(np.empty_like(v) for v in self.free)

    def parts(self) -> list[slice]:
        """Rows of each nudged phase."""
        return [slice(begin, begin + self.size) for begin in range(0, len(self.nudge), self.size)]


class TruncatedLearner(Learner):
    """PhaseLearner with SurrogateSolver(sweeps=..., check_residual=False), equal to within rounding but in place.

    ``method="implicit"`` computes the response of the free phase from its linearised circuit instead of nudged phases, which is
    the exact gradient if the free phase has settled. Nothing else may change ``network`` while the learner is in use.
    """

    def __init__(
        self, network: ResistiveNetwork, rule: Rule, sweeps: int, method: Method = "equilibrium-propagation"
    ) -> None:
        check_rates(rule.rates, network)
        self.network, self.rule, self.sweeps = network, rule, whole_number(sweeps, "sweeps", 1)
        self._betas = [] if method == "implicit" else [rule.beta, -rule.beta][: 2 if rule.nudging == "centred" else 1]
        self._kernels = kernels_for(network)
        self.renewed = 0
        self._gammas = network.gammas
        self._batch = _Batch(network, 0, self._betas)

    def learn(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch classes"]
    ) -> tuple[int, Counter[str]]:
        """See Learner; ``inputs`` and ``targets`` of the network's dtype are not validated. UserError before the update."""
        inputs, targets = taken(self.network, inputs, targets)
        if self._batch.size != len(inputs):
            self._batch = _Batch(self.network, len(inputs), self._betas)
        batch = self._batch
        self._require_circuit(inputs)
        finite = self._settle_free(inputs)
        if self._betas:
            finite &= self._settle_nudged(targets)
        if not finite:
            self._report()
        if self._betas:
            self._contrast()
        else:
            self._respond(inputs, targets)
        self._descend()
        wrong = self.judged(self.network.readout(batch.free[-1]), targets, self.rule.tolerance)
        return wrong, Counter({Status.TRUNCATED.name: (1 + len(self._betas)) * batch.size})

    def arrays(self) -> Mapping[str, Array]:
        """The sums of conductances after the last update, whose last bits depend on the order of summation."""
        return self._kernels.arrays()

    def _require_circuit(self, inputs: Float[Array, "batch inputs"]) -> None:
        """Raise UserError unless every node is driven and the nudged circuit is positive definite."""
        if not self._kernels.driven:
            NodalEquations.of(self.network, inputs)  # raises an error that names the node
        if self._betas and self.rule.kind == "conductance":
            self.network.require_definite(min(self._betas), self._kernels.column_sums[0])

    def _settle_free(self, inputs: Float[Array, "batch inputs"]) -> bool:
        """Compute the free phase from 0 V; returns whether its outputs are finite."""
        batch = self._batch
        source = batch.source[: batch.size]
        self._kernels.drive(inputs, source)
        for v in batch.free:
            v.fill(0)
        return self._kernels.settle(self.sweeps, source, *batch.none, batch.free)

    def _pull(self, targets: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """-∂C/∂v of the free phase's output nodes."""
        readout = self.network.readout(self._batch.free[-1])
        return -self.network.along_readout(cost_slope(self.rule.cost, readout, targets))

    def _settle_nudged(self, targets: Float[Array, "batch classes"]) -> bool:
        """Compute the nudged phases from the free phase; returns whether their outputs are finite."""
        batch = self._batch
        conductance = self.rule.kind == "conductance"
        pull = targets if conductance else self._pull(targets)
        for part, beta in zip(batch.parts(), self._betas, strict=True):
            batch.nudge[part] = beta if conductance else 0
            np.multiply(pull, beta, out=batch.current[part])
            batch.source[part] = batch.source[: batch.size]
            for v, free in zip(batch.nudged, batch.free, strict=True):
                v[part] = free
        return self._kernels.settle(self.sweeps, batch.source, batch.nudge, batch.current, batch.nudged)

    def _report(self) -> None:
        """Raise PhaseError for samples whose outputs are not finite."""
        for voltages in (self._batch.free, self._batch.nudged):
            finite = np.asarray(np.isfinite(voltages[-1]).all(axis=1))
            status = np.array([Status.OUT_OF_BOUNDS, Status.TRUNCATED])[finite.astype(int)]
            required(Equilibrium(voltages, np.full(len(finite), np.nan), status))

    def _contrast(self) -> None:
        """Mean of the outer two phases, and their difference divided by that of their β (see learning.contrast)."""
        batch = self._batch
        plus, *minus = batch.parts()
        for mean, slope, nudged, free in zip(batch.mean, batch.slope, batch.nudged, batch.free, strict=True):
            upper, lower = nudged[plus], nudged[minus[0]] if minus else free
            np.add(upper, lower, out=mean)
            np.multiply(mean, mean.dtype.type(0.5), out=mean)
            np.subtract(upper, lower, out=slope)
            np.divide(slope, slope.dtype.type(self._betas[0] * (2 if minus else 1)), out=slope)

    def _respond(self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch classes"]) -> None:
        """The free phase, and its response to -∂C/∂v at the outputs in the linearised circuit (see learning.exact_gradient)."""
        batch, network, kernels = self._batch, self.network, self._kernels
        equations = NodalEquations(
            network,
            batch.source,
            kernels.totals,
            kernels.column_sums[0],
            tuple(network.polarity(layer) for layer in range(1, network.depth)),
            np.abs(network.rows(inputs)).max(axis=1),
            *batch.none,
            inputs,
            np.arange(len(inputs)),
        )
        current = (*(np.zeros_like(v) for v in batch.free[:-1]), self._pull(targets))
        response = newton_step(equations, batch.free, current, SETTLED[batch.source.dtype])
        for mean, slope, free, moved in zip(batch.mean, batch.slope, batch.free, response, strict=True):
            mean[...] = free
            slope[...] = moved

    def _descend(self) -> None:
        """Take one step of gradient descent."""
        batch, rates = self._batch, self.rule.rates
        weights = [gamma / self._gammas[-1] / batch.size for gamma in self._gammas]
        self._kernels.descend(
            batch.mean,
            batch.slope,
            [weight * rates.of(f"conductance_{l}") for l, weight in enumerate(weights, start=1)],
            [weight * rates.of(f"bias_{l}") for l, weight in enumerate(weights, start=1)],
        )
        if not self._kernels.driven and (renewed := self.network.renew()):
            self.renewed += renewed
            self._kernels.follow()
