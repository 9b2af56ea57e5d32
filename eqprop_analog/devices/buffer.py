"""Saturating buffers: the activation of a Hopfield network's node, with a true and an inverted output in SPICE."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import in_double_precision, require_within
from eqprop_analog.devices.registry import Registry
from eqprop_analog.errors import UserError

Array = np.ndarray
GAINS = (1e-6, 1e6)
"""Range of the steepest slope of a buffer, dimensionless."""


class Buffer(Protocol):
    """s = ρ(u), nondecreasing, with values in [0, 1]: the output of a node at voltage u, volts; arrays keep their dtype."""

    @property
    def gain(self) -> float:
        """The steepest slope, dimensionless."""
        ...

    @property
    def span(self) -> tuple[float, float]:
        """Inputs between which ρ rises, volts."""
        ...

    def output(self, u: Float[Array, "..."], out: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """ρ(u), volts, written into ``out`` if given."""
        ...

    def inverse(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ⁻¹(s), volts; at 0 and 1 an end of the span."""
        ...

    def slope(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ′(u), dimensionless."""
        ...

    def rise(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ′ within the span, where the output is s (at an end of the span from inside), dimensionless."""
        ...

    def potential(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """∫ρ⁻¹ ds from 0 to s, volts squared (Hopfield 1984)."""
        ...

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Name of the subcircuit (and of its file ``circuits/<name>.lib``) and its parameters."""
        ...


@dataclass(frozen=True)
class HardSigmoid:
    """ρ(u) = min(max(gain·u, 0), 1).

    Source: Scellier & Bengio 2017 (gain 1); Laborieux et al. 2021 (gain ½).
    """

    gain: float = 1.0

    @property
    def span(self) -> tuple[float, float]:
        """The two corners, volts."""
        return 0.0, 1 / self.gain

    def output(self, u: Float[Array, "..."], out: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """ρ(u), volts, written into ``out`` if given."""
        if self.gain == 1:
            return u.clip(0, 1, out=out)
        scaled = np.multiply(u, u.dtype.type(self.gain), out=out)
        return scaled.clip(0, 1, out=scaled)

    def inverse(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ⁻¹(s), volts; at 0 and 1 a corner."""
        return s / s.dtype.type(self.gain)

    def slope(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ′(u): the gain strictly between the two corners, else 0."""
        scaled = self.gain * u
        return np.where((scaled > 0) & (scaled < 1), self.gain, 0).astype(u.dtype)

    def rise(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gain."""
        return np.asarray(self.gain, s.dtype)

    def potential(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """s²/2·gain, volts squared."""
        return s * s / (2 * self.gain)

    def __post_init__(self) -> None:
        """Raise UserError for an invalid gain."""
        in_double_precision(self)
        require_within(*GAINS, gain=self.gain)

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``hard_sigmoid`` with its gain."""
        return "hard_sigmoid", {"gain": self.gain}


@dataclass(frozen=True)
class Sigmoid:
    """ρ(u) = 1/(1 + exp(-4·gain·(u - ½))).

    Source: Ernoult et al. 2019 (gain 1, the slope at u = ½).
    """

    gain: float = 1.0

    @property
    def span(self) -> tuple[float, float]:
        """Everywhere."""
        return -np.inf, np.inf

    def output(self, u: Float[Array, "..."], out: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """ρ(u), volts, written into ``out`` if given; by the hyperbolic tangent, which never overflows."""
        half = u.dtype.type(0.5)
        s = np.subtract(u, half, out=np.empty_like(u) if out is None else out)
        s *= u.dtype.type(2 * self.gain)
        np.tanh(s, out=s)
        s *= half
        s += half
        return s

    def inverse(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """½ + ln(s/(1 - s))/4·gain, volts; at 0 and 1 infinite."""
        from scipy.special import logit

        return s.dtype.type(0.5) + logit(s) / s.dtype.type(4 * self.gain)

    def slope(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ′(u) = 4·gain·s·(1 - s)."""
        return self.rise(self.output(u))

    def rise(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """4·gain·s·(1 - s)."""
        return s.dtype.type(4 * self.gain) * s * (1 - s)

    def potential(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """s/2 + (s ln s + (1 - s) ln(1 - s))/4·gain, volts squared."""
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = np.nan_to_num(s * np.log(s)) + np.nan_to_num((1 - s) * np.log1p(-s))
        return s / 2 + entropy / (4 * self.gain)

    def __post_init__(self) -> None:
        """Raise UserError for an invalid gain."""
        in_double_precision(self)
        require_within(*GAINS, gain=self.gain)

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``sigmoid`` with its gain."""
        return "sigmoid", {"gain": self.gain}


BUFFERS: Registry[Buffer] = Registry("buffer law", {"hard-sigmoid": HardSigmoid, "sigmoid": Sigmoid})
"""All buffers by their names in tables."""


def check_buffer(buffer: object) -> None:
    """Raise UserError unless ``buffer`` implements Buffer."""
    parts = ("gain", "span", "output", "inverse", "slope", "rise", "potential", "spice")
    missing = [part for part in parts if isinstance(buffer, type) or not hasattr(buffer, part)]
    if missing:
        raise UserError(f"buffer: expected a buffer such as HardSigmoid() or Sigmoid(), got {buffer!r:.60}")


def buffer_from(table: dict[str, object]) -> Buffer:
    """Return the buffer that a table {law, gain} describes.

    Raises UserError, which lists the buffers, for anything else.
    """
    return BUFFERS.from_table(table)


def buffer_table(buffer: Buffer) -> dict[str, object]:
    """Return the table from which ``buffer_from`` makes this buffer."""
    return BUFFERS.table_of(buffer)
