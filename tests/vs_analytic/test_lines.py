"""Large arrays by line solves against direct factorization, conservation laws, and the stated error bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.devices.cells import CubicCell, SinhCell
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.lines import LineSolver
from eqprop_analog.networks.crossbars.wired import WiredCrossbar


def array(seed, rows, columns, ohms=1e4, scale=1e-7, **settings):
    """Cells, a third of them open."""
    matrix = np.random.default_rng(seed).uniform(-0.5 * scale, scale, (rows, columns)).clip(0)
    return WiredCrossbar(matrix, ohms, settings.pop("tile", (rows, columns)), **settings)


def ports(seed, crossbar, samples=2):
    return np.random.default_rng(seed).uniform(-1, 1, (samples, sum(crossbar.shape)))


@pytest.mark.parametrize("cell", [None, SinhCell(0.1), CubicCell(0.5)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (9, 1), (14, 23)])
@pytest.mark.parametrize("ohms", [1e-2, 1e4, 1e8])
def test_every_wire_is_where_direct_factorization_puts_it(rows, columns, ohms, cell):
    crossbar = array(rows + columns, rows, columns, ohms, cell=cell)
    volts = ports(1, crossbar)
    found = LineSolver().solve(crossbar, volts).require()
    for mine, direct in zip((found.row_wires, found.column_wires), crossbar.wires(volts), strict=True):
        off = np.abs(mine - direct).max(axis=(1, 2))
        assert (off <= found.bound + 1e-12).all()
        assert (off < 1e-10).all()


def test_a_product_of_wires_and_cells_where_plain_sweeps_diverge_converges():
    """r G N² = 1e5: the cells connect both wires, which have the same voltage far from the ports."""
    crossbar = array(0, 100, 100, ohms=1e3, scale=1e-2, cell=SinhCell(0.2))
    found = LineSolver().solve(crossbar, ports(0, crossbar, 1)).require()
    for mine, direct in zip((found.row_wires, found.column_wires), crossbar.wires(ports(0, crossbar, 1)), strict=True):
        np.testing.assert_allclose(mine, direct, rtol=0, atol=1e-9)


def test_tiles_and_their_links_are_solved_each_by_itself():
    crossbar = array(3, 20, 13, tile=(8, 8), link_resistance=2e3, cell=SinhCell(0.3))
    volts = ports(3, crossbar)
    found = LineSolver().solve(crossbar, volts)
    for mine, direct in zip((found.row_wires, found.column_wires), crossbar.wires(volts), strict=True):
        np.testing.assert_allclose(mine, direct, rtol=0, atol=1e-11)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12), st.floats(-2, 7))
def test_currents_that_go_in_come_out_and_no_voltage_is_beyond_the_ports(seed, rows, columns, decade):
    crossbar = array(seed, rows, columns, 10.0**decade, cell=SinhCell(0.15))
    volts = ports(seed, crossbar)
    found = LineSolver().solve(crossbar, volts).require()
    into_rows = (volts[:, :rows] - found.row_wires[:, :, 0]).sum(axis=1)
    into_columns = (volts[:, rows:] - found.column_wires[:, -1, :]).sum(axis=1)
    np.testing.assert_allclose(into_rows, -into_columns, rtol=0, atol=1e-11 * rows * columns)
    for wires in (found.row_wires, found.column_wires):
        assert wires.max() <= volts.max() + 1e-10
        assert wires.min() >= volts.min() - 1e-10


def test_scaling_cells_up_and_wires_down_changes_no_voltage():
    crossbar = array(4, 9, 14, cell=CubicCell(0.4))
    scaled = replace(crossbar, conductance=1e4 * crossbar.conductance, wire_resistance=1.0)
    one, other = (LineSolver().solve(each, ports(4, crossbar)) for each in (crossbar, scaled))
    np.testing.assert_allclose(one.row_wires, other.row_wires, rtol=0, atol=1e-12)


def test_the_same_twice_to_the_last_bit():
    crossbar = array(5, 30, 20, cell=SinhCell(0.2))
    one, other = (LineSolver().solve(crossbar, ports(5, crossbar)) for _ in range(2))
    np.testing.assert_array_equal(one.row_wires, other.row_wires)


def test_a_solution_that_is_stopped_early_is_not_converged_and_its_bound_holds():
    crossbar = array(6, 20, 20, ohms=1e6, cell=SinhCell(0.05))
    volts = ports(6, crossbar)
    found = LineSolver(max_iterations=1).solve(crossbar, volts)
    assert set(found.status.tolist()) == {Status.STALLED}
    direct = crossbar.wires(volts)
    off = np.maximum(
        *(
            np.abs(mine - each).max(axis=(1, 2))
            for mine, each in zip((found.row_wires, found.column_wires), direct, strict=True)
        )
    )
    assert (off <= found.bound).all()
    with pytest.raises(UserError, match="STALLED"):
        found.require()


def test_a_bound_below_rounding_is_not_claimed():
    crossbar = array(7, 40, 40, ohms=1.0, scale=1e-4)
    assert set(LineSolver(tolerance=1e-15).solve(crossbar, ports(7, crossbar)).status.tolist()) == {Status.STALLED}


@pytest.mark.parametrize("wrong", ["ideal", "shape", "nan"])
def test_what_is_no_array_or_no_voltage_is_refused(wrong):
    crossbar = array(8, 4, 5, ohms=0.0 if wrong == "ideal" else 1.0)
    volts = np.full((1, 8 if wrong == "shape" else 9), np.nan if wrong == "nan" else 0.5)
    with pytest.raises(UserError):
        LineSolver().solve(crossbar, volts)
