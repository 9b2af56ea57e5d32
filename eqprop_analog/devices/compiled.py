"""Node solves of this package's laws for compiled loops; a law imports this module on demand."""

import math
from typing import Any, NamedTuple

import numpy as np

from eqprop_analog.devices.capabilities import CompiledNode
from eqprop_analog.devices.formula import formula

Array = np.ndarray


class ClampNode(NamedTuple):
    """An ideal clamp."""

    rail: float


class DiodeNode(NamedTuple):
    """ngspice's diode."""

    saturation_current: float
    thermal_voltage: float
    rail: float
    gmin: float


class ResistiveDiodeNode(NamedTuple):
    """ngspice's diode with a series resistance."""

    saturation_current: float
    thermal_voltage: float
    series_resistance: float
    rail: float
    gmin: float


class TableNode(NamedTuple):
    """A piecewise-linear law: its knots by ascending voltage across the device, and its slopes, one more than knots."""

    voltages: Array
    currents: Array
    slopes: Array
    rail: float


def clamp_node(rail: float) -> CompiledNode:
    """Return the node of an ideal clamp."""
    return CompiledNode(ClampNode(rail), loop=_clamps)


def diode_node(
    saturation_current: float, thermal_voltage: float, rail: float, gmin: float, dtype: np.dtype[Any]
) -> CompiledNode:
    """Return the node of ngspice's diode; float32 uses another formula, without branches."""
    loop = _diodes_single if dtype == np.float32 else _diodes
    return CompiledNode(DiodeNode(saturation_current, thermal_voltage, rail, gmin), loop=loop)


def resistive_diode_node(
    saturation_current: float, thermal_voltage: float, series_resistance: float, rail: float, gmin: float
) -> CompiledNode:
    """Return the node of ngspice's diode with a series resistance; it is computed in float64 for any precision of the network."""
    node = ResistiveDiodeNode(saturation_current, thermal_voltage, series_resistance, rail, gmin)
    return CompiledNode(node, solve=_resistive_diode)


def table_node(voltages: Array, currents: Array, slopes: Array, rail: float) -> CompiledNode:
    """Return the node of a piecewise-linear law."""
    return CompiledNode(TableNode(voltages, currents, slopes, rail), solve=_table)


def _resistive_diode(node: ResistiveDiodeNode, conductance: float, source: float) -> float:
    """DiodeWithResistance.solve: the root of the junction and the node's equivalent conductance seen through R_S."""
    resistance = float(node.series_resistance)
    reduced = 1 + float(conductance) * resistance
    g, s = float(conductance) / reduced, float(source) / reduced
    inside = _diode(DiodeNode(node.saturation_current, node.thermal_voltage, node.rail, node.gmin), g, s)
    return inside + resistance * (s - g * inside)


def _table(node: TableNode, conductance: float, source: float) -> float:
    """Tabulated.solve: the first knot above the root by bisection, and the root on the line below it."""
    wanted = conductance * node.rail - source
    low, high = 0, len(node.voltages)
    while low < high:
        middle = (low + high) // 2
        if conductance * node.voltages[middle] + node.currents[middle] <= wanted:
            low = middle + 1
        else:
            high = middle
    knot = max(low - 1, 0)
    missing = wanted - conductance * node.voltages[knot] - node.currents[knot]
    return node.rail - node.voltages[knot] - missing / (conductance + node.slopes[low])


def _clamps(node: ClampNode, polarity: Array, conductance: Array, v: Array) -> None:
    for j in range(len(v)):
        v[j] = polarity[j] * max(polarity[j] * v[j] / conductance[j], node.rail)


def _diodes(node: DiodeNode, polarity: Array, conductance: Array, v: Array) -> None:
    for j in range(len(v)):
        v[j] = polarity[j] * _diode(node, conductance[j], polarity[j] * v[j])


def _diodes_single(node: DiodeNode, polarity: Array, conductance: Array, v: Array) -> None:
    if (
        conductance.min() * node.thermal_voltage < node.saturation_current
    ):  # a node may be held by the reverse current alone
        for j in range(len(v)):
            v[j] = polarity[j] * _diode(node, conductance[j], polarity[j] * v[j])
    else:
        for j in range(len(v)):
            v[j] = polarity[j] * _diode_single(node, conductance[j], polarity[j] * v[j])


@formula
def _diode(node: DiodeNode, conductance: float, source: float) -> float:
    """NgspiceDiode.solve in float64: ω = e^y with e^y + y = z by Halley's steps, then Newton's on the whole law."""
    i_s, v_t = float(node.saturation_current), float(node.thermal_voltage)
    total = float(conductance) + node.gmin
    current = float(conductance) * node.rail - source
    scale = total * v_t
    log_ratio = math.log(i_s / scale)
    z = (current + i_s) / scale + log_ratio
    y = math.log(z) if z > 1 else min(z, 0.5 * (z - 1))
    for _ in range(3):
        e = math.exp(y)
        error = e + y - z
        y -= 2 * error * (e + 1) / (2 * (e + 1) ** 2 - error * e)
    w = v_t * (y - log_ratio)
    for _ in range(100):
        if w < -3 * v_t:
            cubed = (3 * v_t / (math.e * w)) ** 3
            junction, slope = -i_s * (1 + cubed), 3 * i_s * cubed / w
        else:
            grown = math.exp(w / v_t)
            junction, slope = i_s * (grown - 1), i_s * grown / v_t
        step = (junction + total * w - current) / (slope + total)
        w -= step
        if not abs(step) > 1e-9 * (abs(w) + v_t):
            break
    return float(node.rail - w)


F4 = np.float32
I4 = np.int32


@formula
def _diode_single(node: DiodeNode, conductance: F4, source: F4) -> F4:
    """The same in float32 without branches: two of Halley's steps, and one of Newton's steps for the reverse branch."""
    i_s, v_t = node.saturation_current, node.thermal_voltage
    total = conductance + node.gmin
    scale = total * v_t
    level = (conductance * node.rail - source + i_s) / scale
    ratio = i_s / scale
    log_ratio = _log(ratio)
    z = level + log_ratio
    large = z > F4(1)
    y = _log(z if large else F4(1))
    y = y if large else min(z, F4(0.5) * (z - F4(1)))
    y = _halley(_halley(y, z), z)
    omega = _exp(y)
    w = v_t * (y - log_ratio if omega > F4(1) else level - omega)
    deep = min(w, F4(-3) * v_t)
    root = F4(3 / math.e) * v_t / deep
    cubed = root * root * root
    grown = min(omega / ratio, F4(math.exp(-3)))
    w += i_s * (cubed + grown) / (total + F4(3) * i_s * cubed / deep)
    return node.rail - w


@formula
def _halley(y: F4, z: F4) -> F4:
    """One of Halley's steps on e^y + y = z."""
    e = _exp(y)
    error = e + y - z
    slope = e + F4(1)
    return y - F4(2) * error * slope / (F4(2) * slope * slope - error * e)


@formula
def _exp(x: F4) -> F4:
    """e^x, to float32's rounding; without branches, so that loops are vectorized. Source: Cephes, expf."""
    x = min(max(x, F4(-87)), F4(88))
    k = np.floor(x * F4(1.4426950408889634) + F4(0.5))
    r = x - k * F4(0.693359375) - k * F4(-2.12194440e-4)
    y = F4(1.9875691500e-4)
    y = y * r + F4(1.3981999507e-3)
    y = y * r + F4(8.3334519073e-3)
    y = y * r + F4(4.1665795894e-2)
    y = y * r + F4(1.6666665459e-1)
    y = y * r + F4(5.0000001201e-1)
    y = y * r * r + r + F4(1)
    return y * I4((I4(k) + I4(127)) << I4(23)).view(np.float32)


@formula
def _log(x: F4) -> F4:
    """Natural logarithm of normal positive numbers, to float32's rounding. Source: Cephes, logf."""
    bits = F4(x).view(np.int32)
    exponent = F4(I4((bits >> I4(23)) - I4(127)))
    mantissa = I4((bits & I4(0x7FFFFF)) | I4(0x3F800000)).view(np.float32)
    large = mantissa > F4(1.41421356)
    mantissa = mantissa * F4(0.5) if large else mantissa
    exponent = exponent + F4(1) if large else exponent
    r = mantissa - F4(1)
    y = F4(7.0376836292e-2)
    y = y * r + F4(-1.1514610310e-1)
    y = y * r + F4(1.1676998740e-1)
    y = y * r + F4(-1.2420140846e-1)
    y = y * r + F4(1.4249322787e-1)
    y = y * r + F4(-1.6668057665e-1)
    y = y * r + F4(2.0000714765e-1)
    y = y * r + F4(-2.4999993993e-1)
    y = y * r + F4(3.3333331174e-1)
    y = y * r * (r * r) + exponent * F4(-2.12194440e-4) - F4(0.5) * (r * r)
    return r + y + exponent * F4(0.693359375)
