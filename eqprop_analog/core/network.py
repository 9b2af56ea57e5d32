"""The protocol of a network: its parameters, what is learned from its phases, its equations and its circuit."""
# ruff: noqa: ARG002 - a default body has its protocol's arguments

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

    A new kind of network inherits from this class, implements what has no body here, and is registered (core.registry). Solvers,
    learning rules, the trainer, the comparison with ngspice and the report ask for nothing else.
    """

    family: ClassVar[str]
    """Under which this kind is registered; also in configurations (``model``)."""
    convex: ClassVar[bool] = True
    """Whether there is one equilibrium, so that where a solver begins does not matter."""
    directed: ClassVar[bool] = False
    """Whether parameters have directions, so that each may learn by a signal of its own (``directed_contrast``)."""
    residual_unit: ClassVar[str] = "A"
    """Of Equilibrium.residual."""
    beta_unit: ClassVar[str] = "S"
    """Of a nudge by the squared error; "" is none."""

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_k): the inputs of a sample, and the columns of each array of Equilibrium.voltages."""
        ...

    @property
    def voltage_names(self) -> tuple[str, ...]:
        """What each array of Equilibrium.voltages is called in files: h1, h2, ..., and o, where read-outs are taken."""
        return (*(f"h{layer}" for layer in range(1, len(self.layers) - 1)), "o")

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self.layers[-1]

    def facts(self) -> dict[str, str]:
        """What a person is shown of it."""
        return {"layers": sizes_text(self.layers)} | {
            "parameters": f"{sum(values.size for values in self.arrays().values()):,}"
        }

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms of its circuit, the cheapest first: "flat" has every device, "norton" the first layer's drive reduced exactly."""
        return ("flat",)

    @property
    def continuous(self) -> bool:
        """Whether small changes of states change forces by little; else a solver in SPICE begins at the equilibrium itself."""
        return True

    def winners(self, inputs: Array, voltages: tuple[Array, ...]) -> tuple[Array, ...]:
        """Which of several the circuit has decided for at ``voltages``, where it does: of each pool its largest site."""
        return ()

    @property
    def readout_reach(self) -> float:
        """How far a read-out moves at most if no output moves by more than 1."""
        return 1.0

    @property
    def nudge_kind(self) -> "Kind":
        """The kind of nudge to take where none is asked for."""
        return "conductance"

    @property
    def connections_by_layer(self) -> Sequence[int]:
        """How many devices with a conductance each part of the flat circuit has, those at the inputs first."""
        return [below * above for below, above in zip(self.layers, self.layers[1:], strict=False)]

    @property
    def resistors_in_circuit(self) -> int:
        """How many the flat circuit has."""
        return sum(self.connections_by_layer)

    @property
    def free_parameters(self) -> int:
        """Numbers that learning changes; several devices may share one."""
        return sum(values.size for values in self.arrays().values())

    def usual_beta(self) -> float:
        """A nudge that the network certainly bears, where none is asked for: siemens, or without unit."""
        ...

    def validate(self) -> None:
        """Raise UserError, naming the part, unless shapes and values describe a network that can be built."""
        ...

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as (batch, inputs) in the network's precision, or UserError."""
        ...

    def phase_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Shapes of the voltages of a phase of ``batch`` samples."""
        return [(batch, size) for size in self.layers[1:]]

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "Equations":
        """The free phase's equations; ``inputs`` as ``check_inputs`` gives them. Raises UserError where there are none."""
        ...

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence["Equations | None"] = (None,),
        form: str = "flat",
        *,
        validate: bool = True,
    ) -> "Circuit":
        """The circuit of every sample in every phase; sweep point len(phases)·sample + phase.

        ``inputs``: as ``check_inputs`` gives them. ``phases``: equations of each, None for the free one. ``form``: one of
        ``forms``. ``validate=False`` checks values but not the graph, for loops over one topology. Raises UserError for what is
        no circuit.
        """
        raise UserError(f"circuit: a {self.family} network cannot be compiled to a circuit")

    def reduced_circuit(
        self, inputs: Float[Array, "batch inputs"], phases: Sequence["Equations | None"] = (None,), **settings: Any
    ) -> "Circuit":
        """A circuit with the same voltages and as few unknowns as are known, which training solves."""
        return self.circuit(inputs, phases, self.forms[0], **settings)

    def in_spice(self) -> Self:
        """The network that a circuit simulator solves in place of this one."""
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy whose arrays have ``dtype``."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Every parameter that is learned, by the name it has in files; the arrays themselves, to be written to."""
        ...

    def confine(self) -> int:
        """Bring every parameter to where the network allows it, in place; how many nodes had lost all that drives them.

        Nothing to do where any value is allowed.
        """
        return 0

    def contrast(
        self, inputs: Float[Array, "batch inputs"], plus: "Equilibrium", minus: "Equilibrium"
    ) -> Mapping[str, Array]:
        """⟨∂E/∂θ₊ - ∂E/∂θ₋⟩/(β₊ - β₋) by the names of ``arrays``.

        ``inputs``: of both phases; ``plus``, ``minus``: equilibria under nudges of different β, of which one may be 0 (the free
        phase). Raises UserError for phases that failed or do not fit.
        """
        ...

    def directed_contrast(
        self,
        inputs: Float[Array, "batch inputs"],
        plus: "Equilibrium",
        minus: "Equilibrium",
        references: Sequence[tuple[float, "Equilibrium"]],
    ) -> Mapping[str, Array]:
        """What a parameter with two directions learns in each, presynaptic states being the weighed sum of ``references``.

        ``inputs``, ``plus``, ``minus``: as in ``contrast``. See learning.local. Raises UserError where parameters have no
        direction.
        """
        raise UserError(f'signal: parameters of a {self.family} network have no direction; use "contrast"')

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> Mapping[str, Array]:
        """d⟨C⟩/dθ at a free equilibrium by the names of ``arrays``, from the adjoint of the pull -∂C/∂(outputs).

        ``inputs``: (batch, inputs); ``voltages``: of the free equilibrium; ``response``: Equations.adjoint's.
        """
        raise UserError(f"gradient: the exact gradient of a {self.family} network is not available")

    def readout_gradient(
        self, outputs: Float[Array, "batch nodes"], slope: Float[Array, "batch classes"]
    ) -> Mapping[str, Array]:
        """What parameters of the read-out itself add to ``gradient``, given the ``outputs``; ``slope`` is ∂⟨C⟩/∂(read-outs)."""
        return {}

    def readout(self, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch classes"]:
        """What is read for each class from ``outputs``, the last array of voltages."""
        return outputs

    def along_readout(self, pull: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """Forces on the last array of voltages that pull the read-outs by ``pull``."""
        return pull

    def save(self, path: str | Path) -> None:
        """Write ``path`` as an uncompressed ``.npz`` (arrays and one JSON text, no pickle) in one step, or UserError."""
        ...

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read a network that ``save`` wrote to ``path``; UserError if the file is not one."""
        ...


N = TypeVar("N", bound=Network)


def in_double(network: N) -> N:
    """``network`` in float64: itself where it is so already, as in a training loop."""
    precisions = {values.dtype for values in network.arrays().values()}
    return network if precisions == {np.dtype(np.float64)} else network.astype(np.float64)
