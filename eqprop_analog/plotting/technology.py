"""A fitted technology and its data: conductance along the pulses, step of a pulse, residuals, and spread of the devices."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from eqprop_analog.devices.conductance.fitting import Readings, TechnologyFit
from eqprop_analog.devices.conductance.fitting.likelihood import Candidate, filtered
from eqprop_analog.plotting.style import BARS, BLUE, LOOKS, NEUTRAL, RED, drawing

Array = np.ndarray

SHOWN = 3
"""Number of devices whose readings are drawn along the pulses."""
PIECES = 8
"""Number of sequences drawn for each device."""
MICRO = 1e6


def technology(fit: TechnologyFit, path: Path) -> None:
    """Draw four panels: data as dots, the model without noise as lines; conductances in µS."""
    several = len(fit.readings.names) > 1
    with drawing(path, (10.5, 6.6)) as figure:
        along, step, left, apart = figure.subplots(2, 2).ravel()
        _along(along, fit)
        _step(step, fit)
        _left(left, fit)
        if several:
            _apart(apart, fit)
        else:
            _compared(apart, fit)


def _simulated(candidate: Candidate, readings: Readings, piece: int) -> Float[Array, " readings"]:
    """Return the conductances (S) along a sequence from its first reading, without noise."""
    device, pulses = readings.device[piece], candidate.pulses(readings)[piece]
    low, high = candidate.lowest[device], candidate.highest[device]
    state = np.clip(readings.conductance[piece, :1], low, high)
    found = [float(state[0])]
    for k in np.flatnonzero(readings.there[piece]):
        candidate.law.apply(state, pulses[k : k + 1].copy(), low, high, np.random.default_rng(0))
        found.append(float(state[0]))
    return np.array(found)


def _along(axes: Axes, fit: TechnologyFit) -> None:
    readings, candidate = fit.readings, _quiet(fit)
    for number, (shade, *_) in zip(range(min(SHOWN, len(readings.names))), LOOKS, strict=False):
        place = 0
        for piece in np.flatnonzero(readings.device == number)[:PIECES]:
            model = _simulated(candidate, readings, int(piece))
            x = place + np.arange(len(model))
            axes.plot(x, MICRO * readings.conductance[piece, : len(model)], ".", color=shade, markersize=3, alpha=0.6)
            axes.plot(x, MICRO * model, color=shade, linewidth=1.2)
            place += len(model)
        axes.plot([], [], ".", color=shade, label=f"device {readings.names[number]:.20}")
    axes.plot([], [], color=NEUTRAL, linewidth=1.2, label="model, from the first reading of each sequence")
    for end in (candidate.lowest[0], candidate.highest[0]):
        axes.axhline(MICRO * end, color="0.6", linestyle=":", linewidth=1)
    axes.set_xlabel("reading")
    axes.set_ylabel("conductance (µS)")
    axes.set_ylim(top=1.45 * MICRO * float(readings.conductance.max()))
    of = f", {min(SHOWN, len(readings.names))} of {len(readings.names)} devices" if len(readings.names) > SHOWN else ""
    axes.set_title(f"law {fit.law}{of}")
    axes.legend(fontsize=8, loc="upper right", ncols=2)


def _quiet(fit: TechnologyFit) -> Candidate:
    """Return the fitted devices without pulse-to-pulse noise."""
    found = fit.estimate.candidate()
    object.__setattr__(found.law, "cycle_noise", 0.0)
    return found


def _step(axes: Axes, fit: TechnologyFit) -> None:
    readings, one = fit.readings, fit.estimate.candidate()
    low, high = (ends[readings.device][:, None] for ends in (one.lowest, one.highest))
    pulses = one.pulses(readings)
    there = readings.there & (readings.polarity != 0)
    place = ((readings.conductance[:, :-1] - low) / (high - low))[there]
    change = (np.diff(readings.conductance, axis=1) / (high - low))[there] / np.abs(pulses[there])
    up = readings.polarity[there] > 0
    line = np.linspace(0, 1, 101)
    for chosen, sign, shade, name in ((up, 1, RED, "up"), (~up, -1, BLUE, "down")):
        axes.plot(place[chosen], 100 * change[chosen], ".", color=shade, markersize=2.5, alpha=0.35)
        moved = line.copy()
        one.law.move(moved, np.full(101, float(sign)), np.zeros(()), np.ones(()))
        model = np.clip(moved, 0, 1) - line
        axes.plot(line, 100 * model, color="black")
        axes.fill_between(
            line,
            100 * (model - one.cycle_noise),
            100 * (model + one.cycle_noise),
            color=shade,
            alpha=0.2,
            label=f"{name}: model ± σ",
        )
    axes.set_xlabel("position in the device's window")
    axes.set_ylabel("step of one pulse (% of the window)")
    axes.legend(fontsize=8)


def _left(axes: Axes, fit: TechnologyFit) -> None:
    found = filtered(fit.estimate.candidate(), fit.readings)
    z = (found.missed / np.sqrt(found.variance))[fit.readings.there]
    bins: Any = np.linspace(-5, 5, 41)
    axes.hist(np.clip(z, -5, 5), bins, density=True, color=BARS, label=f"{len(z)} steps")
    axes.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), color="black", label="normal distribution")
    axes.set_xlabel("reading minus prediction (standard deviations)")
    axes.set_ylabel("density")
    axes.legend(fontsize=8)


def _apart(axes: Axes, fit: TechnologyFit) -> None:
    one = fit.estimate.candidate()
    axes.plot(MICRO * one.highest, one.factor, "^", color=RED, label="upper end of its window")
    axes.plot(MICRO * one.lowest, one.factor, "v", color=BLUE, label="lower end")
    axes.axhline(1, color="0.6", linestyle=":", linewidth=1)
    axes.set_xlabel("end of a device's window (µS)")
    axes.set_ylabel("scale factor of its pulses")
    axes.legend(fontsize=8)


def _compared(axes: Axes, fit: TechnologyFit) -> None:
    best = min(figure for figure, _ in fit.compared.values())
    names = list(fit.compared)
    axes.barh(
        names,
        [fit.compared[name][0] - best for name in names],
        color=["0.3" if name == fit.law else "0.75" for name in names],
    )
    axes.set_xlabel("Bayesian information criterion, difference from the best")
    axes.set_xscale("symlog", linthresh=10)
    axes.invert_yaxis()
