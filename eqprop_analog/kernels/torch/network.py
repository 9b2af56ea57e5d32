"""A Hopfield network's parameters on a device, and the read-out and cost of networks.hopfield.network and nudging on tensors."""

from __future__ import annotations  # the module can then be imported without PyTorch

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eqprop_analog.core.nudge import Cost
from eqprop_analog.devices.buffer import Buffer, HardSigmoid
from eqprop_analog.kernels.torch.couplings import LAST, Coupling, coupling_of
from eqprop_analog.networks.hopfield.connections import Convolution
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray


class TorchNetwork:
    """Parameters as tensors, named and shaped as in HopfieldNetwork.arrays; training changes them in place."""

    def __init__(self, network: HopfieldNetwork, device: str | torch.device = "cpu") -> None:
        self.buffer: Buffer = network.buffer
        self.device = torch.device(device)
        self.values = {name: self._stored(a) for name, a in network.arrays().items()}
        first = network.connections[0]
        shape: tuple[int, ...] = first.shape if isinstance(first, Convolution) else (network.layers[0],)
        self.input_shape = shape
        self.couplings: list[Coupling] = []
        for connection in network.connections:
            self.couplings.append(coupling_of(connection, shape))
            shape = self.couplings[-1].shape_after
        self.shapes = tuple(each.shape_after for each in self.couplings)
        """Shapes of a sample of layers 1..L."""
        self.untied = bool(network.returning)
        self.feedback = network.feedback
        self.classes = network.classes

    def _stored(self, array: Array) -> Tensor:
        """Return a copy on the device; kernels have their channels last, as for convolutions."""
        tensor = torch.from_numpy(array.copy()).to(self.device)
        return tensor.contiguous(memory_format=LAST) if tensor.ndim == 4 else tensor

    @property
    def depth(self) -> int:
        """L."""
        return len(self.couplings)

    @property
    def has_head(self) -> bool:
        """Whether the read-out of classes is external."""
        return "head_weight" in self.values

    def weight(self, layer: int) -> Tensor:
        """Return the weights of connection ``layer`` (1..L)."""
        return self.values[f"weight_{layer}"]

    def back(self, layer: int) -> Tensor:
        """Return the feedback weights of connection ``layer`` (2..L)."""
        return self.values[f"returning_{layer}" if self.untied else f"weight_{layer}"]

    def bias(self, layer: int) -> Tensor:
        """Return the biases in the shape of layer ``layer``."""
        return self.values[f"bias_{layer}"].view(self.couplings[layer - 1].bias_shape())

    def readout(self, outputs: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """See HopfieldNetwork.readout; outputs may be maps."""
        flat = outputs.flatten(1)
        if not self.has_head:
            return flat
        weight = self.values["head_weight"]
        return flat.to(weight.dtype) @ weight + self.values["head_bias"]

    def along_readout(self, pull: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch nodes"]:
        """See HopfieldNetwork.along_readout."""
        return pull @ self.values["head_weight"].T if self.has_head else pull

    def write_back(self, network: HopfieldNetwork) -> None:
        """Copy the parameters to ``network``, in its precision."""
        for name, array in network.arrays().items():
            array[...] = self.values[name].cpu().numpy()

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Load parameters by name."""
        for name, tensor in self.values.items():
            tensor.copy_(torch.from_numpy(np.asarray(arrays[name])))


class Products:
    """The products of all connections with the present parameters, rounded to ``dtype``."""

    def __init__(self, network: TorchNetwork, dtype: torch.dtype) -> None:
        self._couplings, layers = network.couplings, range(1, network.depth + 1)
        self.dtype = dtype
        self.ahead = {layer: self._prepared(layer, network.weight(layer)) for layer in layers}
        """Weights by connection (1..L)."""
        self.behind = self.ahead
        """Feedback weights by connection (2..L)."""
        if network.untied or network.feedback != 1:
            back = {layer: network.back(layer) * network.feedback for layer in layers[1:]}
            self.behind = {layer: self._prepared(layer, weights) for layer, weights in back.items()}

    def _prepared(self, layer: int, weights: Tensor) -> Tensor:
        return self._couplings[layer - 1].prepared(weights.to(self.dtype))

    def raw(self, layer: int, before: Tensor, *, back: bool = False) -> Tensor:
        """Return W ∗ s of connection ``layer``, with the feedback weights on request."""
        return self._couplings[layer - 1].raw((self.behind if back else self.ahead)[layer], before)

    def returned(self, layer: int, spread: Tensor) -> Tensor:
        """Return the force of connection ``layer`` on the previous layer."""
        return self._couplings[layer - 1].returned(self.behind[layer], spread)


def cost_slope(name: Cost, readout: Tensor, target: Tensor) -> Tensor:
    """See nudging.cost_slope."""
    if name == "squared-error":
        return readout - target
    return torch.softmax(readout, 1) * target.sum(1, keepdim=True) - target


def output(buffer: Buffer, u: Tensor) -> Tensor:
    """ρ(u), see devices.buffer."""
    if isinstance(buffer, HardSigmoid):
        return (u * buffer.gain).clamp(0, 1)
    return torch.tanh((u - 0.5) * (2 * buffer.gain)) * 0.5 + 0.5


def inverse(buffer: Buffer, s: Tensor) -> Tensor:
    """ρ⁻¹(s); at 0 and 1 an end of the span."""
    if isinstance(buffer, HardSigmoid):
        return s / buffer.gain
    return 0.5 + torch.logit(s) / (4 * buffer.gain)


def rise(buffer: Buffer, s: Tensor) -> Tensor | float:
    """ρ′ within the span, where the output is s."""
    if isinstance(buffer, HardSigmoid):
        return buffer.gain
    return 4 * buffer.gain * s * (1 - s)
