"""A connection with arbitrary weights whose columns are pooled in groups, as in a patch of a convolutional network."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.incoming import whole_number
from eqprop_analog.networks.hopfield.connections import Choice, Connection, first_largest, rounding

Array = np.ndarray


@dataclass(frozen=True)
class Maxout(Connection):
    """Φ = Σ_j s'_j · max_k (s W)_jk: every node of the next layer receives the largest of its ``window`` weighted sums.

    W is (before, after x window). The winner is the first sum that equals the largest one to within rounding, as in Convolution,
    with Σ|W| of the window's largest column. Source: Goodfellow et al. 2013, arXiv 1302.4389.
    """

    inputs: int
    outputs: int
    window: int

    def __post_init__(self) -> None:
        """Raise UserError unless all sizes are positive integers."""
        for name in ("inputs", "outputs", "window"):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"maxout: {name}", 1))

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of nodes before and after."""
        return self.inputs, self.outputs

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(before, after x window)."""
        return self.inputs, self.outputs * self.window

    @property
    def fans(self) -> tuple[int, int]:
        """Number of nodes before and of nodes after."""
        return self.sizes

    @property
    def bias_size(self) -> int:
        """Number of biases: one for each node after."""
        return self.outputs

    def forward(
        self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"], choice: Choice = None
    ) -> tuple[Float[Array, "batch after"], Choice]:
        """The winner's sum in every window, and the index of the winner."""
        sums = (before @ weights).reshape(len(before), self.outputs, self.window)
        if choice is None:
            choice = first_largest(sums, self.ties(weights, before).astype(sums.dtype))
        return np.take_along_axis(sums, choice[..., None], axis=-1)[..., 0], choice

    def backward(
        self, weights: Float[Array, "..."], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "batch before"]:
        """The values that the states s' return through the winners, volts."""
        return self._spread(after, choice) @ weights.T

    def winners(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Choice:
        """Index of the winner in every window."""
        return self.forward(weights, before)[1]

    def gradient(
        self, before: Float[Array, "batch nodes"], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "..."]:
        """Products of s with s' at the winners."""
        return before.T @ self._spread(after, choice)

    def _spread(self, after: Float[Array, "batch nodes"], choice: Choice) -> Float[Array, "batch sites"]:
        """The values s' at the winners and 0 elsewhere."""
        sites = np.zeros((*after.shape, self.window), after.dtype)
        np.put_along_axis(sites, np.asarray(choice)[..., None], after[..., None], axis=-1)
        return sites.reshape(len(after), -1)

    def spread_bias(self, bias: Float[Array, " biases"]) -> Float[Array, " nodes"]:
        """``bias`` unchanged, because every node has its own."""
        return bias

    def gather_bias(self, nodes: Float[Array, " nodes"]) -> Float[Array, " biases"]:
        """``nodes`` unchanged, because every node has its own bias."""
        return nodes

    def matrix(
        self, weights: Float[Array, "..."], sites: Int[Array, " some"] | None = None
    ) -> Float[Array, "before sites"]:
        """The weights as the matrix from nodes to sites."""
        return weights if sites is None else weights[:, sites]

    @property
    def windows(self) -> Int[Array, "nodes window"]:
        """The columns that belong to each node."""
        return np.arange(self.outputs * self.window).reshape(-1, self.window)

    def ties(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """See the class."""
        largest = np.abs(weights).sum(axis=0).reshape(-1, self.window).max(axis=1)
        return largest * rounding(before, weights.dtype)
