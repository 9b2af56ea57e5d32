"""CONVERGED against 60 digits of decimal arithmetic: no certified voltage is farther from v* than 1e-9 of the largest."""

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from eqprop_analog import (
    Clamp,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    Shockley,
    Status,
    SurrogateSolver,
)
from eqprop_analog.devices import Antiparallel, Law
from eqprop_analog.networks.resistive import elimination

DIGITS = 60
LAWS: dict[str, Law] = {
    "ngspice": NgspiceDiode(),
    "shockley": Shockley(emission=1.5),
    "clamp": Clamp(),
    "stand-in": Clamp(0.1, on_resistance=1e-6),
    "piecewise": PiecewiseLinear(),
    "pair": Antiparallel(NgspiceDiode(rail=-0.1)),
}


def big(value: Any) -> Decimal:
    return Decimal(float(value))


def junction(law: Any, w: Decimal) -> tuple[Decimal, Decimal]:
    """I(w) and dI/dw of one diode, from its equation."""
    if isinstance(law, Clamp):
        slope = 1 / big(law.on_resistance) if w > 0 else Decimal(0)
        return slope * w, slope
    if isinstance(law, PiecewiseLinear):
        on, off, knee = big(law.on_resistance), big(law.off_resistance), big(law.threshold)
        return (w / off, 1 / off) if w < knee else (knee / off + (w - knee) / on, 1 / on)
    scale, current = big(law.thermal_voltage), big(law.saturation_current)
    if isinstance(law, NgspiceDiode) and w < -3 * scale:
        cubed = (3 * scale / (w * Decimal(1).exp())) ** 3
        return -current * (1 + cubed) + big(law.gmin) * w, 3 * current * cubed / w + big(law.gmin)
    grown = (w / scale).exp()
    gmin = big(law.gmin) if isinstance(law, NgspiceDiode) else Decimal(0)
    return current * (grown - 1) + gmin * w, current * grown / scale + gmin


def drawn(law: Law, polarity: int, v: Decimal) -> tuple[Decimal, Decimal]:
    """i(v) and di/dv at a hidden node."""
    if isinstance(law, Antiparallel):
        (up, a), (down, b) = (junction(law.law, big(law.rail) - s * v) for s in (1, -1))
        return down - up, a + b
    current, slope = junction(law, big(law.rail) - polarity * v)
    return -polarity * current, slope


class Oracle:
    """Kirchhoff's law of one sample of a layered network, with the exact values of all float64 numbers."""

    def __init__(self, network: ResistiveNetwork, inputs: np.ndarray, nudge: Nudge | None, sample: int) -> None:
        self.law = network.diode
        sizes = network.layers[1:]
        at = np.cumsum((0, *sizes))
        self.size, self.hidden = int(at[-1]), int(at[-2])
        self.polarity = [int(p) for l in range(1, network.depth) for p in network.polarity(l)]
        zero = Decimal(0)
        self.matrix = [[zero] * self.size for _ in range(self.size)]
        self.source = [big(b) for bias in network.biases for b in bias]
        gains = [Decimal(1), *(big(gain) for gain in network.amplifier_gain)]
        rows = [big(network.input_gain) * big(x) for x in inputs[sample]]
        rows = [*rows, *(-x for x in rows), *([big(network.bias_row)] if network.bias_row else [])]
        for layer, matrix in enumerate(network.conductances):
            for (i, j), value in np.ndenumerate(matrix):
                conductance, to = big(value), int(at[layer]) + j
                self.matrix[to][to] += conductance
                if layer == 0:
                    self.source[to] += conductance * rows[i]
                else:
                    of = int(at[layer - 1]) + i
                    self.matrix[to][of] -= gains[layer] * conductance
                    self.matrix[of][of] += conductance
                    self.matrix[of][to] -= conductance / gains[layer]
        if nudge is not None:
            for k, target in enumerate(nudge.target[sample % len(nudge.target)]):
                self.matrix[self.hidden + k][self.hidden + k] += big(nudge.beta)
                self.source[self.hidden + k] += big(nudge.beta) * big(target)

    def distance(self, start: np.ndarray) -> float:
        """Largest |v - v*|, volts, v* by Newton's method from ``start``."""
        with localcontext() as context:
            context.prec = DIGITS
            begin = [big(v) for v in start]
            v, held = list(begin), self._held(begin)
            for _ in range(60):
                step = self._step(v, held)
                v = [a + b for a, b in zip(v, step, strict=True)]
                if held is not None:
                    changed = self._rails(v, held)
                    if not changed and max(map(abs, step)) < Decimal("1e-45"):
                        break
                elif max(map(abs, step)) < Decimal("1e-45"):
                    break
            else:
                raise AssertionError("the oracle did not converge")
            return float(max(abs(a - b) for a, b in zip(v, begin, strict=True)))

    def _held(self, v: list[Decimal]) -> list[bool] | None:
        if not (isinstance(self.law, Clamp) and self.law.on_resistance == 0):
            return None
        return [p * v[j] <= big(self.law.rail) for j, p in enumerate(self.polarity)]

    def _rails(self, v: list[Decimal], held: list[bool]) -> bool:
        """Release nodes whose clamp would have to pull, and hold those beyond their clamp."""
        changed = False
        for j, p in enumerate(self.polarity):
            inward = p * (self.source[j] - sum(g * u for g, u in zip(self.matrix[j], v, strict=True)))
            wanted = inward < 0 if held[j] else p * v[j] < big(self.law.rail)
            changed, held[j] = changed or wanted != held[j], wanted
        return changed

    def _step(self, v: list[Decimal], held: list[bool] | None) -> list[Decimal]:
        rows = [list(row) for row in self.matrix]
        right = [s - sum(g * u for g, u in zip(row, v, strict=True)) for s, row in zip(self.source, rows, strict=True)]
        for j in range(self.hidden):
            if held is None:
                current, slope = drawn(self.law, self.polarity[j], v[j])
                right[j], rows[j][j] = right[j] - current, rows[j][j] + slope
            elif held[j]:
                rows[j] = [Decimal(int(k == j)) for k in range(self.size)]
                right[j] = self.polarity[j] * big(self.law.rail) - v[j]
        return solved(rows, right)


def solved(rows: list[list[Decimal]], right: list[Decimal]) -> list[Decimal]:
    """Gaussian elimination with partial pivoting."""
    size = len(right)
    table = [[*row, b] for row, b in zip(rows, right, strict=True)]
    for k in range(size):
        pivot = max(range(k, size), key=lambda r: abs(table[r][k]))
        table[k], table[pivot] = table[pivot], table[k]
        for r in range(k + 1, size):
            factor = table[r][k] / table[k][k]
            if factor:
                table[r] = [a - factor * b for a, b in zip(table[r], table[k], strict=True)]
    found = [Decimal(0)] * size
    for k in reversed(range(size)):
        rest = sum(table[k][c] * found[c] for c in range(k + 1, size))
        found[k] = (table[k][size] - rest) / table[k][k]
    return found


def error(network: ResistiveNetwork, inputs: np.ndarray, phase: Any, sample: int) -> float:
    """|v - v*| over the larger of 1 V and the circuit's largest voltage."""
    voltages = np.concatenate([v[sample] for v in phase.voltages])
    scale = max(1.0, np.abs(network.input_gain * inputs[sample]).max(), np.abs(voltages).max())
    return Oracle(network, inputs, phase.nudge, sample).distance(voltages) / scale


def weakly_tied(ratio: float, law: Law, seed: int) -> ResistiveNetwork:
    random = np.random.default_rng(seed)
    network = ResistiveNetwork.dense([3, 4, 2], diode=law)
    for matrix in network.conductances:
        matrix[...] = random.uniform(0.1, 1, matrix.shape) * 1e-6
    network.conductances[0][...] *= ratio
    return network


def decades(law: Law, seed: int, over: float = 16.0) -> ResistiveNetwork:
    random = np.random.default_rng(seed)
    network = ResistiveNetwork.dense([3, 5, 4, 2], diode=law, amplifier_gain=(3.0, 1.0))
    for matrix in network.conductances:
        matrix[...] = 10.0 ** random.uniform(-4 - over, -4, matrix.shape)
    return network


def nearly_indefinite(closeness: float, law: Law, seed: int) -> tuple[ResistiveNetwork, Nudge]:
    network = weakly_tied(1.0, law, seed)
    bound = np.linalg.eigvalsh(network.output_stiffness())[0]
    return network, Nudge([[0.9, -0.2]], -bound * (1 - closeness))


def require_certified_right(
    network: ResistiveNetwork, nudge: Nudge | None = None, seed: int = 0, samples: int = 3
) -> list[Status]:
    """Fails if a certified sample of the surrogate's phase is wrong; returns the statuses of its samples."""
    inputs = np.random.default_rng(seed).uniform(-1, 1, (samples, network.layers[0]))
    phase = SurrogateSolver().solve(network, inputs, nudge)
    for sample in np.flatnonzero(phase.status == Status.CONVERGED):
        assert error(network, inputs, phase, int(sample)) <= 1e-9
    return phase.status.tolist()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("ratio", [1e-6, 1e-9, 1e-12, 1e-15])
def test_groups_of_nodes_that_are_weakly_tied(law: str, ratio: float):
    for seed in range(3):
        statuses = require_certified_right(weakly_tied(ratio, LAWS[law], seed))
        assert set(statuses) <= {Status.CONVERGED, Status.ILL_CONDITIONED}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("closeness", [1e-3, 1e-6, 1e-9, 1e-12, 1e-14])
def test_nudges_near_the_bound_of_definiteness(law: str, closeness: float):
    for seed in range(3):
        statuses = require_certified_right(*nearly_indefinite(closeness, LAWS[law], seed))
        assert set(statuses) <= {Status.CONVERGED, Status.ILL_CONDITIONED, Status.STALLED}
        if closeness >= 1e-9:
            assert set(statuses) == {Status.CONVERGED}


@pytest.mark.parametrize("closeness", [1e-6, 1e-9, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15])
@pytest.mark.parametrize("layers", [(2, 2), (3, 2, 1)])
def test_a_nudge_that_takes_almost_all_of_an_outputs_conductance(layers: tuple[int, ...], closeness: float):
    """D + beta is then only as accurate as D; large voltages alone are not a failure."""
    for seed in range(4):
        network = ResistiveNetwork.dense(layers, seed)
        for matrix in network.conductances:
            matrix[...] = np.random.default_rng(seed).uniform(0.1, 1, matrix.shape) * 1e-6
        bound = np.linalg.eigvalsh(network.output_stiffness())[0]
        target = [[0.3, -0.7][: layers[-1]]]
        statuses = require_certified_right(network, Nudge(target, -bound * (1 - closeness)))
        if closeness >= 1e-6:
            assert set(statuses) == {Status.CONVERGED}


@pytest.mark.parametrize("law", LAWS)
def test_conductances_over_sixteen_decades(law: str):
    for seed in range(3):
        statuses = require_certified_right(decades(LAWS[law], seed))
        assert Status.CONVERGED in statuses
        assert set(statuses) <= {Status.CONVERGED, Status.ILL_CONDITIONED}


def test_matrices_that_stay_singular_when_their_diagonal_grows_by_a_rounding_are_solved_too():
    lost = np.array([[1.0, -1.0], [-1.0, 1.0]])
    matrices = np.stack([lost, lost - 2 * np.finfo(float).eps * np.eye(2), np.zeros((2, 2))])
    assert np.isfinite(elimination.solved(matrices, np.ones((3, 2)))).all()
