"""Plots for notebooks and programs: each returns a Matplotlib Figure and writes nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.errors import UserError
from eqprop_analog.learning.measure import PREDICTIONS, VOLTS
from eqprop_analog.plotting.crossbars import PLAIN, SHADES, coarsened
from eqprop_analog.plotting.equilibria import free_against_nudged, voltages_by_layer
from eqprop_analog.plotting.style import drawing
from eqprop_analog.plotting.training import learning_curve

Array = np.ndarray

PANEL = (3.2, 3.0)
"""Size of one array's map, inches."""
MOST = 8
"""Largest number of maps in a figure."""
SIGNED = "PuOr"


def plot_learning_curve(run: Any) -> Figure:
    """Plot training and test error against the epoch: percent, or mV for a regression.

    The arguments:

    - run: the result of ``train``, or its ``metrics["history"]``.

    >>> import eqprop_analog as ea
    >>> history = [{"epoch": k, "train_error": 0.5 / k, "test_error": 0.6 / k} for k in (1, 2, 3)]
    >>> ea.plot_learning_curve(history).axes[0].get_ylabel()
    'error (%)'
    """
    history: Sequence[Mapping[str, Any]] = run.metrics["history"] if hasattr(run, "metrics") else run
    if not history:
        raise UserError("history: expected at least one epoch, got none")
    config = run.metrics.get("config", {}) if hasattr(run, "metrics") else {}
    found = (config.get("own_data") or {}).get("found") or {}
    measure = VOLTS if found.get("task") == "regression" else PREDICTIONS
    return learning_curve([dict(entry) for entry in history], measure=measure)


def plot_voltages(free: Equilibrium) -> Figure:
    """Plot the node voltages of every layer over a batch: range, interquartile range and median of each node, volts.

    The arguments:

    - free: an equilibrium of at least one sample.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> len(ea.plot_voltages(ea.SurrogateSolver().solve(network, [[0.1, 0.2], [0.3, 0.4]])).axes)
    4
    """
    return voltages_by_layer(free)


def plot_phases(free: Equilibrium, plus: Equilibrium, minus: Equilibrium) -> Figure:
    """Plot the changes of every node voltage under nudges of +β and -β against the free phase, volts.

    The arguments:

    - free, plus, minus: equilibria of the same samples; the last two under opposite nudges.

    >>> import eqprop_analog as ea
    >>> network, solver, x, y = ea.ResistiveNetwork.dense([2, 3, 2]), ea.SurrogateSolver(), [[0.1, 0.2]], [[1.0, 0.0]]
    >>> free = solver.solve(network, x)
    >>> nudged = [solver.solve(network, x, nudge=ea.Nudge(y, beta), start=free) for beta in (1e-9, -1e-9)]
    >>> len(ea.plot_phases(free, *nudged).axes)
    4
    """
    return free_against_nudged(free, plus, minus, f"{abs(plus.beta):.3g}")


def plot_parameters(network: Network, size: tuple[float, float] = PANEL) -> Figure:
    """Draw a map of every array that a network learns, in its unit: conductances in siemens, weights in 1/V.

    The arguments:

    - network: any network. Arrays of one dimension are drawn as a block, row by row, and arrays of more than two as
      rows of kernels.
    - size: size of one map, inches.

    >>> import eqprop_analog as ea
    >>> [axes.get_title() for axes in ea.plot_parameters(ea.ResistiveNetwork.dense([2, 3, 2])).axes[:2]]
    ['conductance_1', 'conductance_2']
    """
    arrays = [(name, values) for name, values in network.arrays().items() if np.asarray(values).size > 1]
    named = [each for each in arrays if each[1].ndim > 1] or arrays
    named = named[:MOST]
    if not named:
        raise UserError("network: it has no parameters that can be drawn")
    with drawing(
        None, (size[0] * len(named), size[1]), PLAIN | {"font.size": 7 if size[0] < PANEL[0] else 10}
    ) as figure:
        for axes, (name, values) in zip(figure.subplots(1, len(named), squeeze=False)[0], named, strict=True):
            shown, _ = coarsened(_as_matrix(np.asarray(values, float)))
            most = float(np.abs(shown).max()) or 1.0
            signed = bool((shown < 0).any())
            image = axes.imshow(
                shown, SIGNED if signed else SHADES, aspect="auto", vmin=-most if signed else 0, vmax=most
            )
            axes.set(title=name, xticks=[], yticks=[])
            figure.colorbar(image, ax=axes, location="bottom")
    return figure


def _as_matrix(values: Array) -> Array:
    if values.ndim == 1:
        width = math.isqrt(values.size - 1) + 1
        padded = np.zeros(width * -(-values.size // width))
        padded[: values.size] = values
        return padded.reshape(-1, width)
    return values.reshape(len(values), -1)
