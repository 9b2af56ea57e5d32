"""A network with crossbars of a kind defined here: everything is that of the dense network with the same resistors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, UserError, contrast
from eqprop_analog.devices import Clamp, NgspiceDiode
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.kernels import kernels_for
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.crossbars import Crossbar, registry
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import onto
from eqprop_analog.networks.resistive.power import power
from eqprop_analog.networks.resistive.truncated import TruncatedLearner
from eqprop_analog.spice.netlist import static_netlist

Array = np.ndarray
ROWS, COLUMNS = 12, 5


@dataclass(frozen=True, eq=False)
class Circulant(Crossbar):
    """G_ij = g[(j - i) mod columns] where that is less than the number of parameters, else nothing: each is shared by all rows.

    Or, with ``siemens``, the same without parameters.
    """

    name: ClassVar[str] = "circulant"
    conductance: Array
    size: tuple[int, int]
    siemens: float = 0.0

    @property
    def rows(self) -> int:
        return self.size[0]

    @property
    def columns(self) -> int:
        return self.size[1]

    @property
    def cells(self) -> int:
        return self.rows * (len(self.conductance) or 1)

    def _places(self) -> Iterator[tuple[Array, Array, Array]]:
        values = self.conductance if self.conductance.size else self.conductance.dtype.type([self.siemens])
        for k, g in enumerate(values):
            rows = np.arange(self.rows)
            yield rows, (rows + k) % self.columns, np.full(self.rows, g)

    def elements(self) -> tuple[Array, Array, Array]:
        row, column, siemens = (np.concatenate(each) for each in zip(*self._places(), strict=True))
        order = np.lexsort((column, row))
        row, column, siemens = (each[order] for each in (row, column, siemens))
        used = siemens > 0
        return row[used], column[used], siemens[used]

    def forward(self, drive: Array) -> Array:
        return drive @ self.matrix().astype(drive.dtype)

    def backward(self, volts: Array) -> Array:
        return volts @ self.matrix().astype(volts.dtype).T

    def gradient(self, mean: tuple[Array, Array], slope: tuple[Array, Array]) -> Array:
        found = np.zeros_like(self.conductance)
        for k, (rows, columns, _) in enumerate(self._places()):
            if k < len(found):
                drops = [volts[0][:, rows] - volts[1][:, columns] for volts in (mean, slope)]
                found[k] = (drops[0] * drops[1]).sum()
        return found

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        return 0, cell[0] % self.columns

    def check(self, name: str) -> None:
        if self.conductance.ndim != 1 or len(self.conductance) > self.columns:
            raise UserError(f"{name}: expected at most {self.columns} values, got shape {self.conductance.shape}")

    def renew(self, window: tuple[float, float]) -> int:
        if self.conductance.any() or not self.conductance.size:
            return 0
        self.conductance[:] = window[1] / 10
        return 1


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._KINDS, "circulant", Circulant)


def shared(depth: int = 3, diode=None) -> ResistiveNetwork:
    """Crossbars: shared parameters, fixed, then dense."""
    random = np.random.default_rng(0)
    kinds: list[Crossbar] = [
        Circulant(random.uniform(1e-7, 2e-6, 3), (ROWS, COLUMNS)),
        Circulant(np.zeros(0), (COLUMNS, COLUMNS), 2e-6),
    ]
    from eqprop_analog.networks.crossbars import Dense

    kinds = [*kinds[: depth - 1], Dense(random.uniform(1e-7, 2e-6, (COLUMNS, 3)))]
    return ResistiveNetwork(
        tuple(each.conductance for each in kinds),
        tuple(random.normal(0, 1e-7, each.columns) for each in kinds),
        diode or NgspiceDiode(),
        (4.0, 2.0)[: depth - 1],
        input_gain=3.0,
        crossbars=tuple(kinds),
    )


def as_dense(network: ResistiveNetwork) -> ResistiveNetwork:
    return replace(network, conductances=tuple(each.matrix() for each in network.crossbars), crossbars=())


def batch(samples: int = 5) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    return random.uniform(-1, 1, (samples, ROWS // 2)), np.eye(3)[random.integers(3, size=samples)]


def test_sizes_parameters_and_resistors():
    network = shared()
    network.validate()
    assert network.layers == as_dense(network).layers == (ROWS // 2, COLUMNS, COLUMNS, 3)
    assert [matrix.size for matrix in network.conductances] == [3, 0, 15]
    assert network.resistors_in_circuit == 3 * ROWS + COLUMNS + 15 == as_dense(network).resistors_in_circuit


def test_equilibria_energy_power_and_stiffness():
    network, (x, y) = shared(), batch()
    dense, beta = as_dense(network), 0.2 * shared().usual_beta()
    nudges = [Nudge(y, beta), Nudge(y, -beta)]
    solver = SurrogateSolver()
    for one, other in zip(solver.solve_phases(network, x, nudges), solver.solve_phases(dense, x, nudges), strict=True):
        one.require()
        for mine, theirs in zip(one.voltages, other.voltages, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    free = solver.solve(network, x)
    np.testing.assert_allclose(network.energy(x, free.voltages), dense.energy(x, free.voltages), rtol=1e-12)
    np.testing.assert_allclose(network.output_stiffness(), dense.output_stiffness(), rtol=1e-12)
    assert network.stiffness_bound() == pytest.approx(dense.stiffness_bound(), rel=1e-12)
    mine, theirs = (power(each, x, free.voltages) for each in (network, dense))
    np.testing.assert_allclose(mine.crossbars, theirs.crossbars, rtol=1e-9)
    assert mine.imbalance.max() < 1e-9


def test_wide_layers_are_solved_by_products_with_crossbars_alone():
    """More nodes than are eliminated by default."""
    random = np.random.default_rng(3)
    kinds = [
        Circulant(random.uniform(1e-7, 1e-6, 3), (8, 80)),
        Circulant(random.uniform(1e-7, 1e-6, 5), (80, 64)),
        Circulant(random.uniform(1e-7, 1e-6, 4), (64, 40)),
    ]
    kinds[0] = Circulant(random.uniform(1e-7, 1e-6, 80), (8, 80))
    network = ResistiveNetwork(
        tuple(each.conductance for each in kinds),
        tuple(np.zeros(each.columns) for each in kinds),
        amplifier_gain=(3.0, 2.0),
        crossbars=tuple(kinds),
    )
    x = random.uniform(-1, 1, (4, 4))
    mine, theirs = (SurrogateSolver().solve(each, x).require() for each in (network, as_dense(network)))
    for one, other in zip(mine.voltages, theirs.voltages, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_a_shared_conductances_gradient_is_the_sum_over_its_resistors():
    network, (x, y) = shared(), batch()
    dense, solver, beta = as_dense(network), SurrogateSolver(), 1e-3 * shared().usual_beta()
    plus, minus = (solver.solve(network, x, Nudge(y, b)) for b in (beta, -beta))
    free = solver.solve(network, x)
    exact = implicit_gradient(network, x, y, free)
    for found, whole in (
        (contrast(network, x, plus, minus), contrast(dense, x, plus, minus)),
        (exact, implicit_gradient(dense, x, y, free)),
    ):
        places = [(np.arange(ROWS), (np.arange(ROWS) + k) % COLUMNS) for k in range(3)]
        np.testing.assert_allclose(
            found["conductance_1"], [whole["conductance_1"][at].sum() for at in places], rtol=1e-9
        )
        assert found["conductance_2"].shape == (0,)
        np.testing.assert_allclose(found["conductance_3"], whole["conductance_3"], rtol=1e-9)
    for name, values in contrast(network, x, plus, minus).items():
        np.testing.assert_allclose(values, exact[name], rtol=1e-5, atol=1e-9 * np.abs(exact[name]).max(initial=0))


def test_the_netlist_has_every_resistor():
    network, (x, _) = shared(), batch(1)
    dense = as_dense(network)
    assert static_netlist(network.circuit(x, form="flat")) == static_netlist(dense.circuit(x, form="flat"))
    (mine, *_), (theirs, *_) = (each.circuit(x, form="norton").sections[0].elements for each in (network, dense))
    np.testing.assert_allclose(mine.amperes, theirs.amperes, rtol=1e-12)


def test_it_is_saved_and_read_with_its_kinds(tmp_path):
    network, (x, _) = shared(), batch()
    network.save(tmp_path / "net.npz")
    again = ResistiveNetwork.load(tmp_path / "net.npz")
    assert [each.name for each in again.crossbars] == ["circulant", "circulant", "dense"]
    for one, other in zip(*(SurrogateSolver().solve(each, x).voltages for each in (network, again)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [2, 3])
def test_training_in_place_is_training_on_phases(depth):
    x, y = batch(4)
    networks = [shared(depth, Clamp()) for _ in range(2)]
    rates = Rates((1e-13,) * depth, (1e-15,) * depth)
    rule = Rule(rates, 1e-7)
    assert isinstance(kernels_for(networks[0]), PlainKernels)
    learners = (
        TruncatedLearner(networks[0], rule, 6),
        PhaseLearner(networks[1], SurrogateSolver(sweeps=6, check_residual=False), rule),
    )
    for learner, network in zip(learners, networks, strict=True):
        before = [matrix.copy() for matrix in network.conductances]
        for _ in range(3):
            learner.learn(x, y)
        assert np.abs(network.conductances[0] - before[0]).max() > 1e-10
    for name, values in networks[0].arrays().items():
        np.testing.assert_allclose(values, networks[1].arrays()[name], rtol=1e-9, err_msg=name)


def test_a_chip_of_it_is_the_chip_of_the_dense_network():
    network, (x, y) = shared(), batch()
    solver, periphery = NonidealNewtonSolver(), Periphery(offset=0.01, forward_factor=1.02, source_resistance=1e3)
    chips = [NonidealNetwork(each, periphery, 50.0) for each in (network, as_dense(network))]
    phases = [solver.solve_phases(chip, x, [Nudge(y, b) for b in (1e-8, -1e-8)]) for chip in chips]
    for one, other in zip(*phases, strict=True):
        for mine, theirs in zip(one.require().voltages, other.voltages, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    plain = solver.solve(NonidealNetwork(network), x).require()
    for mine, theirs in zip(plain.voltages, SurrogateSolver().solve(network, x).voltages, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    assert contrast(chips[0], x, *phases[0][1:])["conductance_1"].shape == (3,)
    with pytest.raises(UserError, match="every cell"):
        implicit_gradient(chips[0], x, y, phases[0][0])


def test_a_chip_of_devices_refuses_shared_conductances():
    specification = Specification.of({"name": "any", "conductance": {"spread": {"factor": 0.3}}})
    for refused in (onto, lambda network, chip: Chip.drawn(chip, network, 0, 0)):
        with pytest.raises(UserError, match=r"crossbar 1.*circulant has 3 parameters for 36 cells"):
            refused(replace(shared(), conductance_window=(0.0, 1e-4)), specification)


def test_unsound_parameters_and_wrong_numbers_of_crossbars_are_named():
    network = shared()
    network.conductances[0][1] = -1e-6
    with pytest.raises(UserError, match=r"h1_1.*negative.*row 0, column 1 of layer 1"):
        network.validate()
    with pytest.raises(UserError, match="crossbars: expected one for each of 3"):
        replace(network, crossbars=network.crossbars[:2])
    with pytest.raises(UserError, match="crossbar 1: expected at most 5 values"):
        replace(network, conductances=(np.ones(7), *network.conductances[1:])).validate()
