"""How layers move towards ρ(u), and their order: the steps of the solvers of Hopfield networks, on tensors."""

from __future__ import annotations  # the module can then be imported without PyTorch

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eqprop_analog.devices.buffer import Buffer
from eqprop_analog.kernels.torch.network import inverse, output, rise

Dynamics = Literal["discrete-time", "descent", "gradient-flow", "leaky-integrator", "energy-based"]
Sweep = Literal["alternating", "forward", "backward"]
Order = tuple[tuple[int, ...], ...]
"""Groups of layers (1..L); the layers of a group move simultaneously, from the same states."""


@dataclass(frozen=True)
class Motion:
    """One step of ``dynamics``; see the solver of that name for the equation."""

    dynamics: Dynamics
    step: float = 1.0
    """Step ε; for descent the over-relaxation ω, in (0, 2)."""
    sweep: Sweep = "alternating"
    """Order of descent: odd layers and then even ones, or one by one from the first or from the last layer."""

    def order(self, depth: int) -> Order:
        """The groups of layers that move in turn in a step."""
        layers = tuple(range(1, depth + 1))
        if self.dynamics != "descent":
            return (layers,)
        if self.sweep == "alternating":
            return tuple(group for group in (layers[::2], layers[1::2]) if group)
        return tuple((layer,) for layer in (layers if self.sweep == "forward" else layers[::-1]))

    def moves_voltages(self, buffer: Buffer) -> bool:
        """Whether voltages before the buffers evolve, which states do not determine."""
        if self.dynamics in ("leaky-integrator", "energy-based"):
            return True
        return self.dynamics == "gradient-flow" and buffer.span != (0, 1)

    def moved(
        self, buffer: Buffer, u: Tensor, s: Tensor, voltage: Tensor | None, damping: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the states and, if they evolve, the voltages after a step under the force u; ``damping`` is λ of descent."""
        if self.dynamics == "discrete-time":
            target = output(buffer, u)
            return (target if self.step == 1 else s + self.step * (target - s)), None
        if self.dynamics == "descent":
            return output(buffer, self._descended(buffer, u, s, damping)), None
        if self.dynamics == "energy-based" and voltage is not None:
            v = (voltage + self.step * (u - voltage)).clamp(0, 1)
            return output(buffer, v), v
        v = s if voltage is None else voltage
        if self.dynamics == "leaky-integrator":
            v = v + self.step * (u - v)
        else:
            v = (v + self.step * rise(buffer, s) * (u - v)).clamp(*buffer.span)
        return (v, None) if voltage is None else (output(buffer, v), v)

    def _descended(self, buffer: Buffer, u: Tensor, s: Tensor, damping: Tensor | None) -> Tensor:
        if damping is None and self.step == 1:
            return u
        v = inverse(buffer, s)
        v = torch.where(v.isfinite(), v, u)
        part = self.step if damping is None else self.step / (1 + damping)
        return v + part * (u - v)
