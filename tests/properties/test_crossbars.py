"""Every kind of crossbar against its list of resistors."""

from collections.abc import Callable

import numpy as np
import pytest

from eqprop_analog import UserError
from eqprop_analog.networks.crossbars import AveragePooling, Convolution, Crossbar, Dense, crossbar_from

Array = np.ndarray
BATCH = 3


def dense(random: np.random.Generator) -> Crossbar:
    return Dense((random.random((8, 5)) < 0.7) * random.uniform(1e-7, 1e-5, (8, 5)))


def dense_with_bias_row(random: np.random.Generator) -> Crossbar:
    return Dense(random.uniform(1e-7, 1e-5, (9, 4)))


def sparse(random: np.random.Generator, shape: tuple[int, int]) -> Array:
    return (random.random(shape) < 0.7) * random.uniform(1e-7, 1e-5, shape)


def convolution(random: np.random.Generator) -> Crossbar:
    return Convolution(sparse(random, (2 * 9, 4)), (2, 5, 6), 3)


def convolution_of_inputs(random: np.random.Generator) -> Crossbar:
    """With a stride that leaves one row unused, and a bias row."""
    return Convolution(sparse(random, (4 * 4 + 1, 3)), (4, 5, 4), 2, stride=2, bias_row=True)


def padded_convolution(random: np.random.Generator) -> Crossbar:
    return Convolution(sparse(random, (2 * 9 + 1, 3)), (2, 4, 5), 3, stride=2, padding=1, bias_row=True)


def average_pooling(random: np.random.Generator) -> Crossbar:
    return AveragePooling(np.zeros(0), (2, 5, 4), 2, 3e-6)


KINDS: dict[str, Callable[[np.random.Generator], Crossbar]] = {
    "dense": dense,
    "dense, bias row": dense_with_bias_row,
    "convolution": convolution,
    "convolution of inputs, stride, bias row": convolution_of_inputs,
    "convolution, padding": padded_convolution,
    "average pooling": average_pooling,
}


@pytest.fixture(params=KINDS)
def crossbar(request: pytest.FixtureRequest) -> Crossbar:
    return KINDS[request.param](np.random.default_rng(1))


@pytest.fixture
def volts(crossbar: Crossbar) -> list[tuple[Array, Array]]:
    """Random voltages of rows and columns, twice."""
    random = np.random.default_rng(2)
    return [
        (random.uniform(-1, 1, (BATCH, crossbar.rows)), random.uniform(-1, 1, (BATCH, crossbar.columns)))
        for _ in range(2)
    ]


def test_currents_and_sums_are_those_of_its_resistors(crossbar, volts):
    row, column, siemens = crossbar.elements()
    assert (siemens > 0).all()
    assert len(siemens) == crossbar.resistors <= crossbar.cells
    (drive, ends), _ = volts
    into = np.zeros((BATCH, crossbar.columns))
    back = np.zeros((BATCH, crossbar.rows))
    for i, j, g in zip(row, column, siemens, strict=True):
        into[:, j] += g * drive[:, i]
        back[:, i] += g * ends[:, j]
    sums = np.bincount(row, siemens, crossbar.rows), np.bincount(column, siemens, crossbar.columns)
    close = {"rtol": 1e-12, "atol": 1e-20}
    np.testing.assert_allclose(crossbar.forward(drive), into, **close)
    np.testing.assert_allclose(crossbar.backward(ends), back, **close)
    np.testing.assert_allclose(crossbar.row_sums(), sums[0], **close)
    np.testing.assert_allclose(crossbar.column_sums(), sums[1], **close)
    np.testing.assert_allclose(drive @ crossbar.matrix(), into, **close)


def test_the_gradient_is_the_derivative_of_the_power_in_its_resistors(crossbar, volts):
    """P = Σ g (a - v)(a' - v') is linear in every parameter."""
    (drive, ends), (drive_slope, ends_slope) = volts
    found = crossbar.gradient(*volts)
    assert found.shape == crossbar.conductance.shape

    def power(other: Crossbar) -> float:
        row, column, siemens = other.elements()
        drops = (drive[:, row] - ends[:, column]) * (drive_slope[:, row] - ends_slope[:, column])
        return float((drops * siemens).sum())

    for cell in np.ndindex(crossbar.conductance.shape):
        changed = crossbar.conductance.copy()
        changed[cell] += 1e-6
        slope = (power(crossbar.of(changed)) - power(crossbar)) / 1e-6
        assert found[cell] == pytest.approx(slope, rel=1e-8, abs=1e-9)


def test_rows_at_plus_and_minus_x_give_what_rows_in_general_give(crossbar, volts):
    inputs = volts[0][0][:, : crossbar.rows // 2]
    bias = 0.7 if crossbar.rows % 2 else 0.0
    extra = np.full((BATCH, crossbar.rows % 2), bias)
    rows, ends, slope = np.concatenate([inputs, -inputs, extra], axis=1), volts[0][1], volts[1][1]
    found = crossbar.mirrored(inputs)
    if bias:
        found = found + bias * crossbar.row(-1)
    np.testing.assert_allclose(found, crossbar.forward(rows), rtol=1e-12, atol=1e-18)
    np.testing.assert_allclose(
        crossbar.mirrored_gradient(inputs, bias, ends, slope),
        crossbar.gradient((rows, ends), (np.zeros_like(rows), slope)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_it_follows_what_is_written_into_its_parameters(crossbar, volts):
    before = crossbar.forward(volts[0][0])
    crossbar.conductance[...] *= 2
    np.testing.assert_allclose(
        crossbar.forward(volts[0][0]), (2 if crossbar.conductance.size else 1) * before, rtol=1e-12
    )


def test_its_table_and_values_make_it_again(crossbar, volts):
    again = crossbar_from(crossbar.table(), crossbar.conductance)
    assert type(again) is type(crossbar)
    np.testing.assert_array_equal(again.forward(volts[0][0]), crossbar.forward(volts[0][0]))
    assert crossbar.astype(np.float32).forward(volts[0][0].astype(np.float32)).dtype == np.float32


def test_parameters_have_places_in_the_circuit(crossbar):
    row, column, _ = crossbar.elements()
    resistors = set(zip(row.tolist(), column.tolist(), strict=True))
    for cell in np.argwhere(crossbar.conductance > 0).tolist():
        assert crossbar.place(tuple(cell)) in resistors


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(UserError, match="dense"):
        crossbar_from({"crossbar": "dens"}, np.ones((2, 1)))


def test_a_kernel_that_fits_nowhere_is_refused():
    with pytest.raises(UserError, match="7 x 7"):
        Convolution(np.ones((49, 1)), (1, 6, 6), 7)
    with pytest.raises(UserError, match="padding"):
        Convolution(np.ones((4, 1)), (1, 6, 6), 2, padding=2)
    with pytest.raises(UserError, match="stride"):
        Convolution(np.ones((4, 1)), (1, 6, 6), 2, stride=0)
    with pytest.raises(UserError, match=r"crossbar 2.*4 conductances"):
        Convolution(np.ones((5, 1)), (1, 6, 6), 2).check("crossbar 2")
    with pytest.raises(UserError, match="3 x 3"):
        AveragePooling(np.zeros(0), (1, 2, 2), 3, 1e-6)
    with pytest.raises(UserError, match="siemens"):
        AveragePooling(np.zeros(0), (1, 2, 2), 2, 0.0)


def test_a_shared_kernel_is_a_resistor_at_every_place():
    """5 x 5 kernels with strides of 2 over an image of 28 x 28 and its negative: 12 x 12 places."""
    kernel = Convolution(np.full((50, 3), 1e-6), (2, 28, 28), 5, stride=2)
    assert kernel.places == (12, 12)
    assert kernel.free_parameters == 150
    assert kernel.resistors == 150 * 144 == len(kernel.elements()[0])
