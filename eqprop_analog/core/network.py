"""The protocol of a network: its parameters, learning signals, equations and circuit."""
# ruff: noqa: ARG002 - default methods have the arguments of the protocol

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.core.shown import Shown, sizes_text
from eqprop_analog.errors import UserError

if TYPE_CHECKING:
    from eqprop_analog.core.equations import Equations
    from eqprop_analog.core.equilibrium import Equilibrium
    from eqprop_analog.core.nudge import Kind
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray


class Network(Shown, Protocol):
    """An energy E(θ, x, s) with parameters θ, inputs x and states s, whose minima over s are equilibria.

    A new kind of network inherits from this class, implements the abstract methods, and is registered (core.registry).
    Solvers, learning rules, the trainer, the comparison with ngspice and the report need nothing else.
    """

    family: ClassVar[str]
    """Name of this kind in the registry and in configurations (``model``)."""
    convex: ClassVar[bool] = True
    """Whether the equilibrium is unique, so that the initial guess of a solver does not matter."""
    directed: ClassVar[bool] = False
    """Whether parameters have directions that may learn from separate signals (``directed_contrast``)."""
    residual_unit: ClassVar[str] = "A"
    """Unit of Equilibrium.residual."""
    beta_unit: ClassVar[str] = "S"
    """Unit of β for a nudge by the squared error; "" if dimensionless."""

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_k): the number of inputs, and of columns of each array of Equilibrium.voltages."""
        ...

    @property
    def voltage_names(self) -> tuple[str, ...]:
        """Names of the arrays of Equilibrium.voltages in files: h1, h2, ..., and o for the outputs."""
        return (*(f"h{layer}" for layer in range(1, len(self.layers) - 1)), "o")

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self.layers[-1]

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        return {"layers": sizes_text(self.layers)} | {
            "parameters": f"{sum(values.size for values in self.arrays().values()):,}"
        }

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms of the circuit, the cheapest first: "flat" has every device, "norton" the first layer's drive reduced exactly."""
        return ("flat",)

    @property
    def continuous(self) -> bool:
        """Whether forces are continuous in the states; otherwise a solver in SPICE starts at the equilibrium itself."""
        return True

    def winners(self, inputs: Array, voltages: tuple[Array, ...]) -> tuple[Array, ...]:
        """Which of several the circuit has decided for at ``voltages``, where it does: of each pool its largest site."""
        return ()

    @property
    def readout_reach(self) -> float:
        """Largest change of a read-out if no output changes by more than 1."""
        return 1.0

    @property
    def nudge_kind(self) -> "Kind":
        """The default kind of nudge."""
        return "conductance"

    @property
    def connections_by_layer(self) -> Sequence[int]:
        """Number of devices with a conductance in each part of the flat circuit, from the inputs on."""
        return [below * above for below, above in zip(self.layers, self.layers[1:], strict=False)]

    @property
    def resistors_in_circuit(self) -> int:
        """Number of resistors in the flat circuit."""
        return sum(self.connections_by_layer)

    @property
    def wire_segments(self) -> int:
        """Number of segments of wire with a resistance in the circuit."""
        return 0

    @property
    def free_parameters(self) -> int:
        """Number of parameters that learning changes; several devices may share one."""
        return sum(values.size for values in self.arrays().values())

    def usual_beta(self) -> float:
        """Return the default β, for which the network is certainly stable: siemens, or dimensionless."""
        ...

    def validate(self) -> None:
        """Raise UserError, which names the part, unless shapes and values describe a valid network."""
        ...

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """Return ``inputs`` as (batch, inputs) in the network's precision. Raises UserError if they are invalid."""
        ...

    def phase_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Return the shapes of the voltages of a phase with ``batch`` samples."""
        return [(batch, size) for size in self.layers[1:]]

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "Equations":
        """Return the equations of the free phase; ``inputs`` as returned by ``check_inputs``.

        Raises UserError if they have no solution.
        """
        ...

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence["Equations | None"] = (None,),
        form: str = "flat",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """Return the circuit of all samples in all phases; the sweep point is len(phases)·sample + phase.

        ``inputs``: as returned by ``check_inputs``. ``phases``: equations of each, None for the free one. ``form``: one
        of ``forms``. ``validate=False`` checks values but not the graph, for loops over one topology. Raises UserError
        for an invalid circuit.
        """
        raise UserError(f"circuit: a {self.family} network cannot be compiled to a circuit")

    def reduced_circuit(
        self, inputs: Float[Array, "batch inputs"], phases: Sequence["Equations | None"] = (None,), **settings: Any
    ) -> "Circuit":
        """A circuit with the same voltages and as few unknowns as are known, which training solves."""
        return self.circuit(inputs, phases, self.forms[0], **settings)

    def in_spice(self) -> Self:
        """Return the network that a circuit simulator solves instead of this one."""
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy whose arrays have ``dtype``."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Return all learned parameters by their names in files; the arrays can be written in place."""
        ...

    def confine(self) -> int:
        """Clip every parameter to its allowed range, in place; return the number of nodes that were disconnected and reset.

        Does nothing if all values are allowed.
        """
        return 0

    def contrast(
        self, inputs: Float[Array, "batch inputs"], plus: "Equilibrium", minus: "Equilibrium"
    ) -> Mapping[str, Array]:
        """⟨∂E/∂θ₊ - ∂E/∂θ₋⟩/(β₊ - β₋), by the names of ``arrays``.

        ``inputs``: of both phases; ``plus``, ``minus``: equilibria under nudges of different β, one of which may be 0
        (the free phase). Raises UserError for phases that failed or do not match.
        """
        ...

    def directed_contrast(
        self,
        inputs: Float[Array, "batch inputs"],
        plus: "Equilibrium",
        minus: "Equilibrium",
        references: Sequence[tuple[float, "Equilibrium"]],
    ) -> Mapping[str, Array]:
        """Return the learning signal of each direction of a parameter; presynaptic states are the weighted sum of ``references``.

        ``inputs``, ``plus``, ``minus``: as in ``contrast``. See learning.local. Raises UserError if parameters have no
        direction.
        """
        raise UserError(f'signal: parameters of a {self.family} network have no direction; use "contrast"')

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> Mapping[str, Array]:
        """Return d⟨C⟩/dθ at a free equilibrium by the names of ``arrays``, from the adjoint of the drive -∂C/∂(outputs).

        ``inputs``: (batch, inputs); ``voltages``: of the free equilibrium; ``response``: result of Equations.adjoint.
        """
        raise UserError(f"gradient: the exact gradient of a {self.family} network is not available")

    def readout_gradient(
        self, outputs: Float[Array, "batch nodes"], slope: Float[Array, "batch classes"]
    ) -> Mapping[str, Array]:
        """Return the contribution of read-out parameters to ``gradient``, given ``outputs``; ``slope`` is ∂⟨C⟩/∂(read-outs)."""
        return {}

    def readout(self, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch classes"]:
        """Return the read-out of each class from ``outputs``, the last array of voltages."""
        return outputs

    def along_readout(self, pull: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """Return the forces on the last array of voltages that are equivalent to a force ``pull`` on the read-outs."""
        return pull

    def save(self, path: str | Path) -> None:
        """Write ``path`` as an uncompressed ``.npz`` (arrays and one JSON text, no pickle) atomically.

        Raises UserError.
        """
        ...

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read a network that ``save`` wrote to ``path``. Raises UserError for any other file."""
        ...


N = TypeVar("N", bound=Network)


def in_double(network: N) -> N:
    """Return ``network`` in float64, without a copy if it is already."""
    precisions = {values.dtype for values in network.arrays().values()}
    return network if precisions == {np.dtype(np.float64)} else network.astype(np.float64)
