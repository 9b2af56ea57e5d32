"""The name that NgspiceSolver had for Hopfield networks in version 0.1.0; NgspiceSolver now accepts any network."""

from concurrent.futures import Executor

from eqprop_analog.networks.hopfield.family import surrogate
from eqprop_analog.networks.hopfield.network import STEP
from eqprop_analog.spice.ngspice.solver import NgspiceSolver
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

__all__ = ["STEP", "HopfieldNgspiceSolver", "surrogate"]


class HopfieldNgspiceSolver(NgspiceSolver):
    """NgspiceSolver with the arguments that it had for Hopfield networks in version 0.1.0."""

    def __init__(
        self,
        workers: int = 1,
        form: str | None = None,
        swing: float | None = None,
        time_limit: float = TIME_LIMIT,
        executor: Executor | None = None,
    ) -> None:
        """``workers``, ``form``, ``swing``, ``time_limit``, ``executor``: see NgspiceSolver."""
        super().__init__(workers, form, time_limit, executor, swing=swing)
