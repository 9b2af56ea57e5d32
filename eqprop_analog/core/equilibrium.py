"""The result of a solver: node voltages, their residual in the network's equations, and a status."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from jaxtyping import Bool, Float, Shaped

from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.shown import Shown, sizes_text
from eqprop_analog.errors import UserError

Array = np.ndarray
Layers = tuple[Float[Array, "batch nodes"], ...]
"""Node voltages of every layer, volts."""


class Status(Enum):
    """Why a solver stopped; the value explains the status and suggests what to try.

    >>> import eqprop_analog as ea
    >>> free = ea.SurrogateSolver().solve(ea.ResistiveNetwork.dense([2, 3, 2]), [[0.1, 0.2]])
    >>> free.status[0] is ea.Status.CONVERGED
    True
    """

    CONVERGED = (
        "every voltage is proven to be within 1e-9 of the circuit's largest voltage (at least 1 V) of the "
        "equilibrium (1e-4 in float32, or the requested tolerance if it is larger); a Hopfield network is at a fixed "
        "point within the tolerance"
    )
    TRUNCATED = "stopped after the requested fixed number of sweeps or steps, as in published recipes"
    MEASURED = "measured on a real circuit, where no equation can be checked; see the noise estimate for its accuracy"
    STALLED = (
        "a node does not satisfy its equation after the last iteration; allow more iterations, or loosen the tolerance"
    )
    ILL_CONDITIONED = (
        "every node satisfies its own equation within the tolerance, but some nodes are tied too "
        "weakly to prove that the voltages are "
        "within 1e-9 of the equilibrium; narrow the spread of the conductances, or use a smaller |beta|"
    )
    UNSTABLE = "the equations hold, but the state is unstable: any disturbance grows; start from another initial guess"
    OUT_OF_BOUNDS = "a node voltage is beyond what the sources can reach; look for a floating part or a reversed diode"
    SIMULATOR_FAILED = "the simulator returned no voltages for this sample; its own message is in the solver's log"


def statuses(converged: Bool[Array, " batch"]) -> Shaped[Array, " batch"]:
    """Return CONVERGED where true, STALLED elsewhere."""
    return np.array([Status.STALLED, Status.CONVERGED], dtype=object)[converged.astype(int)]


def statuses_in_words(counts: Mapping[str, int], truncation: str = "") -> str:
    """Return samples by status, such as "120 CONVERGED, 400 stopped after 4 sweeps, as configured".

    ``truncation``: when phases were deliberately stopped, such as "4 sweeps".
    """
    stopped = f"stopped after {truncation or 'the requested sweeps or steps'}, as configured"
    named = ((stopped if name == Status.TRUNCATED.name else name, count) for name, count in counts.items())
    return ", ".join(f"{count:,} {name}" for name, count in named)


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium(Shown):
    """Node voltages of a batch in one phase.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> free = ea.SurrogateSolver().solve(network, [[0.1, 0.2]])
    >>> [v.shape for v in free.voltages], free.outputs.shape, free.status[0].name  # volts, (samples, nodes)
    ([(1, 3), (1, 2)], (1, 2), 'CONVERGED')
    """

    voltages: tuple[Float[Array, "batch nodes"], ...]
    """Voltages of layers 1..L, volts, before any amplifier; for a Hopfield network the states s = ρ(u), after the buffers."""
    residual: Float[Array, " batch"]
    """Largest residual over all nodes: of Kirchhoff's current law, amperes; of s = ρ(u), volts.

    NaN if it was not requested.
    """
    status: Shaped[Array, " batch"]
    """Members of Status."""
    nudge: Nudge | None = None
    """The nudge; None is the free phase."""
    noise: Float[Array, " batch"] | None = None
    """For measured voltages, the standard error of each sample's noisiest node, volts; NaN if it is unknown."""

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        counts = Counter(status.name for status in self.status.tolist())
        found = {
            "samples": str(len(self.status)),
            "layers": sizes_text(tuple(v.shape[1] for v in self.voltages)),
            "phase": "free" if self.nudge is None else f"nudged by {self.beta:.3g}",
            "status": ", ".join(f"{name} {count}" for name, count in counts.items()),
        }
        if len(self.residual) and np.isfinite(self.residual).any():
            found["largest residual"] = f"{np.nanmax(self.residual):.1e}"
        return found

    @property
    def good(self) -> Bool[Array, " batch"]:
        """Which samples converged, were deliberately truncated, or were measured."""
        fine = (Status.CONVERGED, Status.TRUNCATED, Status.MEASURED)
        return np.array([status in fine for status in self.status.tolist()], bool)

    @property
    def beta(self) -> float:
        """β of the nudge; 0 in the free phase."""
        return 0.0 if self.nudge is None else self.nudge.beta

    @property
    def outputs(self) -> Float[Array, "batch outputs"]:
        """Output voltages, volts."""
        return self.voltages[-1]

    def select(self, samples: Bool[Array, " batch"]) -> "Equilibrium":
        """Return the equilibrium of some of the samples, with the nudge towards their targets."""
        voltages, nudge = tuple(v[samples] for v in self.voltages), self.nudge
        if nudge is not None and len(nudge.target) == len(self.status):
            nudge = replace(nudge, target=nudge.target[samples])
        noise = None if self.noise is None else self.noise[samples]
        return Equilibrium(voltages, self.residual[samples], self.status[samples], nudge, noise)

    def inheriting(self, source: "Equilibrium | None") -> "Equilibrium":
        """Return the equilibrium with the status of the failed samples of ``source``, from which it was derived."""
        if source is None or (good := source.good).all():
            return self
        return replace(self, status=np.where(good, self.status, source.status))

    def split(self, nudges: Sequence[Nudge | None]) -> tuple["Equilibrium", ...]:
        """Split stacked batches into one phase for each of ``nudges`` (None: the free phase)."""
        size = len(self.status) // len(nudges)
        parts = [slice(k * size, (k + 1) * size) for k in range(len(nudges))]
        return tuple(
            Equilibrium(
                tuple(v[part] for v in self.voltages),
                self.residual[part],
                self.status[part],
                nudge,
                None if self.noise is None else self.noise[part],
            )
            for part, nudge in zip(parts, nudges, strict=True)
        )

    def require(self) -> "Equilibrium":
        """Return the equilibrium. Raises UserError with the status of the first failed sample."""
        good = self.good
        if not good.all():
            sample = int(good.argmin())
            status, residual = self.status[sample], self.residual[sample]
            raise UserError(f"sample {sample}: {status.name}, residual {residual:.1e}: {status.value}")
        return self


def by_layer(values: Float[Array, "batch nodes"], layers: Sequence[int]) -> Layers:
    """Split concatenated ``values`` of the nodes of layers 1..L into one array per layer; ``layers``: (inputs, n_1, ..., n_L)."""
    return tuple(np.split(values, np.cumsum(layers[1:-1]).tolist(), axis=1))
