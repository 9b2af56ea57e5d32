"""Layered Hopfield networks."""

from typing import Any

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.networks.hopfield.network import FORMAT, HopfieldNetwork

STEP = 0.1
"""Time constants: long steps may end in another basin than the circuit's own, or turn around an equilibrium for ever."""


def surrogate() -> LeakyIntegratorSolver:
    """The circuit's dynamics in NumPy, to the last digit."""
    return LeakyIntegratorSolver(step=STEP, max_steps=50_000)


def dynamics() -> LeakyIntegratorSolver:
    """The same, to where Newton's iteration does the rest."""
    return LeakyIntegratorSolver(step=STEP, tolerance=1e-6)


def _description() -> Any:
    from eqprop_analog.networks.hopfield.description import DESCRIPTION

    return DESCRIPTION


def _config() -> Any:
    from eqprop_analog.networks.hopfield.config import HopfieldConfig

    return HopfieldConfig


FAMILY = Family(
    "hopfield", HopfieldNetwork, FORMAT, surrogate, dynamics=dynamics, config=_config, description=_description
)
