"""A trained graph network, its learning curve, and the learned function."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from eqprop_analog.networks.graph.drawing import draw_network, positions
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.graph.tasks import DROP, RANGE, TARGETS, TRAINED, Task, parabola
from eqprop_analog.plotting.style import BLUE, RED, drawing

Array = np.ndarray


def draw_lattice(
    task: Task, network: GraphNetwork, errors: Sequence[float], before: Array, after: Array, path: Path
) -> None:
    """Plot ``errors`` after every epoch, and the outputs at training and test inputs ``before`` and ``after`` training, volts."""
    with drawing(path, (14, 4.6)) as figure:
        drawn, curve, result = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
        draw_network(figure, drawn, network, positions(task.graph))
        curve.semilogy(np.arange(1, len(errors) + 1), 1e3 * np.array(errors), color=BLUE)
        curve.set(xlabel="epoch", ylabel="root mean square error (mV)", title="Learning curve")
        if network.diodes.size:
            _draw_function(result, task, network, before, after)
        else:
            _draw_drops(result, task, before, after)


def _draw_drops(axes: Axes, task: Task, before: Array, after: Array) -> None:
    sign, at, names = np.sign(task.data.train_labels[0]), np.arange(TARGETS), task.network.names
    axes.bar(
        at - 0.2,
        1e3 * sign * before[0],
        0.36,
        color="0.75",
        hatch="////",
        edgecolor="white",
        lw=0,
        label="before training",
    )
    axes.bar(at + 0.2, 1e3 * sign * after[0], 0.36, color=BLUE, label="after training")
    axes.axhline(1e3 * DROP, color=RED, linestyle="--", linewidth=1.4, label="target")
    edges = [f"{names[one][2:]}-{names[two][2:]}" for one, two in task.network.outputs.tolist()]
    axes.set(
        xticks=at,
        xticklabels=edges,
        xlabel="target edge",
        ylabel="voltage drop (mV)",
        title="Voltage drops at an input of 1 V",
    )
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=3, fontsize=8)


def _draw_function(axes: Axes, task: Task, network: GraphNetwork, before: Array, after: Array) -> None:
    x, trained = np.linspace(-RANGE, RANGE, 101)[:, None], task.data.train_images[:, :1]
    axes.plot(x, parabola(x), "--", color=RED, label="target")
    axes.plot(trained, before[:TRAINED], ":", color="0.45", label="before training")
    outputs = SparseNewtonSolver().solve(network, np.concatenate([x, -x], axis=1)).outputs
    axes.plot(x, outputs, color=BLUE, label="after training")
    axes.plot(trained, after[:TRAINED], "o", color=BLUE, markersize=4)
    axes.set(xlabel="input x (V)", ylabel="output (V)", title="Learned function (dots: training inputs)")
    axes.legend()
