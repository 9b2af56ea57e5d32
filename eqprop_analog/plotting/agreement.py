"""How far ngspice and the surrogate agree: on a trained network, and over hundreds of random circuits."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.experiments.agreement import Agreement
from eqprop_analog.plotting.style import drawing


def agreement_of_run(result: Agreement, path: Path) -> None:
    """Every node voltage in ngspice against the surrogate's, and how large the differences are."""
    ours, theirs = result.pairs
    with drawing(path, (9.6, 4.2)) as figure:
        scatter, spread = figure.subplots(1, 2)
        limits = [min(ours.min(), theirs.min()), max(ours.max(), theirs.max())]
        scatter.plot(limits, limits, color="0.7", linewidth=1)
        scatter.plot(ours, theirs, ".", color="black", markersize=3)
        scatter.set(xlabel="surrogate (V)", ylabel="ngspice (V)")
        scatter.set_title(f"{result.samples} images, free, +β, -β: {ours.size} voltages")
        floor = 1e-18
        difference = np.maximum(np.abs(ours - theirs), floor)
        spread.hist(difference, bins=np.logspace(-18, -8, 81).tolist(), color="0.45")
        spread.axvline(result.largest_difference, color="black", label=f"largest {result.largest_difference:.1e} V")
        spread.axvline(1e-9, color="black", linestyle="--", label="bound 1e-9 V")
        spread.set(xlabel="|ngspice - surrogate| (V)", ylabel="voltages", xscale="log", title="Difference")
        spread.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")


def random_circuits(circuits: list[dict[str, Any]], path: Path) -> None:
    """How many circuits are how far apart in ngspice and the surrogate, and that against the circuits' condition."""
    solved = [circuit for circuit in circuits if "relative_difference" in circuit]
    floor = 1e-17
    shares = (np.arange(len(solved)) + 1) / max(1, len(solved))
    with drawing(path, (10.2, 4.4)) as figure:
        spread, condition = figure.subplots(1, 2)
        for name, label, style in (
            ("relative_difference", "voltages, |ΔV| / max(1 V, |V|)", "-"),
            ("gradient_difference", "gradients, |Δ| / layer's largest", "--"),
        ):
            values = np.sort([max(circuit[name], floor) for circuit in solved])
            spread.step(values, 100 * shares, style, color="black", where="post", label=label)
        for bound, style in ((1e-9, "-"), (1e-7, "--")):
            spread.axvline(bound, color="0.6", linestyle=style)
        spread.set(xlabel="largest difference of a circuit (grey: its bounds)", ylabel="circuits (%)", xscale="log")
        spread.set_title(f"{len(solved)} random circuits, free, +β, -β")
        spread.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none", fontsize=9)
        laws = list(dict.fromkeys(circuit["diode"]["law"] for circuit in solved))
        for law, marker, shade in zip(laws, "o^sxD+*", cycle(["black", "0.3", "0.55"])):
            of_law = [circuit for circuit in solved if circuit["diode"]["law"] == law]
            x = [circuit["condition"] for circuit in of_law]
            y = [max(circuit["relative_difference"], floor) for circuit in of_law]
            condition.plot(x, y, marker, color=shade, markersize=4, markerfacecolor="none", label=law)
        limits = np.array(condition.get_xlim())
        condition.axhline(1e-9, color="0.6")
        condition.plot(limits, np.finfo(float).eps * limits, ":", color="0.3", label="rounding × condition")
        condition.set(
            xlabel="condition of the linearised circuit", ylabel="|ΔV| / max(1 V, |V|)", xscale="log", yscale="log"
        )
        condition.set_title("Voltages against condition")
        condition.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.8, edgecolor="none")
