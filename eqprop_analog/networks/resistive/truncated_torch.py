"""The training step of networks.resistive.truncated in PyTorch: on a GPU, every batch replays a captured graph of kernels."""

from __future__ import annotations  # annotations can be read without PyTorch

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.errors import UserError
from eqprop_analog.kernels.torch.arrays import STEPS, node_roots, require_law, slopes
from eqprop_analog.kernels.torch.network import cost_slope
from eqprop_analog.learning.trainer import Learner, Pass, PhaseError, Progress, Rule
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.truncated import SETTLED, Method

Array = np.ndarray
Parts = list[Tensor]

CHUNK = 500
"""Number of images that are tested together."""
ITERATIONS = 8
"""Fixed number of conjugate gradient iterations for the implicit gradient, because a captured graph cannot stop early. Layers of
a thousand nodes need four to six for a relative residual of 1e-6."""


class TorchLearner(Learner):
    """TruncatedLearner on ``device``, equal to within rounding; ``finish`` updates the network.

    It supports networks of dense crossbars. The node equation and the slope of a law use the same code as NumPy
    (kernels.torch.arrays); ideal clamps are part of the compiled step. Errors of a batch (outputs that are not finite, an empty
    column, an indefinite nudge) are raised after its update.
    """

    def __init__(
        self,
        network: ResistiveNetwork,
        rule: Rule,
        sweeps: int,
        method: Method = "equilibrium-propagation",
        device: str = "cuda",
    ) -> None:
        self.require_possible(network, rule, device, method)
        self.network, self.sweeps = network, sweeps
        self.device = torch.device(device)
        self._rates = torch.zeros(2, network.depth, dtype=torch.from_numpy(network.biases[0]).dtype, device=self.device)
        self.rule = rule
        betas = [] if method == "implicit" else [rule.beta, -rule.beta][: 2 if rule.nudging == "centred" else 1]
        self._betas = betas
        self._matrices = [torch.from_numpy(matrix.copy()).to(self.device) for matrix in network.conductances]
        self._biases = [torch.from_numpy(bias.copy()).to(self.device) for bias in network.biases]
        self._gains = [float(gain) for gain in network.drive_gains]
        self._polarity = [
            torch.from_numpy(network.polarity(layer)).to(self.device) for layer in range(1, network.depth)
        ]
        self._columns = [matrix.sum(0) for matrix in self._matrices]
        self._rows = [matrix.sum(1) for matrix in self._matrices[1:]]
        half = network.layers[0]
        self._difference = self._matrices[0][:half] - self._matrices[0][half : 2 * half]
        lowest = getattr(network.diode, "lowest", None)
        self._lowest = None if lowest is None else float(lowest)
        across = network.readout(np.eye(network.layers[-1], dtype=network.biases[-1].dtype))
        self._across = torch.from_numpy(np.ascontiguousarray(across)).to(self.device)
        self._steps: dict[int, tuple[Tensor, Tensor, Callable[[], Tensor]]] = {}

    @staticmethod
    def require_possible(
        network: ResistiveNetwork, rule: Rule, device: str = "cuda", method: Method = "equilibrium-propagation"
    ) -> None:
        """Raise UserError if the network, the law or the rule is not supported, or if there is no GPU."""
        if not all(crossbar.is_matrix for crossbar in network.crossbars):
            raise UserError("device: only networks of dense crossbars can be trained on a GPU; use the CPU")
        if rule.kind not in ("conductance", "current"):
            raise UserError(
                f'device: expected a nudge of kind "conductance" or "current" for PyTorch, got "{rule.kind}"; use the CPU'
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("device: PyTorch finds no GPU; train on the CPU, or install PyTorch with CUDA")
        if getattr(network.diode, "lowest", None) is None:
            require_law(network.diode, slope=method == "implicit")

    @property
    def rule(self) -> Rule:
        """The learning rule; only its rates may change between epochs."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        self._rule = rule
        weights = np.array(self.network.gammas) / self.network.gammas[-1]
        rates = [[rule.rates.of(f"{kind}_{l + 1}") for l in range(len(weights))] for kind in ("conductance", "bias")]
        self._rates.copy_(torch.tensor(weights * np.array(rates)))

    def learn(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch classes"],
        *examples: Any,  # noqa: ARG002 - no state is kept for each example
    ) -> tuple[int, Counter[str]]:
        """See Learner."""
        if len(inputs) not in self._steps:
            self._steps[len(inputs)] = self._captured(len(inputs))
        x, y, step = self._steps[len(inputs)]
        x.copy_(torch.from_numpy(inputs), non_blocking=True)
        y.copy_(torch.from_numpy(targets), non_blocking=True)
        wrong, finite, driven, definite, solved, settled, self.squares = step().tolist()
        self.report(finite=finite, driven=driven, definite=definite, settled=settled)
        if not solved:
            raise PhaseError(f"implicit gradient: not solved in {ITERATIONS} iterations of conjugate gradients")
        return int(wrong), Counter({Status.TRUNCATED.name: (1 + len(self._betas)) * len(inputs)})

    def report(self, *, finite: float, driven: float, definite: float, settled: float = 1.0) -> None:
        """Reset empty columns, and raise any other error after an update."""
        if not driven or not definite:
            self.finish()
            self.network.validate()
            if not driven and not self._renew():
                raise UserError(
                    "a column of a crossbar has no conductance left, so that nothing drives its node; use smaller rates"
                )
            if not definite:
                self.network.require_definite(-self.rule.beta)
        if not finite:
            raise PhaseError(f"{Status.OUT_OF_BOUNDS.name}: {Status.OUT_OF_BOUNDS.value}")
        if not settled:
            raise PhaseError(
                f"a node did not converge in {STEPS} iterations of its law, the limit of a captured graph on a GPU; "
                "use the CPU"
            )

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"],
        sweeps: int,
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Error of the predictions of the truncated free phase, in the precision of training."""
        result = Pass() if so_far is None else so_far
        dtype = self._matrices[0].dtype
        totals = [c + r for c, r in zip(self._columns, [*self._rows, 0], strict=True)]
        none = torch.zeros((), dtype=dtype, device=self.device)
        for begin in range(result.samples, len(images), CHUNK):
            x = torch.from_numpy(np.asarray(images[begin : begin + CHUNK])).to(self.device, dtype)
            zeros = [torch.zeros(len(x), n, dtype=dtype, device=self.device) for n in self.network.layers[1:]]
            free, moving = self._settle(self._source(x * self.network.input_gain), totals, 0.0, none, zeros, sweeps)
            self.report(finite=1, driven=1, definite=1, settled=not moving)
            read = free[-1] @ self._across
            answers = torch.from_numpy(labels[begin : begin + CHUNK]).to(self.device)
            target = (answers[:, None] == torch.arange(read.shape[1], device=self.device)).to(dtype)
            result.wrong += int((read.argmax(1) != answers).sum())
            result.squares += float((read - target).square().mean(1).sum())
            result.samples += len(x)
            result.statuses[Status.TRUNCATED.name] += len(x)
            progress(result.samples, result.error)
        return result

    def _source(self, volts: Tensor) -> Tensor:
        """Currents into the nodes of the first layer at 0 V."""
        source = volts @ self._difference + self._biases[0]
        return source + self.network.bias_row * self._matrices[0][-1] if self.network.bias_row else source

    def arrays(self) -> Mapping[str, Array]:
        """The sums of conductances after the last update, as in TruncatedLearner; copies if they are on a GPU."""
        return {name: sums.cpu().numpy() for name, sums in self._sums().items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """See Learner."""
        for name, sums in self._sums().items():
            sums.copy_(torch.from_numpy(arrays[name]))

    def _renew(self) -> int:
        """Reset empty columns and copy them to the device (after ``finish``); returns their number."""
        renewed = self.network.renew()
        self.renewed += renewed
        for mine, theirs in zip(self._matrices, self.network.conductances, strict=True):
            mine.copy_(torch.from_numpy(theirs))
        for sums, matrix in zip(self._columns, self._matrices, strict=True):
            sums.copy_(matrix.sum(0))
        for sums, matrix in zip(self._rows, self._matrices[1:], strict=True):
            sums.copy_(matrix.sum(1))
        half = self.network.layers[0]
        self._difference.copy_(self._matrices[0][:half] - self._matrices[0][half : 2 * half])
        return renewed

    def _sums(self) -> dict[str, Tensor]:
        named = {f"column_sums_{l}": sums for l, sums in enumerate(self._columns, start=1)}
        return named | {f"row_sums_{l}": sums for l, sums in enumerate(self._rows, start=2)}

    def finish(self) -> None:
        """Copy the parameters back into the network."""
        for mine, theirs in zip([*self._matrices, *self._biases], self.network.arrays().values(), strict=True):
            theirs[...] = mine.cpu().numpy()

    def _captured(self, batch: int) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """The arrays for inputs and targets, and a function that takes one step and returns its report."""
        dtype, network = self._matrices[0].dtype, self.network
        x = torch.zeros(batch, network.layers[0], dtype=dtype, device=self.device)
        y = torch.zeros(batch, network.classes, dtype=dtype, device=self.device)
        beta = torch.tensor(self._betas, dtype=dtype, device=self.device).repeat_interleave(batch)[:, None]
        if self.device.type == "cpu":
            return x, y, lambda: self._step(x, y, beta)
        step = torch.compile(self._step, dynamic=False)
        state = [*self._matrices, *self._biases, *self._columns, *self._rows, self._difference]
        saved = [values.clone() for values in state]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(x, y, beta)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            report = step(x, y, beta)
        for values, before in zip(state, saved, strict=True):
            values.copy_(before)

        def replay() -> Tensor:
            graph.replay()
            return report

        return x, y, replay

    def _step(self, x: Tensor, y: Tensor, beta: Tensor) -> Tensor:
        """Phases, contrast, update; returns (wrong predictions, finite, driven, definite, solved, settled, squared errors)."""
        volts = x * self.network.input_gain
        source = self._source(volts)
        totals = [c + r for c, r in zip(self._columns, [*self._rows, 0], strict=True)]
        bound = self._stiffness_bound()
        zeros = [torch.zeros(len(x), n, dtype=x.dtype, device=x.device) for n in self.network.layers[1:]]
        free, moving = self._settle(source, totals, 0.0, torch.zeros_like(zeros[-1]), zeros)
        readout = free[-1] @ self._across
        errors = (readout - y).square().mean(1)
        within = self.rule.tolerance
        off = readout.argmax(1) != y.argmax(1) if within is None else errors > within**2
        wrong = off.sum().to(x.dtype)
        pull = -cost_slope(self.rule.cost, readout, y) @ self._across.T
        outputs, solved = free[-1], torch.ones((), dtype=x.dtype, device=x.device)
        if self._betas:
            phases = len(self._betas)
            start = [v.repeat(phases, 1) for v in free]
            nudge, target = (beta, y) if self.rule.kind == "conductance" else (0.0, pull)
            current = beta * target.repeat(phases, 1)
            nudged, later = self._settle(source.repeat(phases, 1), totals, nudge, current, start)
            moving = moving | later
            outputs = nudged[-1]
            upper = [v[: len(x)] for v in nudged]
            lower = [v[len(x) :] for v in nudged] if phases == 2 else free
            mean = [(p + m) * 0.5 for p, m in zip(upper, lower, strict=True)]
            slope = [(p - m) / (self._betas[0] * phases) for p, m in zip(upper, lower, strict=True)]
        else:
            mean, (slope, solved) = free, self._respond(totals, free, pull)
        self._descend(volts, mean, slope)
        finite = torch.isfinite(outputs).all().to(x.dtype)
        driven = torch.stack([columns.min() > 0 for columns in self._columns]).all().to(x.dtype)
        least = max([0.0, *(-b for b in self._betas)]) if self.rule.kind == "conductance" else 0.0
        definite = (0.999 * bound > least).to(x.dtype)
        return torch.stack([wrong, finite, driven, definite, solved, (~moving).to(x.dtype), errors.sum()])

    def _settle(
        self,
        source: Tensor,
        totals: Parts,
        nudge: Tensor | float,
        current: Tensor,
        start: Parts,
        sweeps: int | None = None,
    ) -> tuple[Parts, Tensor]:
        """Voltages after the sweeps, and whether the iteration of any node has not converged."""
        voltages, depth = list(start), len(start)
        moving = torch.zeros((), dtype=torch.bool, device=self.device)
        for _ in range(self.sweeps if sweeps is None else sweeps):
            for layer in (*range(0, depth, 2), *range(1, depth, 2)):
                v = source
                if layer > 0:
                    v = (voltages[layer - 1] @ self._matrices[layer]) * self._gains[layer] + self._biases[layer]
                if layer == depth - 1:
                    voltages[layer] = (v + current) / (totals[layer] + nudge)
                else:
                    v = v + (voltages[layer + 1] @ self._matrices[layer + 1].T) / self._gains[layer + 1]
                    sign = self._polarity[layer]
                    if self._lowest is None:
                        roots, still = self._roots(totals[layer], sign * v)
                        moving = moving | still
                    else:
                        roots = torch.clamp(sign * v / totals[layer], min=self._lowest)
                    voltages[layer] = sign * roots
        return voltages, moving

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # the law's functions use NumPy
    def _roots(self, total: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Roots of the node equations of one layer, and whether any has not converged; on a GPU in a fixed number of steps."""
        return node_roots(self.network.diode, total, source, None if self.device.type == "cpu" else STEPS)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _slopes(self, v: Tensor) -> Tensor:
        """di/dv of one layer's law, siemens."""
        return slopes(self.network.diode, v)

    def _respond(self, totals: Parts, free: Parts, pull: Tensor) -> tuple[Parts, Tensor]:
        """dv/dβ of the linearised circuit (see networks.resistive.newton), and whether the solve has converged."""
        roots = np.sqrt(self.network.gammas).tolist()
        weights = [
            (total + self._slopes(sign * v)).rsqrt()
            for sign, v, total in zip(self._polarity, free[:-1], totals[:-1], strict=True)
        ]
        weights.append(totals[-1].rsqrt().expand_as(pull))
        right = [torch.zeros_like(v) for v in free]
        right[-1] = weights[-1] * pull * roots[-1]
        stay, leave = (range(len(free))[k::2] for k in ((len(free) - 1) % 2, len(free) % 2))

        def coupled(layers: range, given: dict[int, Tensor]) -> dict[int, Tensor]:
            result = {}
            for layer in layers:
                parts = []
                if layer - 1 in given:
                    parts.append((weights[layer - 1] * given[layer - 1]) @ self._matrices[layer])
                if layer + 1 in given:
                    parts.append((weights[layer + 1] * given[layer + 1]) @ self._matrices[layer + 1].T)
                result[layer] = weights[layer] * sum(parts)
            return result

        def dot(one: dict[int, Tensor], other: dict[int, Tensor]) -> Tensor:
            return sum((one[layer] * other[layer]).sum(1, keepdim=True) for layer in stay)

        level = right[-1].abs().amax(1, keepdim=True)
        safe = torch.where(level > 0, level, 1.0)
        residual = {layer: right[layer] / safe for layer in stay}
        direction, y = dict(residual), {layer: torch.zeros_like(right[layer]) for layer in stay}
        first = square = dot(residual, residual)
        for _ in range(ITERATIONS):
            back = coupled(stay, coupled(leave, direction)) if leave else dict.fromkeys(stay, 0.0)
            image = {layer: direction[layer] - back[layer] for layer in stay}
            below = dot(direction, image)
            length = torch.where(below > 0, square / torch.where(below > 0, below, 1.0), 0.0)
            y = {layer: y[layer] + length * direction[layer] for layer in stay}
            residual = {layer: residual[layer] - length * image[layer] for layer in stay}
            before, square = square, dot(residual, residual)
            turn = torch.where(before > 0, square / torch.where(before > 0, before, 1.0), 0.0)
            direction = {layer: residual[layer] + turn * direction[layer] for layer in stay}
        solved = (square <= SETTLED[self.network.conductances[0].dtype] ** 2 * first).all().to(pull.dtype)
        y = y | (coupled(leave, y) if leave else {})
        slopes = [weights[layer] * y[layer] * safe / roots[layer] for layer in range(len(free))]
        return slopes, solved

    def _descend(self, volts: Tensor, mean: Parts, slope: Parts) -> None:
        low, high = self.network.conductance_window
        half = self.network.layers[0]
        drive, drive_slope = volts, volts
        for layer, (matrix, v, dv) in enumerate(zip(self._matrices, mean, slope, strict=True)):
            step, bias_step = self._rates[0, layer] / len(volts), self._rates[1, layer] / len(volts)
            own = step * (v * dv).sum(0)
            if layer == 0:
                product = volts.T @ (step * dv)
                upper = torch.clamp(matrix[:half] + product - own, low, high)
                lower = torch.clamp(matrix[half : 2 * half] - product - own, low, high)
                self._difference.copy_(upper - lower)
                matrix[:half].copy_(upper)
                matrix[half : 2 * half].copy_(lower)
                if row := self.network.bias_row:
                    matrix[-1].copy_(torch.clamp(matrix[-1] + row * step * dv.sum(0) - own, low, high))
                self._columns[0].copy_(matrix.sum(0))
            else:
                product = (step * torch.cat([drive, drive_slope])).T @ torch.cat([dv, v])
                rank_one = step * (drive * drive_slope).sum(0)[:, None]
                updated = torch.clamp(matrix + product - rank_one - own, low, high)
                self._columns[layer].copy_(updated.sum(0))
                self._rows[layer - 1].copy_(updated.sum(1))
                matrix.copy_(updated)
            self._biases[layer].add_(bias_step * dv.sum(0))
            if layer < len(mean) - 1:
                gain = self._gains[layer + 1]
                drive, drive_slope = gain * v, gain * dv

    def _stiffness_bound(self) -> Tensor:
        """See ResistiveNetwork.stiffness_bound."""
        grounded = self._columns[0]
        for layer, matrix in enumerate(self._matrices[1:], start=2):
            share = grounded / (grounded + self._rows[layer - 2])
            grounded = (share if layer == 2 else share.min().expand_as(share)) @ matrix
        return grounded.min()
