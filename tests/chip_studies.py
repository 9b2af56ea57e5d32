"""Studies of chips of the small network (end_to_end.conftest.SMALL), and their tasks run in the process of the test."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from eqprop_analog.networks.resistive.commands import chips
from eqprop_analog.spice.ngspice.workers import Workers


def study_of_chips(sweeps: str, *, chips: int, epochs: int, target_error: float, devices: tuple[str, str]) -> str:
    """The TOML text of a study; ``devices``: their lowest and highest conductance in siemens, as text."""
    lowest, highest = devices
    return f"""
preset = "small.toml"
chips = {chips}
target_error = {target_error}
[training]
conductance_window = [0.0, 2e-6]
epochs = {epochs}
[specification]
impedance_scaling = true
[specification.conductance.window]
lowest = {lowest}
highest = {highest}
{sweeps}"""


class InThisProcess(Executor):
    """Runs a task at once, in this process, where the test has replaced the published data."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        """Return its result, or raise its exception."""
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future


def make_chips_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone."""
    patch.setattr(chips, "workers_for", lambda count, limit: Workers(count, limit, InThisProcess()))
