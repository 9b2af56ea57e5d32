"""The devices of one chip: those of every crossbar, drawn once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import DTypeLike

from eqprop_analog.devices.conductance.technology import Technology
from eqprop_analog.devices.conductance.window import Values, confine
from eqprop_analog.errors import UserError

Array = np.ndarray


class _Stream(IntEnum):
    """Random streams, one for each imperfection, so that adding or removing one does not change the others."""

    FACTOR = 0
    LOWEST = 1
    HIGHEST = 2
    STUCK = 3
    DRIFT = 4
    WRITE = 5


@dataclass(frozen=True, eq=False)
class Devices:
    """The devices of one crossbar. A property that is equal for all of them is a zero-dimensional array."""

    technology: Technology
    shape: tuple[int, ...]
    key: tuple[int, int, int]
    """(seed, chip number, crossbar), the seed of all random numbers."""
    dtype: np.dtype
    factor: Values
    """Factor f of each device; see Spread."""
    lowest: Values
    """Each device's own G_min, siemens."""
    highest: Values
    """Each device's own G_max, siemens."""
    stuck_on: Bool[Array, "..."]
    stuck_off: Bool[Array, "..."]

    @classmethod
    def drawn(
        cls, technology: Technology, shape: Sequence[int], key: tuple[int, int, int], dtype: DTypeLike = np.float64
    ) -> "Devices":
        """Draw the crossbar ``key`` of a technology; it is the same in every process and every dtype."""
        size = tuple(int(length) for length in shape)

        def normal(stream: _Stream, spread: float) -> Array:
            return _random(key, stream).standard_normal(size) if spread else np.zeros(())

        spread, stuck, window = technology.spread, technology.stuck, technology.window
        factor = spread.factors(normal(_Stream.FACTOR, spread.factor))
        lowest, highest = spread.windows(
            window, normal(_Stream.LOWEST, spread.window), normal(_Stream.HIGHEST, spread.window)
        )
        uniform = _random(key, _Stream.STUCK).random(size) if stuck.on or stuck.off else np.full((), 0.5)
        on, off = (np.asarray(cells) for cells in stuck.cells(uniform))
        factor, lowest, highest = (np.asarray(values, dtype) for values in (factor, lowest, highest))
        return cls(technology, size, key, np.dtype(dtype), factor, lowest, highest, on, off)

    def programmed(self, wanted: Float[Array, "rows columns"], write: int = 0) -> Float[Array, "rows columns"]:
        """Return the conductances (S) after write number ``write`` of the conductances ``wanted`` (S).

        They are within each device's own window. Raises UserError for another shape, NaN or infinity.
        """
        aim = self._checked(wanted)
        delivered = self.technology.window.nearest(aim)
        if self.factor.ndim:
            delivered *= self.factor
        if self.technology.noise is not None:
            normal = _random(self.key, _Stream.WRITE, write).standard_normal(self.shape).astype(self.dtype)
            delivered = self.technology.noise.written(delivered, normal).astype(self.dtype, copy=False)
        return self.within(delivered)

    def update(
        self,
        conductance: Float[Array, "rows columns"],
        change: Float[Array, "rows columns"],
        random: np.random.Generator,
    ) -> Float[Array, "rows columns"]:
        """``conductance`` (S) after the pulses for a wanted ``change`` (S), in place; ``change`` is overwritten.

        ``random`` draws the stochastic rounding of pulses and the cycle-to-cycle noise.
        """
        law = self.technology.pulses
        pulses = law.count(change, self.technology.window.span, random)
        if self.factor.ndim:
            pulses *= self.factor
        return self._stick(law.apply(conductance, pulses, self.lowest, self.highest, random))

    def within(self, conductance: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
        """Limit ``conductance`` (S) to what the devices can have, in place: their windows and stuck cells."""
        return self._stick(confine(conductance, self.lowest, self.highest))

    def after(self, seconds: float, conductance: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
        """Return the conductances (S) ``seconds`` after programming to ``conductance`` (S); stuck cells do not change."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise UserError(f"seconds: expected a finite time after programming, at least 0, got {seconds}")
        given = self._checked(conductance)
        if self.technology.drift is None:
            return given.copy()
        normal = _random(self.key, _Stream.DRIFT).standard_normal(self.shape).astype(self.dtype)
        drifted = self.technology.drift.after(seconds, given, normal)
        return np.where(self.stuck_on | self.stuck_off, given, drifted)

    def _stick(self, conductance: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
        for stuck, value in ((self.stuck_on, self.highest), (self.stuck_off, self.lowest)):
            if stuck.ndim:
                np.copyto(conductance, value, where=stuck)
        return conductance

    def _checked(self, conductance: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
        array = np.asarray(conductance, self.dtype)
        if array.shape != self.shape:
            raise UserError(
                f"conductances of crossbar {self.key[2] + 1}: expected shape {self.shape}, got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"conductances of crossbar {self.key[2] + 1}: contains NaN or infinite values; expected finite siemens"
            )
        return array


@dataclass(frozen=True)
class ChipDevices:
    """The devices of one chip: tuples in the order of ``ResistiveNetwork.conductances``."""

    crossbars: tuple[Devices, ...]

    @classmethod
    def drawn(
        cls,
        technology: Technology,
        shapes: Sequence[Sequence[int]],
        seed: int,
        number: int = 0,
        dtype: DTypeLike = np.float64,
    ) -> "ChipDevices":
        """Draw chip ``number`` (from 0) of the lot ``seed``, with one crossbar for each of ``shapes`` (rows, columns).

        A chip does not depend on chips that were drawn before, or on the process. Raises UserError for a negative seed
        or number.
        """
        for name, value in (("seed", seed), ("chip number", number)):
            if int(value) != value or value < 0:
                raise UserError(f"{name}: expected an integer of at least 0, got {value!r}")
        keys = ((int(seed), int(number), crossbar) for crossbar in range(len(shapes)))
        return cls(tuple(Devices.drawn(technology, shape, key, dtype) for shape, key in zip(shapes, keys, strict=True)))

    def programmed(
        self, wanted: Sequence[Float[Array, "rows columns"]], write: int = 0
    ) -> tuple[Float[Array, "rows columns"], ...]:
        """Return the conductances (S) after write number ``write`` of these conductances (S)."""
        return tuple(devices.programmed(matrix, write) for devices, matrix in zip(self.crossbars, wanted, strict=True))

    def after(
        self, seconds: float, conductances: Sequence[Float[Array, "rows columns"]]
    ) -> tuple[Float[Array, "rows columns"], ...]:
        """Return the conductances (S) ``seconds`` after they were programmed."""
        return tuple(
            devices.after(seconds, matrix) for devices, matrix in zip(self.crossbars, conductances, strict=True)
        )


def _random(key: tuple[int, int, int], stream: _Stream, *further: int) -> np.random.Generator:
    seed, number, crossbar = key
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, crossbar, stream, *further)))
