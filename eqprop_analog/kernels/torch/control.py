"""The control of a Hopfield network: a feed-forward network of the same parameters, trained by backpropagation in bfloat16.

It has the same shapes, initial values, data, augmentation, batches, update and schedule. Each layer is ρ(MaxPool(W ∗ s)
+ b), the head reads the last layer, and there is no feedback. It is the baseline for equilibrium propagation.
"""

from __future__ import annotations  # the module can then be imported without PyTorch

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from eqprop_analog.devices.buffer import HardSigmoid
from eqprop_analog.kernels.torch.contrast import Gradients
from eqprop_analog.kernels.torch.network import TorchNetwork
from eqprop_analog.kernels.torch.training import Evaluator, HopfieldTrainer

Activation = Literal["buffer", "relu"]


def forward(network: TorchNetwork, values: dict[str, Tensor], x: Tensor, activation: Activation) -> Tensor:
    """Return the read-outs of a batch; ``values`` are the parameters, in the precision of ``x``."""
    buffer = network.buffer
    for layer, coupling in enumerate(network.couplings, start=1):
        raw = coupling.raw(coupling.prepared(values[f"weight_{layer}"]), x)
        if coupling.pool > 1:
            raw = functional.max_pool2d(raw, coupling.pool)
        u = raw + values[f"bias_{layer}"].view(coupling.bias_shape())
        if layer == network.depth and not network.has_head:
            return u
        if activation == "relu":
            x = functional.relu(u)
        elif isinstance(buffer, HardSigmoid):
            x = (u * buffer.gain).clamp(0, 1)
        else:
            x = torch.sigmoid((u - 0.5) * (4 * buffer.gain))
    return x.flatten(1) @ values["head_weight"] + values["head_bias"]


@dataclass
class ControlTrainer(HopfieldTrainer):
    """See the module; it uses the ``settings`` that do not concern phases."""

    activation: Activation = "buffer"

    def step(self, size: int) -> None:
        """Update from the next ``size`` images."""
        epoch = self.epoch
        positions = epoch.at + torch.arange(size, device=self.network.device)
        which = epoch.order[positions]
        self.update(self.slopes(self.augmented(which, positions), self.labels[which]))
        epoch.at += size

    def slopes(self, x: Tensor, labels: Tensor) -> Gradients:
        """Return dC/dθ by backpropagation."""
        kind = torch.bfloat16 if self.settings.precision == "half" else x.dtype
        leaves = {name: value.detach().requires_grad_() for name, value in self.network.values.items()}
        with torch.enable_grad():
            small = {name: value.to(kind) for name, value in leaves.items()}
            read = forward(self.network, small, x.to(kind), self.activation).to(self.network.bias(1).dtype)
            if self.settings.cost == "cross-entropy":
                loss = functional.cross_entropy(read, labels)
            else:
                target = (labels[:, None] == torch.arange(self.network.classes, device=x.device)).to(read.dtype)
                loss = 0.5 * (read - target).square().sum(1).mean()
            found = torch.autograd.grad(loss, list(leaves.values()))
        self.count(read.detach(), labels)
        return dict(zip(leaves, found, strict=True))


@dataclass
class ControlEvaluator(Evaluator):
    """Evaluates the error of the feed-forward network."""

    activation: Activation = "buffer"

    def readout(self, x: Tensor, which: Tensor) -> Tensor:  # noqa: ARG002 - nothing is kept of them
        """Return the read-outs of a batch."""
        kind = torch.bfloat16 if self.settings.precision == "half" else x.dtype
        small = {name: value.to(kind) for name, value in self.network.values.items()}
        return forward(self.network, small, x.to(kind), self.activation)
