"""The crossbar of a convolution: one kernel that is built at every position."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import numbers, whole_number
from eqprop_analog.networks.crossbars.crossbar import Columns, Crossbar, Ports, Rows
from eqprop_analog.networks.resistive.initial import renew

Array = np.ndarray
Patches = Float[Array, "places patch"]


def image_shape(shape: Any, name: str) -> tuple[int, int, int]:
    """(channels, height, width) in plain numbers. Raises UserError."""
    if len(numbers(shape, f"{name}: shape")) != 3:
        raise UserError(f"{name}: shape: expected (channels, height, width), got {shape!r:.80}")
    channels, height, width = (whole_number(size, f"{name}: a size in shape", 1) for size in shape)
    return channels, height, width


@dataclass(frozen=True, eq=False)
class Convolution(Crossbar):
    """I_jc = Σ_p G[p, c] (a_jp - v_jc): drive p of the patch at position j and channel c of the columns, with shared G.

    A patch is kernel x kernel drives of every channel, in the order (channel, down, across); the distance of positions is
    ``stride`` down and across. Rows are an image (channels, height, width), followed by the bias row, if any, which belongs to
    every patch; columns are (channels, positions down, positions across). All copies of a conductance receive the same update,
    the sum over their contributions. With ``padding``, patches extend beyond the image, where there are no resistors.
    """

    name: ClassVar[str] = "convolution"

    conductance: Float[Array, "patch channels"]
    """G, siemens; the last row belongs to the bias row, if there is one."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the rows; in crossbar 1, +x of all channels of the inputs and then -x."""
    kernel: int
    """Number of drives of a patch in each direction."""
    stride: int = 1
    padding: int = 0
    bias_row: bool = False

    def __post_init__(self) -> None:
        """Raise UserError unless the kernel fits into the image."""
        object.__setattr__(self, "shape", image_shape(self.shape, "convolution"))
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0)):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"convolution: {name}", least))
        object.__setattr__(self, "bias_row", bool(self.bias_row))
        if min(self.shape[1:]) + 2 * self.padding < self.kernel:
            raise UserError(
                f"convolution: a kernel of {self.kernel} x {self.kernel} does not fit into {self.shape[1]} x {self.shape[2]} "
                f"nodes with a padding of {self.padding}"
            )
        if self.padding >= self.kernel:
            raise UserError(
                f"convolution: padding: expected less than the kernel's {self.kernel}, got {self.padding}, so that every place "
                "has a resistor"
            )

    @property
    def places(self) -> tuple[int, int]:
        """Numbers of patches (down, across)."""
        down, across = (1 + (size + 2 * self.padding - self.kernel) // self.stride for size in self.shape[1:])
        return down, across

    @property
    def features(self) -> int:
        """Number of channels of the columns."""
        return int(self.conductance.shape[1])

    @property
    def patch(self) -> int:
        """Number of drives of a patch, without the bias row."""
        return self.shape[0] * self.kernel**2

    @property
    def rows(self) -> int:
        """See Crossbar."""
        return prod(self.shape) + self.bias_row

    @property
    def columns(self) -> int:
        """See Crossbar."""
        return self.features * prod(self.places)

    @property
    def cells(self) -> int:
        """See Crossbar."""
        return self.features * (int((self._drives >= 0).sum()) + self.bias_row * prod(self.places))

    @property
    def resistors(self) -> int:
        """See Crossbar."""
        conduct = np.count_nonzero(self.conductance, axis=1)
        copies = np.count_nonzero(self._drives >= 0, axis=0)
        biased = int(conduct[-1]) * prod(self.places) if self.bias_row else 0
        return int(copies @ conduct[: self.patch]) + biased

    def check(self, name: str) -> None:
        """See Crossbar."""
        found = self.conductance.shape
        if self.conductance.ndim != 2 or found[0] != self.patch + self.bias_row or not found[1]:
            raise UserError(
                f"{name}: expected {self.patch + self.bias_row} conductances of a patch for each channel, got shape {found}"
            )

    @cached_property
    def _drives(self) -> Int[Array, "places patch"]:
        """Row of every drive of every patch; -1 outside the image."""
        channels, height, width = self.shape
        rows = np.arange(prod(self.shape)).reshape(1, channels, height, width)
        return self._windows(rows, -1)

    def _windows(self, images: Array, beyond: float = 0) -> Array:
        """All patches of a batch of images, one for each row."""
        edge = (self.padding, self.padding)
        if self.padding:
            images = np.pad(images, ((0, 0), (0, 0), edge, edge), constant_values=beyond)
        windows = sliding_window_view(images, (self.kernel, self.kernel), axis=(2, 3))
        windows = windows[:, :, :: self.stride, :: self.stride]
        width = images.shape[1] * self.kernel**2
        return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, width)

    def _patches(self, drive: Rows) -> Patches:
        return self._windows(drive[:, : prod(self.shape)].reshape(-1, *self.shape))

    def _by_place(self, volts: Columns) -> Float[Array, "places channels"]:
        """Values of every sample with one row for each position."""
        return volts.reshape(len(volts), self.features, -1).transpose(0, 2, 1).reshape(-1, self.features)

    def _by_channel(self, values: Float[Array, "places channels"], batch: int) -> Columns:
        return np.ascontiguousarray(values.reshape(batch, -1, self.features).transpose(0, 2, 1)).reshape(batch, -1)

    def forward(self, drive: Rows) -> Columns:
        """One matrix product over all positions."""
        current = self._by_channel(self._patches(drive) @ self.conductance[: self.patch], len(drive))
        if self.bias_row:
            current += self._biased(drive[:, -1:])
        return current

    def _biased(self, volts: Float[Array, "batch 1"]) -> Columns:
        """Currents from the bias row, amperes."""
        return volts * np.repeat(self.conductance[-1], prod(self.places))

    def mirrored(self, inputs: Float[Array, "batch inputs"]) -> Columns:
        """See Crossbar; x (G⁺ - G⁻) needs half of the operations of ``forward``."""
        half = self.patch // 2
        images = self._windows(inputs.reshape(len(inputs), self.shape[0] // 2, *self.shape[1:]))
        return self._by_channel(images @ (self.conductance[:half] - self.conductance[half : 2 * half]), len(inputs))

    def backward(self, volts: Columns) -> Rows:
        """Currents of the patches, summed where patches overlap."""
        batch, (channels, height, width) = len(volts), self.shape
        down, across = self.places
        values = self._by_place(volts)
        patches = (values @ self.conductance[: self.patch].T).reshape(
            batch, down, across, channels, self.kernel, self.kernel
        )
        framed = np.zeros((batch, channels, height + 2 * self.padding, width + 2 * self.padding), patches.dtype)
        for y in range(self.kernel):
            for x in range(self.kernel):
                reached = framed[:, :, y :: self.stride, x :: self.stride][:, :, :down, :across]
                reached += patches[..., y, x].transpose(0, 3, 1, 2)
        inner = framed[:, :, self.padding : self.padding + height, self.padding : self.padding + width]
        flat = np.ascontiguousarray(inner).reshape(batch, -1)
        if not self.bias_row:
            return flat
        into_bias = (values @ self.conductance[-1]).reshape(batch, -1).sum(axis=1, keepdims=True)
        return np.concatenate([flat, into_bias], axis=1)

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "patch channels"]:
        """See Crossbar; the product is expanded as for a dense crossbar over all positions."""
        (drive, volts), (drive_slope, volts_slope) = mean, slope
        x, dx = self._patches(drive), self._patches(drive_slope)
        v, dv = self._by_place(volts), self._by_place(volts_slope)
        product = x.T @ dv + dx.T @ v
        found = (x * dx).sum(axis=0)[:, None] + self._own(v * dv) - product
        if not self.bias_row:
            return np.asarray(found)
        u, du = (np.repeat(each[:, -1:], prod(self.places), axis=0) for each in (drive, drive_slope))
        return np.concatenate([found, ((u - v) * (du - dv)).sum(axis=0)[None]])

    def _own(self, squares: Float[Array, "places channels"]) -> Float[Array, "#patch channels"]:
        """Sum over the positions at which the drive of the patch exists."""
        if not self.padding:
            return np.asarray(squares.sum(axis=0))
        at_place = squares.reshape(-1, prod(self.places), self.features).sum(axis=0)
        return np.asarray((self._drives >= 0).T.astype(squares.dtype) @ at_place)

    def mirrored_gradient(
        self, inputs: Float[Array, "batch inputs"], bias_row: float, volts: Columns, slope: Columns
    ) -> Float[Array, "patch channels"]:
        """See Crossbar; the products of both halves of the patch differ only in sign."""
        v, dv = self._by_place(volts), self._by_place(slope)
        own = self._own(v * dv)
        product = self._windows(inputs.reshape(len(inputs), self.shape[0] // 2, *self.shape[1:])).T @ dv
        half = len(product)
        plus, minus = (own, own) if own.ndim == 1 else (own[:half], own[half:])
        rows = [plus - product, minus + product]
        if self.bias_row:
            rows.append(((v - v.dtype.type(bias_row)) * dv).sum(axis=0)[None])
        return np.concatenate(rows)

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """See Crossbar."""
        drives = self._drives
        if self.bias_row:
            drives = np.concatenate([drives, np.full((len(drives), 1), self.rows - 1)], axis=1)
        places = len(drives)
        place, cell, channel = np.nonzero((drives >= 0)[:, :, None] & (self.conductance > 0))
        row, column = drives[place, cell], channel * places + place
        order = np.lexsort((column, row))
        return row[order], column[order], self.conductance[cell[order], channel[order]]

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """See Crossbar."""
        drive, channel = cell
        if drive == self.patch:
            return self.rows - 1, channel * prod(self.places)
        first = int((self._drives[:, drive] >= 0).argmax())
        return int(self._drives[first, drive]), channel * prod(self.places) + first

    def renew(self, window: tuple[float, float]) -> int:
        """Sums of the columns of each group of channels."""
        return renew(self.conductance, window)
