"""Layered Hopfield networks."""

from eqprop_analog.core.registry import Family, later
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.networks.hopfield.network import FORMAT, STEP, HopfieldNetwork


def surrogate() -> LeakyIntegratorSolver:
    """Return the circuit's dynamics in NumPy at full precision."""
    return LeakyIntegratorSolver(step=STEP, max_steps=50_000)


def dynamics() -> LeakyIntegratorSolver:
    """Return the same dynamics at the precision that Newton's iteration needs to start."""
    return LeakyIntegratorSolver(step=STEP, tolerance=1e-6)


HERE = __name__.rpartition(".")[0]

FAMILY = Family(
    "hopfield",
    HopfieldNetwork,
    FORMAT,
    surrogate,
    dynamics=dynamics,
    config=later(f"{HERE}.config:HopfieldConfig"),
    description=later(f"{HERE}.description:DESCRIPTION"),
    features={
        "fresh": later(f"{HERE}.commands.fresh:FRESH"),
        "transient": later(f"{HERE}.commands.transient:run"),
    },
)
