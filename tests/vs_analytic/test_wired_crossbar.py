"""A crossbar with wires against exact arithmetic, dense nodal analysis, closed forms of ladders, and a published example."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import UserError
from eqprop_analog.networks.crossbars.driven import DrivenCrossbar
from eqprop_analog.networks.crossbars.square import full
from eqprop_analog.networks.crossbars.wired import WiredCrossbar

Array = np.ndarray
SOME = settings(max_examples=25)
SIZES = st.integers(1, 9)
SEEDS = st.integers(0, 10_000)
OHMS = st.sampled_from([1e-3, 0.5, 7.0, 1e3, 1e6])


def cells(seed: int, rows: int, columns: int, empty: float = 0.2) -> Array:
    """Three decades around 3 µS, some cells 0."""
    random = np.random.default_rng(seed)
    return (random.random((rows, columns)) >= empty) * 10 ** random.uniform(-7, -4, (rows, columns))


def resistors(conductance: Array, ohms: float) -> list[tuple[object, object, float]]:
    """(node, node, siemens) of all resistors of one array, cell by cell."""
    rows, columns = conductance.shape
    found: list[tuple[object, object, float]] = []
    for i in range(rows):
        for j in range(columns):
            found.append((("r", i, j), ("c", i, j), conductance[i, j]))
            found.append((("row", i) if j == 0 else ("r", i, j - 1), ("r", i, j), 1 / ohms))
            found.append((("c", i, j), ("column", j) if i == rows - 1 else ("c", i + 1, j), 1 / ohms))
    return found


def laplacian(edges: list[tuple[object, object, float]], ports: list[object]) -> tuple[Array, list[object]]:
    """Nodal matrix of a list of resistors, ports first, and its nodes."""
    nodes = [*ports, *sorted({n for one, other, _ in edges for n in (one, other)} - set(ports), key=str)]
    index = {node: k for k, node in enumerate(nodes)}
    matrix = np.zeros((len(nodes), len(nodes)))
    for one, other, siemens in edges:
        a, b = index[one], index[other]
        matrix[a, a] += siemens
        matrix[b, b] += siemens
        matrix[a, b] -= siemens
        matrix[b, a] -= siemens
    return matrix, nodes


def ports_of(rows: int, columns: int) -> list[object]:
    return [*(("row", i) for i in range(rows)), *(("column", j) for j in range(columns))]


def effective(values: Array | float, ohms: float, segments: Array | float) -> Array:
    return np.asarray(1 / (1 / np.asarray(values) + ohms * np.asarray(segments)))


@SOME
@given(SEEDS, SIZES, SIZES, OHMS)
def test_ports_and_wires_are_those_of_a_dense_nodal_solution(seed, rows, columns, ohms):
    conductance = cells(seed, rows, columns)
    ports = ports_of(rows, columns)
    matrix, nodes = laplacian(resistors(conductance, ohms), ports)
    n = len(ports)
    volts = np.random.default_rng(seed).uniform(-1, 1, (2, n))
    inside = np.linalg.solve(matrix[n:, n:], -matrix[n:, :n] @ volts.T).T
    crossbar = WiredCrossbar(conductance, ohms)

    by_name = dict(zip(nodes[n:], inside.T, strict=True))
    on_rows, on_columns = crossbar.wires(volts)
    for i in range(rows):
        for j in range(columns):
            np.testing.assert_allclose(on_rows[:, i, j], by_name["r", i, j], atol=1e-9)
            np.testing.assert_allclose(on_columns[:, i, j], by_name["c", i, j], atol=1e-9)

    direct = matrix[:n, :n] - matrix[:n, n:] @ np.linalg.solve(matrix[n:, n:], matrix[n:, :n])
    np.testing.assert_allclose(crossbar.port_matrix, direct, rtol=0, atol=1e-12 / ohms + 1e-12 * conductance.max())


@pytest.mark.parametrize("ohms", [Fraction(1, 10**12), Fraction(3), Fraction(10**7)])
@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (3, 2)])
def test_wires_of_far_less_resistance_than_the_cells_cost_no_digits(rows, columns, ohms):
    conductance = cells(3, rows, columns, empty=0)
    ports = ports_of(rows, columns)
    exact = {}
    index = {node: k for k, node in enumerate(ports)}
    for one, other, siemens in resistors(conductance, 1.0):
        value = 1 / ohms if siemens == 1.0 else Fraction(float(siemens))
        for a, b in ((one, other), (other, one)):
            place = index.setdefault(a, len(index)), index.setdefault(b, len(index))
            exact[place] = exact.get(place, Fraction(0)) + value
    for k in reversed(
        range(len(ports), len(index))
    ):  # star-mesh transformation of every inner node, in rational numbers
        star = {b: g for (a, b), g in exact.items() if a == k}
        total = sum(star.values())
        exact = {place: g for place, g in exact.items() if k not in place}
        for (a, one), (b, other) in permutations(star.items(), 2):
            exact[a, b] = exact.get((a, b), Fraction(0)) + one * other / total
    found = WiredCrossbar(conductance, float(ohms)).port_matrix
    for (a, b), siemens in exact.items():
        assert found[a, b] == pytest.approx(-float(siemens), rel=1e-13, abs=0)


@SOME
@given(SEEDS, SIZES, SIZES, st.sampled_from([(128, 128), (2, 3), (1, 1)]))
def test_ideal_wires_give_exactly_the_ideal_crossbars_matrix(seed, rows, columns, tile):
    conductance = cells(seed, rows, columns)
    expected = np.block(
        [
            [np.diag(conductance.sum(axis=1)), -conductance],
            [-conductance.T, np.diag(conductance.T.sum(axis=1))],
        ]
    )
    found = WiredCrossbar(conductance, 0.0, tile).port_matrix
    np.testing.assert_array_equal(found[:rows, rows:], expected[:rows, rows:])
    np.testing.assert_allclose(found, expected, rtol=4e-16, atol=0)


@SOME
@given(SEEDS, SIZES, SIZES, OHMS, st.sampled_from([(128, 128), (4, 2), (3, 5)]))
def test_the_port_matrix_is_a_passive_laplacian(seed, rows, columns, ohms, tile):
    found = WiredCrossbar(cells(seed, rows, columns), ohms, tile).port_matrix
    np.testing.assert_array_equal(found, found.T)
    assert (found - np.diag(np.diag(found)) <= 0).all()
    largest = np.abs(found).max()
    assert np.abs(found.sum(axis=1)).max() <= 1e-14 * largest
    assert np.linalg.eigvalsh(found)[0] >= -1e-14 * largest


@SOME
@given(SEEDS, SIZES, SIZES, OHMS)
def test_more_resistance_of_the_wires_never_lets_more_power_in(seed, rows, columns, ohms):
    conductance = cells(seed, rows, columns)
    ideal, thin, thick = (WiredCrossbar(conductance, r).port_matrix for r in (0.0, ohms, 2 * ohms))
    for more, less in ((ideal, thin), (thin, thick)):  # Rayleigh's monotonicity law
        assert np.linalg.eigvalsh(more - less)[0] >= -1e-13 * np.abs(more).max()


@SOME
@given(SEEDS, SIZES, SIZES, OHMS, st.floats(1e-3, 1e3))
def test_scaling_every_conductance_scales_the_ports_conductances(seed, rows, columns, ohms, scale):
    conductance = cells(seed, rows, columns)
    one, other = (
        WiredCrossbar(conductance, ohms).port_matrix,
        WiredCrossbar(scale * conductance, ohms / scale).port_matrix,
    )
    np.testing.assert_allclose(other, scale * one, rtol=1e-9, atol=1e-13 * scale * np.abs(one).max())


@pytest.mark.parametrize(("row", "column"), [(0, 0), (4, 0), (0, 2), (4, 2), (2, 1)])
def test_a_cell_lies_behind_the_segments_left_of_it_and_below_it(row, column):
    rows, columns, ohms = 5, 3, 1e4
    conductance = np.zeros((rows, columns))
    conductance[row, column] = 1e-5
    found = WiredCrossbar(conductance, ohms).port_matrix
    expected = effective(1e-5, ohms, (column + 1) + (rows - row))
    assert found[row, row] == pytest.approx(expected, rel=1e-13)
    assert found[row, rows + column] == pytest.approx(-expected, rel=1e-13)
    assert np.count_nonzero(found) == 4


@SOME
@given(SEEDS, SIZES, SIZES, OHMS)
def test_exchanging_rows_and_columns_mirrors_the_array_at_its_antidiagonal(seed, rows, columns, ohms):
    conductance = cells(seed, rows, columns)
    one = WiredCrossbar(conductance, ohms).port_matrix
    turned = WiredCrossbar(conductance[::-1, ::-1].T, ohms).port_matrix
    np.testing.assert_allclose(turned[::-1, ::-1], one, rtol=1e-10, atol=1e-14 * np.abs(one).max())


def test_a_transposed_array_is_another_array():
    conductance = cells(1, 4, 4, empty=0)
    one, other = WiredCrossbar(conductance, 1e4).port_matrix, WiredCrossbar(conductance.T, 1e4).port_matrix
    exchanged = np.roll(other, (4, 4), axis=(0, 1))
    assert np.abs(exchanged - one).max() > 0.01 * np.abs(one).max()
    ideal = [WiredCrossbar(matrix, 0.0).port_matrix for matrix in (conductance, conductance.T)]
    np.testing.assert_allclose(np.roll(ideal[1], (4, 4), axis=(0, 1)), ideal[0], rtol=1e-15)


@pytest.mark.parametrize("length", [1, 2, 7, 60])
@pytest.mark.parametrize("siemens", [1e-6, 3e-3])
def test_one_row_is_a_ladder_of_hyperbolic_functions(length, siemens):
    """Equal cells on one row: v_{k+1} - (2 + r g) v_k + v_{k-1} = 0 with g the cell and its column's segment, an open end.

    So v_k = V cosh((n + ½ - k) κ) / cosh((n + ½) κ), cosh κ = 1 + r g/2, at cell k = 1..n: a resistive transmission line.
    """
    ohms = 5.0
    g = float(effective(siemens, ohms, 1))
    kappa = np.arccosh(1 + ohms * g / 2)
    along = np.cosh((length + 0.5 - np.arange(length + 1)) * kappa) / np.cosh((length + 0.5) * kappa)
    drawn = 2 * np.sinh(length * kappa) * np.sinh(kappa / 2) / np.cosh((length + 0.5) * kappa) / ohms
    for crossbar, port in (
        (WiredCrossbar(np.full((1, length), siemens), ohms), 0),
        (WiredCrossbar(np.full((length, 1), siemens), ohms), -1),
    ):
        found = crossbar.port_matrix[port]
        others = found[1:] if port == 0 else found[:-1][::-1]
        np.testing.assert_allclose(others, -g * along[1:], rtol=1e-10)
        assert found[port] == pytest.approx(drawn, rel=1e-10)
    on_rows, _ = WiredCrossbar(np.full((1, length), siemens), ohms).wires(np.eye(length + 1)[:1])
    np.testing.assert_allclose(on_rows[0, 0], along[1:], rtol=1e-10)


def test_a_long_row_has_the_ladders_characteristic_resistance():
    """Feynman Lectures on Physics II, 22-6: a ladder of r in series and R across looks like r/2 + √(r²/4 + rR)."""
    ohms, siemens = 100.0, 1e-4
    across = 1 / siemens + ohms
    found = WiredCrossbar(np.full((1, 400), siemens), ohms, (1, 400)).port_matrix[0, 0]
    assert 1 / found == pytest.approx(ohms / 2 + np.sqrt(ohms**2 / 4 + ohms * across), rel=1e-12)


# The example of badcrossbar's documentation (Joksas & Mehonic 2020, SoftwareX 12, 100617), which solves for branch currents;
# its solution by version 1.1.0.
PUBLISHED_VOLTS = np.array([[1.5, 4.1, 2.6, 2.1], [2.3, 4.5, 1.1, 0.8], [1.7, 4.0, 3.3, 1.1]])
PUBLISHED_OHMS = np.array([[345, 903, 755, 257, 646], [652, 401, 508, 166, 454], [442, 874, 190, 244, 635]])
PUBLISHED_OUTPUTS = [
    [0.01158502542154697, 0.00919064163625241, 0.01511568117325795, 0.02583320822125721, 0.00981179288265744],
    [0.02751147912633384, 0.02001367344264661, 0.03455572834736387, 0.05763285825948680, 0.02199828526850539],
    [0.01649934146322628, 0.00925388802878718, 0.02247116160516644, 0.02938042462503752, 0.01136674127799885],
    [0.00968736190853342, 0.00549369660037998, 0.00992595213833799, 0.01697803590727076, 0.00658620780108645],
]
PUBLISHED_WORD_LINE = 0.018344913751280778  # amperes, the segment left of the second row's fourth device


def test_a_published_array_delivers_its_published_currents():
    crossbar = WiredCrossbar(1 / PUBLISHED_OHMS, 0.5)
    ports = np.concatenate([PUBLISHED_VOLTS.T, np.zeros((4, 5))], axis=1)
    np.testing.assert_allclose(-(ports @ crossbar.port_matrix)[:, 3:], PUBLISHED_OUTPUTS, rtol=1e-12)
    on_rows, _ = crossbar.wires(ports)
    assert (on_rows[0, 1, 2] - on_rows[0, 1, 3]) / 0.5 == pytest.approx(PUBLISHED_WORD_LINE, rel=1e-11)


@pytest.mark.parametrize("tile", [(4, 4), (3, 2), (7, 1), (100, 5)])
def test_tiles_are_separate_arrays_joined_at_their_ports(tile):
    conductance, ohms = cells(5, 7, 6), 2e3
    volts = np.random.default_rng(5).uniform(-1, 1, (2, 13))
    whole = WiredCrossbar(conductance, ohms, tile)
    joined = np.zeros((13, 13))
    for top in range(0, 7, tile[0]):
        for left in range(0, 6, tile[1]):
            part = conductance[top : top + tile[0], left : left + tile[1]]
            at = [*range(top, top + part.shape[0]), *range(7 + left, 7 + left + part.shape[1])]
            matrix, _ = laplacian(resistors(part, ohms), ports_of(*part.shape))
            n = len(at)
            joined[np.ix_(at, at)] += matrix[:n, :n] - matrix[:n, n:] @ np.linalg.solve(matrix[n:, n:], matrix[n:, :n])
            for found, alone in zip(whole.wires(volts), WiredCrossbar(part, ohms).wires(volts[:, at]), strict=True):
                np.testing.assert_array_equal(found[:, top : top + tile[0], left : left + tile[1]], alone)
    np.testing.assert_allclose(whole.port_matrix, joined, rtol=0, atol=1e-16)


def test_tiles_of_one_cell_are_an_ideal_crossbar_of_cells_in_series_with_two_segments():
    conductance = cells(6, 5, 4)
    with np.errstate(divide="ignore"):
        in_series = effective(conductance, 1e4, 2)
    ideal = WiredCrossbar(in_series, 0.0).port_matrix
    np.testing.assert_allclose(WiredCrossbar(conductance, 1e4, (1, 1)).port_matrix, ideal, rtol=1e-12)


@SOME
@given(SEEDS, SIZES, SIZES, st.sampled_from([0.0, 7.0, 1e5]), st.sampled_from([(128, 128), (4, 3)]))
def test_a_cells_drop_is_the_root_of_twice_what_its_conductance_adds_to_the_power(seed, rows, columns, ohms, tile):
    """d(½ pᵀYp)/dG_ij = ½ (drop across cell ij)²: by finite differences of the port matrix."""
    random = np.random.default_rng(seed)
    conductance, volts = cells(seed, rows, columns, empty=0), random.uniform(-1, 1, (1, rows + columns))
    i, j = int(random.integers(rows)), int(random.integers(columns))
    power = []
    for sign in (1, -1):
        changed = conductance.copy()
        changed[i, j] *= 1 + sign * 1e-4
        power.append(0.5 * (volts @ WiredCrossbar(changed, ohms, tile).port_matrix @ volts.T).item())
    slope = (power[0] - power[1]) / (2e-4 * conductance[i, j])
    drop = WiredCrossbar(conductance, ohms, tile).drops(volts)[0, i, j]
    # what the difference of two sums leaves
    rounding = 1e-15 * abs(power[0]) / (1e-4 * conductance[i, j])
    assert slope == pytest.approx(0.5 * drop**2, rel=1e-5, abs=1e-9 + 100 * rounding)


@SOME
@given(SEEDS, SIZES, SIZES, OHMS)
def test_what_flows_through_the_cells_is_what_flows_in_at_the_ports(seed, rows, columns, ohms):
    crossbar = WiredCrossbar(cells(seed, rows, columns), ohms)
    volts = np.random.default_rng(seed).uniform(-1, 1, (2, rows + columns))
    through = crossbar.conductance * crossbar.drops(volts)
    flowing = volts @ crossbar.port_matrix
    np.testing.assert_allclose(through.sum(axis=2), flowing[:, :rows], rtol=0, atol=1e-7 * np.abs(flowing).max())
    np.testing.assert_allclose(-through.sum(axis=1), flowing[:, rows:], rtol=0, atol=1e-7 * np.abs(flowing).max())


def lost(crossbar: WiredCrossbar, rows: Array, columns: Array) -> Array:
    """Voltage drop of the wires at every cell."""
    return rows[:, None] - columns - crossbar.drops(np.concatenate([rows, columns])[None])[0]


@pytest.mark.parametrize("size", [2, 9, 40])
def test_in_an_array_of_equal_cells_the_one_farthest_from_both_ends_loses_most(size):
    drop = lost(WiredCrossbar(np.full((size, size), 2e-5), 2.0), np.ones(size), np.zeros(size))
    assert np.unravel_index(np.abs(drop).argmax(), drop.shape) == (0, size - 1)
    # rows driven and columns held at 0 V: mirrored at the antidiagonal, every cell's drop stays
    np.testing.assert_allclose(drop[::-1, ::-1].T, drop, rtol=0, atol=1e-12)
    # losses grow along rows away from the drivers and up columns away from the nodes
    assert (np.diff(drop, axis=1) > 0).all()
    assert (np.diff(drop, axis=0) < 0).all()


def test_thin_wires_lose_what_the_ideal_currents_make_of_their_resistance():
    """To first order: r times the ideal currents, summed along both paths."""
    conductance, ohms = cells(8, 6, 5, empty=0), 1e-3
    rows, columns = np.linspace(-1, 1, 6), np.linspace(0.2, -0.2, 5)
    currents = conductance * (rows[:, None] - columns)
    in_rows = np.cumsum(np.cumsum(currents[:, ::-1], axis=1)[:, ::-1], axis=1)
    in_columns = np.cumsum(np.cumsum(currents, axis=0)[::-1], axis=0)[::-1]
    drop = lost(WiredCrossbar(conductance, ohms), rows, columns)
    np.testing.assert_allclose(drop, ohms * (in_rows + in_columns), rtol=0, atol=1e-5 * np.abs(drop).max())


def test_the_weights_of_a_crossbar_are_its_own():
    conductance = cells(1, 3, 3)
    crossbar = WiredCrossbar(conductance, 1.0)
    before = crossbar.port_matrix.copy()
    conductance[...] = 0
    np.testing.assert_array_equal(crossbar.port_matrix, before)
    with pytest.raises(ValueError, match="read-only"):
        crossbar.conductance[0, 0] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conductance": np.zeros(3)}, "expected a matrix"),
        ({"conductance": np.array([[1e-6, -1e-6]])}, "at least 0, got -1e-06 in row 0, column 1"),
        ({"conductance": np.array([[np.nan]])}, "at least 0, got nan"),
        ({"wire_resistance": -1.0}, "wire_resistance: expected ohms of at least 0, got -1.0"),
        ({"wire_resistance": np.inf}, "wire_resistance: expected"),
        ({"tile": (0, 4)}, "tile"),
        ({"tile": (4,)}, "tile"),
    ],
)
def test_what_is_no_crossbar_is_refused(change, message):
    settings = {"conductance": np.full((2, 2), 1e-6), "wire_resistance": 1.0, "tile": (128, 128)} | change
    with pytest.raises(UserError, match=message):
        WiredCrossbar(**settings)


@pytest.mark.parametrize("ohms", [0.0, 1e-3, 200.0])
@pytest.mark.parametrize("resistance", [np.zeros(7), np.full(7, 3e3), np.array([0, 1e4, 0, 10.0, 1e6, 0, 500.0])])
def test_a_crossbar_behind_resistances_is_the_laplacian_that_elimination_of_its_rows_leaves(ohms, resistance):
    random = np.random.default_rng(5)
    crossbar = WiredCrossbar(random.uniform(0, 1e-4, (7, 5)), ohms, (4, 3))
    driven = DrivenCrossbar(crossbar, resistance)
    behind = np.flatnonzero(resistance)  # the other rows are driven themselves
    own = np.zeros((7 + len(behind) + 5,) * 2)  # drives, row ports behind resistances, columns
    ports = np.arange(7)
    ports[behind] = 7 + np.arange(len(behind))
    ports = np.concatenate([ports, np.arange(own.shape[0] - 5, own.shape[0])])
    own[np.ix_(ports, ports)] += crossbar.port_matrix
    for drive, port in zip(behind, ports[behind], strict=True):
        g = 1 / resistance[drive]
        own[np.ix_([drive, port], [drive, port])] += [[g, -g], [-g, g]]
    inner = ports[behind]
    kept = np.setdiff1d(np.arange(own.shape[0]), inner)
    eliminated = own[np.ix_(kept, inner)] @ np.linalg.solve(own[np.ix_(inner, inner)], own[np.ix_(inner, kept)])
    expected = own[np.ix_(kept, kept)] - eliminated
    found = np.block([[full(driven.row_block()), -driven.between], [-driven.between.T, full(driven.column_block())]])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-15 * np.abs(found).max())
    assert driven.direct == (ohms == 0 and not resistance.any())
    drives, voltages = random.normal(size=(3, 7)), random.normal(size=(3, 5))
    at = driven.ports(drives, voltages)
    into = at @ crossbar.port_matrix
    np.testing.assert_allclose(at[:, :7] + resistance * into[:, :7], drives, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(at[:, 7:], voltages)
