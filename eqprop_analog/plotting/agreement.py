"""Agreement of ngspice and the surrogate: for a trained network, and over hundreds of random circuits."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.experiments.agreement import LARGEST_DIFFERENCE, Agreement
from eqprop_analog.plotting.style import AMBER, BARS, BLUE, GREEN, PURPLE, RED, drawing


def agreement_of_run(result: Agreement, path: Path) -> None:
    """Plot every node voltage in ngspice against the surrogate's, and a histogram of the differences.

    Bit-identical voltages cannot be shown on a logarithmic axis; a separate bar at its left counts them.
    """
    ours, theirs = result.pairs
    with drawing(path, (9.6, 4.4)) as figure:
        scatter, spread = figure.subplots(1, 2)
        limits = [min(ours.min(), theirs.min()), max(ours.max(), theirs.max())]
        scatter.plot(limits, limits, color="0.7", linewidth=1, label="equal")
        scatter.plot(ours, theirs, ".", color=BLUE, markersize=3)
        scatter.set(xlabel="surrogate (V)", ylabel="ngspice (V)")
        scatter.set_title(f"{result.samples} samples, free, +β, -β: {ours.size:,} voltages", fontsize=10)
        scatter.legend()
        difference = np.abs(ours - theirs)
        apart = difference[difference > 0]
        lowest = 10.0 ** np.floor(np.log10(apart.min())) if apart.size else 1e-17
        spread.hist(
            apart, bins=np.geomspace(lowest, 1e-8, 81).tolist(), color=BARS, label="not identical (rounding or more)"
        )
        same = difference.size - apart.size
        label = f"bit-identical: {same:,} ({100 * same / difference.size:.0f} %)"
        spread.bar(
            lowest / 10, same, width=lowest / 10, color=GREEN, hatch="////", edgecolor="white", lw=0, label=label
        )
        eps = float(np.finfo(float).eps) * float(np.abs(theirs).max())
        spread.axvline(eps, color="0.4", linestyle=":", label=f"rounding of the largest voltage, {eps:.1e} V")
        if apart.size:
            largest = f"largest difference, {result.largest_difference:.1e} V"
            spread.axvline(result.largest_difference, color=BLUE, label=largest)
        spread.axvline(
            LARGEST_DIFFERENCE,
            color=RED,
            linestyle="--",
            label=f"bound, {LARGEST_DIFFERENCE:g} V where no voltage exceeds 1 V",
        )
        spread.set(xlabel="|ngspice - surrogate| (V)", ylabel="voltages", xscale="log")
        ticks = np.arange(np.log10(lowest), -7.5, 2)
        spread.set_xticks([lowest / 10, *(10.0**ticks)], ["0", *(f"$10^{{{tick:.0f}}}$" for tick in ticks)])
        spread.minorticks_off()
        figure.legend(*spread.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)


def random_circuits(circuits: list[dict[str, Any]], path: Path) -> None:
    """Plot histograms of the differences between ngspice and the surrogate, and the differences against the condition number."""
    solved = [circuit for circuit in circuits if "relative_difference" in circuit]
    floor = 1e-17
    shares = (np.arange(len(solved)) + 1) / max(1, len(solved))
    with drawing(path, (10.2, 4.4)) as figure:
        spread, condition = figure.subplots(1, 2)
        for name, label, style in (
            ("relative_difference", "voltages, |ΔV| / max(1 V, |V|)", "-"),
            ("gradient_difference", "gradients, |Δ| / layer's largest", "--"),
        ):
            shade = BLUE if style == "-" else RED
            values = np.sort([max(circuit[name], floor) for circuit in solved])
            spread.step(values, 100 * shares, style, color=shade, where="post", label=label)
        for bound, style, shade in ((1e-9, "-", BLUE), (1e-7, "--", RED)):
            spread.axvline(bound, color=shade, linestyle=style, linewidth=0.8)
        spread.set(
            xlabel="largest difference of a circuit (vertical: bounds; 0 is drawn at 1e-17)",
            ylabel="circuits (%)",
            xscale="log",
        )
        spread.set_title(f"{len(solved)} random circuits, free, +β, -β")
        spread.legend(loc="upper left", frameon=True, framealpha=1, edgecolor="none", fontsize=9)
        laws = list(dict.fromkeys(circuit["diode"]["law"] for circuit in solved))
        for law, marker, shade in zip(laws, "o^sxD+*", cycle([BLUE, RED, GREEN, PURPLE, AMBER])):
            of_law = [circuit for circuit in solved if circuit["diode"]["law"] == law]
            x = [circuit["condition"] for circuit in of_law]
            y = [max(circuit["relative_difference"], floor) for circuit in of_law]
            condition.plot(x, y, marker, color=shade, markersize=4, markerfacecolor="none", label=law)
        limits = np.array(condition.get_xlim())
        condition.axhline(1e-9, color="0.6")
        condition.plot(limits, np.finfo(float).eps * limits, ":", color="0.3", label="rounding × condition number")
        condition.set(
            xlabel="condition number of the linearized circuit",
            ylabel="|ΔV| / max(1 V, |V|)",
            xscale="log",
            yscale="log",
        )
        condition.set_title("Differences against condition number")
        condition.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.8, edgecolor="none")
