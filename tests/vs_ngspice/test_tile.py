"""An array with wires in ngspice has the voltages that follow from its port matrix."""

import numpy as np
import pytest

from eqprop_analog.devices.cells import CubicCell, SinhCell
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.nonideal.netlist import compile_tile
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import Workers


@pytest.mark.parametrize(("rows", "columns", "ohms"), [(6, 4, 50.0), (3, 7, 2e4), (1, 1, 1.0)])
def test_columns_of_an_array_alone_are_at_the_voltages_that_its_port_matrix_gives(rows, columns, ohms):
    random = np.random.default_rng(rows)
    array = WiredCrossbar(10 ** random.uniform(-7, -4, (rows, columns)), ohms)
    held, into = random.uniform(-5, 5, (9, rows)), random.normal(0, 1e-5, (9, columns))
    ports = array.port_matrix
    expected = np.linalg.solve(ports[rows:, rows:], (into - held @ ports[:rows, rows:]).T).T
    work = Workers(1, 60)
    try:
        measured = work.result(work.submit(libngspice.sweep, compile_tile(array, held, into)))
    finally:
        work.close()
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("law", [SinhCell(0.4), CubicCell(0.6)])
@pytest.mark.parametrize("ohms", [0.0, 20.0, 5e3])
def test_cells_with_a_law_carry_in_ngspice_what_leaves_the_columns(law, ohms):
    random = np.random.default_rng(3)
    rows, columns = 7, 5
    array = WiredCrossbar(10 ** random.uniform(-6, -4, (rows, columns)), ohms, (4, 3), cell=law)
    held, into = random.uniform(-1, 1, (4, rows)), random.normal(0, 1e-5, (4, columns))
    work = Workers(1, 60)
    try:
        measured = work.result(work.submit(libngspice.sweep, compile_tile(array, held, into)))
    finally:
        work.close()
    stiffness = array.conductance.sum(axis=0)
    left = array.currents(np.concatenate([held, measured], axis=1))[:, rows:] - into
    assert np.abs(left / stiffness).max() < 1e-9
    linear = WiredCrossbar(array.conductance, ohms, (4, 3)).port_matrix
    without = np.linalg.solve(linear[rows:, rows:], (into - held @ linear[:rows, rows:]).T).T
    assert np.abs(without - measured).max() > 1e-3  # the law matters


def test_a_voltage_that_is_none_is_refused():
    with pytest.raises(UserError, match="not finite"):
        compile_tile(WiredCrossbar(np.full((2, 2), 1e-6), 1.0), np.array([[np.nan, 1.0]]), np.zeros((1, 2)))
