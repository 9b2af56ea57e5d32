"""Nested dissection of an array with wires against elimination column by column, and in its limits."""

import importlib.util

import numpy as np
import pytest

from eqprop_analog.networks.crossbars.dissection import BASE, plan
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.crossbars.wires import couplings

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="dissection is compiled by numba")


def cells(seed, rows, columns):
    """Half of the cells open, as in a trained crossbar."""
    return np.random.default_rng(seed).uniform(-1e-8, 2e-8, (rows, columns)).clip(0)


def dissected(matrix, ohms):
    from eqprop_analog.kernels.numba.dissection import couplings as compiled

    return compiled(matrix, ohms)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (8, 8), (9, 8), (16, 24), (13, 21), (32, 100), (100, 10)])
@pytest.mark.parametrize("ohms", [1e-3, 1e4, 1e8])
def test_every_coupling_has_all_its_digits_whatever_the_wires(shape, ohms):
    """r G N² is 1e-10 to 1e5: no accuracy is lost if cells conduct far less or far more than wires."""
    matrix = cells(sum(shape), *shape)
    expected = couplings(matrix, ohms)
    found = dissected(matrix, ohms)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)
    np.testing.assert_array_equal(found, found.T)


def test_thin_wires_leave_the_cells_alone_between_the_ports():
    matrix = cells(0, 24, 17)
    found = dissected(matrix, 1e-6)
    np.testing.assert_allclose(found[:24, 24:], matrix, rtol=1e-10, atol=1e-20)


def test_a_crossbar_of_several_tiles_is_the_same_compiled():
    matrix = cells(1, 40, 24)
    plain, compiled = (WiredCrossbar(matrix, 3e4, (16, 24), compiled=each) for each in (False, True))
    np.testing.assert_allclose(compiled.port_matrix, plain.port_matrix, rtol=1e-12, atol=1e-24)


@pytest.mark.parametrize("shape", [(1, 1), (40, 24), (129, 33)])
def test_without_the_rows_among_each_other_the_rest_is_the_same(shape):
    matrix = cells(4, *shape)
    plain, compiled = (WiredCrossbar(matrix, 3e4, (64, 24), compiled=each) for each in (False, True))
    for found, expected in zip(compiled.to_columns, plain.to_columns, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-24)
    rows = shape[0]
    np.testing.assert_array_equal(plain.to_columns[0], -plain.port_matrix[:rows, rows:])


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (40, 35)])
def test_the_way_back_down_gives_every_cell_its_voltage(shape):
    """Products of drops, summed over more samples than a leaf processes at once, against sparse factorization."""
    matrix = cells(5, *shape)
    plain, compiled = (WiredCrossbar(matrix, 1e6, (24, 40), compiled=each) for each in (False, True))
    ports = np.random.default_rng(0).uniform(-1, 1, (2, 7, sum(shape)))
    expected = plain.products_of_drops(*ports)
    np.testing.assert_allclose(
        compiled.products_of_drops(*ports), expected, rtol=0, atol=1e-12 * np.abs(expected).max()
    )


def test_nothing_is_left_of_one_tile_for_the_next():
    first, second = cells(2, 20, 12), cells(3, 20, 12)
    alone = dissected(first, 1e4)
    dissected(second, 1.0)
    np.testing.assert_array_equal(dissected(first, 1e4), alone)


@pytest.mark.parametrize(("rows", "columns"), [(128, 100), (129, 1), (7, 300)])
def test_a_plan_eliminates_every_inner_end_once_and_keeps_the_ports(rows, columns):
    found = plan(rows, columns)
    inner = found.steps[:, 6].sum()
    ends = (found.leaves >= 0).sum()
    loose = rows + columns  # nothing is joined to these at the right and at the top, so that they are there once
    assert ends - (2 * inner - loose) == rows + columns == found.steps[-1, 5]
    assert found.leaves.max() < 4 * BASE
    assert found.runs[:, 1].sum() == found.steps[:, 5].sum()  # every end of a block is of one of its parts
