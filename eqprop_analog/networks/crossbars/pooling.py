"""The crossbar of average pooling: fixed resistors from the drives of a window to one node."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number, whole_number
from eqprop_analog.networks.crossbars.convolution import image_shape
from eqprop_analog.networks.crossbars.crossbar import Columns, Crossbar, Ports, Rows

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class AveragePooling(Crossbar):
    """I_j = ``siemens`` Σ_i (a_i - v_j) over the size x size drives of window j; the conductances are fixed.

    Rows are an image (channels, height, width); incomplete windows at the edges are omitted. The result is not an ideal mean,
    because the next crossbar loads the window, and the window loads the layer below.
    """

    name: ClassVar[str] = "average-pooling"

    conductance: Float[Array, "0"]
    """An empty array, because nothing learns; its dtype is that of the network."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the rows."""
    size: int
    """Number of drives of a window in each direction."""
    siemens: float
    """Conductance of each resistor, siemens."""

    def __post_init__(self) -> None:
        """Raise UserError unless a window fits into the image and the conductance is valid."""
        object.__setattr__(self, "shape", image_shape(self.shape, "average pooling"))
        object.__setattr__(self, "size", whole_number(self.size, "average pooling: size", 1))
        object.__setattr__(self, "siemens", real_number(self.siemens, "average pooling: siemens", "siemens"))
        if min(self.shape[1:]) < self.size:
            raise UserError(f"average pooling: a window of {self.size} x {self.size} does not fit into {self.shape}")
        if not 0 < self.siemens <= 1:
            raise UserError(f"average pooling: siemens: expected above 0 S and up to 1 S, got {self.siemens:g} S")

    @property
    def places(self) -> tuple[int, int]:
        """Numbers of windows of a channel (down, across)."""
        return self.shape[1] // self.size, self.shape[2] // self.size

    @property
    def features(self) -> int:
        """Number of channels of the columns."""
        return self.shape[0]

    @property
    def rows(self) -> int:
        """See Crossbar."""
        return prod(self.shape)

    @property
    def columns(self) -> int:
        """See Crossbar."""
        return self.shape[0] * prod(self.places)

    @property
    def cells(self) -> int:
        """See Crossbar."""
        return self.columns * self.size**2

    @property
    def resistors(self) -> int:
        """See Crossbar."""
        return self.cells

    @property
    def _g(self) -> np.floating:
        return self.conductance.dtype.type(self.siemens)

    def check(self, name: str) -> None:
        """See Crossbar."""
        if self.conductance.size:
            raise UserError(f"{name}: average pooling has no conductance that learns, got {self.conductance.size}")

    def forward(self, drive: Rows) -> Columns:
        """Sums over windows."""
        (channels, _, _), (down, across), size = self.shape, self.places, self.size
        images = drive.reshape(-1, *self.shape)[:, :, : down * size, : across * size]
        windows = images.reshape(-1, channels, down, size, across, size)
        return np.asarray(self._g * windows.sum(axis=(3, 5))).reshape(len(drive), -1)

    def backward(self, volts: Columns) -> Rows:
        """The value of each window at all of its drives."""
        (channels, _, _), (down, across), size = self.shape, self.places, self.size
        images = np.zeros((len(volts), *self.shape), volts.dtype)
        values = (self._g * volts).reshape(-1, channels, down, across)
        images[:, :, : down * size, : across * size] = values.repeat(size, axis=2).repeat(size, axis=3)
        return images.reshape(len(volts), -1)

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "0"]:  # noqa: ARG002 - nothing learns
        """An empty array."""
        return np.zeros_like(self.conductance)

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """See Crossbar."""
        window = np.arange(1, self.columns + 1, dtype=float)[None] / self.siemens
        of = np.rint(self.of(np.zeros(0)).backward(window)[0]).astype(int) - 1
        row = np.flatnonzero(of >= 0)
        return row, of[row], np.full(len(row), self._g)

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:  # noqa: ARG002 - no cell learns
        """The position of the first resistor."""
        return 0, 0

    def renew(self, window: tuple[float, float]) -> int:  # noqa: ARG002
        """Return 0, because nothing learns."""
        return 0
