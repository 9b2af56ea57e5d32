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
    """G = ``siemens`` from each of the size x size drives of a window to the node of that window; nothing of it learns.

    Rows are an image (channels, height, width); rows and columns of the image that fill no window are left out. It is no ideal
    mean: what the next crossbar draws from the node loads the window, and the window the layer below.
    """

    name: ClassVar[str] = "average-pooling"

    conductance: Float[Array, "0"]
    """Nothing that learns; its dtype is that of the network."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the rows."""
    size: int
    """Drives of a window down, and across."""
    siemens: float
    """Of each resistor."""

    def __post_init__(self) -> None:
        """Raise UserError for settings that leave no window, or no resistor."""
        object.__setattr__(self, "shape", image_shape(self.shape, "average pooling"))
        object.__setattr__(self, "size", whole_number(self.size, "average pooling: size", 1))
        object.__setattr__(self, "siemens", real_number(self.siemens, "average pooling: siemens", "siemens"))
        if min(self.shape[1:]) < self.size:
            raise UserError(f"average pooling: a window of {self.size} x {self.size} does not fit into {self.shape}")
        if not 0 < self.siemens <= 1:
            raise UserError(f"average pooling: siemens: expected above 0 S and up to 1 S, got {self.siemens:g} S")

    @property
    def places(self) -> tuple[int, int]:
        """(down, across): how many windows a channel has."""
        return self.shape[1] // self.size, self.shape[2] // self.size

    @property
    def features(self) -> int:
        """Channels of the columns."""
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
        """Every drive of a window the same."""
        (channels, _, _), (down, across), size = self.shape, self.places, self.size
        images = np.zeros((len(volts), *self.shape), volts.dtype)
        values = (self._g * volts).reshape(-1, channels, down, across)
        images[:, :, : down * size, : across * size] = values.repeat(size, axis=2).repeat(size, axis=3)
        return images.reshape(len(volts), -1)

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "0"]:  # noqa: ARG002 - there is nothing to learn
        """Empty."""
        return np.zeros_like(self.conductance)

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """See Crossbar."""
        window = np.arange(1, self.columns + 1, dtype=float)[None] / self.siemens
        of = np.rint(self.of(np.zeros(0)).backward(window)[0]).astype(int) - 1
        row = np.flatnonzero(of >= 0)
        return row, of[row], np.full(len(row), self._g)

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:  # noqa: ARG002 - it has no cell that learns
        """The first resistor."""
        return 0, 0

    def renew(self, window: tuple[float, float]) -> int:  # noqa: ARG002
        """Nothing learns."""
        return 0
