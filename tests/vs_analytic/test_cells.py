"""Cells with nonlinear laws: consistency of each law, and arrays of them with wires against Kirchhoff's law cell by cell."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from eqprop_analog import UserError
from eqprop_analog.devices.cells import CELLS, CubicCell, SinhCell
from eqprop_analog.networks.crossbars.driven import DrivenCrossbar
from eqprop_analog.networks.crossbars.wired import WiredCrossbar

LAWS = [SinhCell(0.3), CubicCell(0.7)]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_odd_and_linear_at_small_drops_and_its_slope_and_cocontent_are_its_own(law):
    drops = np.array([-1.5, -0.2, -1e-9, 0.0, 1e-9, 0.4, 2.0])
    assert np.array_equal(law.volts(-drops), -law.volts(drops))
    np.testing.assert_allclose(law.volts(drops[2:5]), drops[2:5], rtol=1e-12)
    step = 1e-6
    np.testing.assert_allclose(
        (law.volts(drops + step) - law.volts(drops - step)) / (2 * step), law.slope(drops), rtol=1e-8
    )
    for drop in drops:
        assert law.cocontent(drop) == pytest.approx(quad(law.volts, 0, drop, epsabs=0, epsrel=1e-12)[0], rel=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_the_content_between_near_drops_keeps_the_digits_of_what_they_are_apart(law):
    middle, apart = np.array([-0.8, 0.3, 1.1]), np.array([0.4, 1e-14, -3e-17])
    expected = [quad(law.volts, -1.0, -0.6, epsabs=0, epsrel=1e-12)[0], *(law.volts(middle[1:]) * apart[1:])]
    np.testing.assert_allclose(law.difference(middle, apart), expected, rtol=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_a_large_scale_is_a_linear_cell(law):
    assert type(law)(1e6).volts(np.array(2.0)) == pytest.approx(2.0, rel=1e-11)


@pytest.mark.parametrize(("law", "at_scale"), [(SinhCell(0.4), np.sinh(1.0)), (CubicCell(0.4), 2.0)])
def test_the_scale_is_in_volts(law, at_scale):
    assert law.volts(np.array(0.4)) == pytest.approx(0.4 * at_scale)
    assert CELLS.from_table({"law": CELLS.name_of(type(law)), "scale": 0.4}) == law


@pytest.mark.parametrize("law", LAWS)
def test_one_cell_is_where_a_scalar_equation_puts_it(law):
    siemens, ohms, volts = 1e-3, 400.0, 1.7
    array = WiredCrossbar([[siemens]], ohms, cell=law)
    ports = np.array([[volts, 0.0]])
    drop = brentq(lambda u: volts - u - 2 * ohms * siemens * law.volts(u), 0, volts, xtol=1e-15, rtol=1e-14)
    assert array.drops(ports)[0, 0, 0] == pytest.approx(drop, abs=1e-13)
    np.testing.assert_allclose(array.currents(ports), siemens * law.volts(drop) * np.array([[1, -1]]), rtol=1e-12)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("ohms", [0.1, 30.0, 3e3])
def test_kirchhoffs_law_holds_at_every_node_of_every_tile(law, ohms):
    random = np.random.default_rng(1)
    matrix = 10 ** random.uniform(-6, -4, (7, 5)) * (random.random((7, 5)) < 0.8)
    array = WiredCrossbar(matrix, ohms, (4, 3), cell=law)
    ports = random.uniform(-1.5, 1.5, (2, 12))
    on_rows, on_columns = array.wires(ports)
    carried = matrix * law.volts(on_rows - on_columns)
    for sample in range(2):
        for rows, columns in array.tiles():
            u, w, i = on_rows[sample, rows, columns], on_columns[sample, rows, columns], carried[sample, rows, columns]
            along = -np.diff(u, axis=1, prepend=ports[sample, rows][:, None]) / ohms
            down = -np.diff(w, axis=0, append=ports[sample, 7 + columns.start : 7 + columns.stop][None]) / ohms
            left = along - i - np.pad(along[:, 1:], ((0, 0), (0, 1)))
            below = down - i - np.pad(down[:-1], ((1, 0), (0, 0)))
            assert max(np.abs(left).max(), np.abs(below).max()) * ohms < 1e-13
    into = array.currents(ports)
    np.testing.assert_allclose(into.sum(axis=1), 0, atol=1e-15)
    assert (np.abs(into) > np.abs(WiredCrossbar(matrix, ohms, (4, 3)).port_matrix @ ports.T).T).any()


def test_without_wires_every_cell_has_the_voltage_between_its_ports():
    array = WiredCrossbar(np.full((2, 3), 1e-6), 0.0, cell=SinhCell(0.5))
    ports = np.array([[1.0, -1.0, 0.0, 0.2, 0.4]])
    np.testing.assert_array_equal(array.drops(ports)[0], [[1.0, 0.8, 0.6], [-1.0, -1.2, -1.4]])


@pytest.mark.parametrize("kind", [SinhCell, CubicCell])
def test_numbers_of_numpy_are_written_as_spice_reads_them(kind):
    assert kind(np.float64(0.3)) == kind(0.3)
    assert kind(np.float64(0.3)).expression(np.float64(1e-6), "V(a,b)") == kind(0.3).expression(1e-6, "V(a,b)")
    assert "float" not in kind(np.float64(0.3)).expression(np.float64(1e-6), "V(a,b)")


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-9])
def test_a_scale_that_is_none_is_refused_by_its_name(scale):
    with pytest.raises(UserError, match="scale"):
        SinhCell(scale)


@pytest.mark.parametrize("law", ["sinh", SinhCell, 3.0])
def test_what_is_no_law_is_refused(law):
    with pytest.raises(UserError, match="cells: expected a law"):
        WiredCrossbar([[1e-6]], 1.0, cell=law)


def test_what_is_linear_alone_is_refused_for_cells_that_are_not():
    array = WiredCrossbar([[1e-6]], 1.0, cell=SinhCell(0.5))
    with pytest.raises(UserError, match="not a linear function"):
        _ = array.port_matrix
    with pytest.raises(UserError, match="cannot be eliminated"):
        DrivenCrossbar(array, np.zeros(1))
    with pytest.raises(UserError, match="larger scale"):
        WiredCrossbar([[1e-4]], 1.0, cell=SinhCell(1e-3)).wires(np.array([[1e5, 0.0]]))
