"""Laws made from measurements: a junction with a series resistance and a table, against their equations."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.devices import (
    Antiparallel,
    DiodeWithResistance,
    Law,
    NgspiceDiode,
    Tabulated,
    law_from,
    slopes_between,
    table_of,
)
from eqprop_analog.devices.capabilities import root, scaled


def table(seed: int, knots: int, rail: float = 0.3) -> Tabulated:
    """Random steps of voltage, and of current over eight decades."""
    random = np.random.default_rng(seed)
    v = np.cumsum(random.uniform(0.005, 0.05, knots)) - 1
    i = np.cumsum(10 ** random.uniform(-13, -5, knots))
    return Tabulated(tuple((v).tolist()), tuple((i - np.interp(0, v, i)).tolist()), rail)


TABLES = [table(0, 60), table(1, 7, -0.2), Tabulated((-1.0, 0.0, 1.0), (0.0, 0.0, 1e-3))]
RESISTIVE = [
    DiodeWithResistance(),
    DiodeWithResistance(1e-14, 1.7, 0.5, 0.6, 85.0),
    DiodeWithResistance(1e-7, 1.0, 1e5, -0.1, gmin=0.0),
]
V = np.linspace(-1.7, 1.9, 1201)


@pytest.mark.parametrize("law", RESISTIVE, ids=lambda law: f"{law.series_resistance:g} ohm")
def test_the_junction_and_the_resistance_carry_the_same_current(law: DiodeWithResistance) -> None:
    inside = np.linspace(law.rail - 0.9, law.rail + 2, 200)  # of the junction's node
    current = law.junction.current(inside)
    v = inside + law.series_resistance * current
    rounding = 1e-15 * law.slope(v) * np.maximum(np.abs(v), 1)
    np.testing.assert_allclose(law.current(v), current, rtol=1e-12, atol=rounding.max())
    series = 1 / (law.series_resistance + 1 / law.junction.slope(inside))
    np.testing.assert_allclose(law.slope(v), series, rtol=1e-6)


@pytest.mark.parametrize("law", TABLES, ids=lambda law: f"{len(law.voltages)} knots")
def test_the_table_is_linear_between_knots_and_goes_on_beyond_the_ends(law: Tabulated) -> None:
    w, i = np.array(law.voltages), np.array(law.currents)
    middle, mean = 0.5 * (w[1:] + w[:-1]), 0.5 * (i[1:] + i[:-1])
    np.testing.assert_allclose(-law.current(law.rail - w), i, rtol=1e-12, atol=1e-25)
    np.testing.assert_allclose(-law.current(law.rail - middle), mean, rtol=1e-9, atol=1e-20)
    for end, away, piece in ((0, -0.7, 0), (-1, 0.7, -1)):
        steepness = max(1e-12, (np.diff(i) / np.diff(w))[piece])
        reached = i[end] + away * steepness
        np.testing.assert_allclose(-law.current(np.array(law.rail - w[end] - away)), reached, rtol=1e-9)
        np.testing.assert_allclose(law.slope(np.array(law.rail - w[end] - away)), steepness)


@pytest.mark.parametrize("law", [*RESISTIVE, *TABLES, Antiparallel(RESISTIVE[0]), Antiparallel(TABLES[0])])
def test_slope_and_cocontent_are_derivative_and_integral_of_the_current(law: Law) -> None:
    h = 1e-6
    current = law.current(V)
    by_cocontent = (law.cocontent(V + h) - law.cocontent(V - h)) / (2 * h)
    np.testing.assert_allclose(by_cocontent, current, rtol=1e-4, atol=1e-6 * np.abs(current).max())
    least, largest = slopes_between(law, V - h, V + h)
    by_current = (law.current(V + h) - law.current(V - h)) / (2 * h)
    slack = 1e-9 * np.abs(current) / h + 1e-15
    assert (by_current >= least - slack).all()
    assert (by_current <= largest + slack).all()


@pytest.mark.parametrize("law", TABLES, ids=lambda law: f"{len(law.voltages)} knots")
def test_slopes_between_two_voltages_are_those_of_all_pieces_between(law: Tabulated) -> None:
    random = np.random.default_rng(0)
    ends = np.sort(random.uniform(-2, 2, (2, 300)), axis=0)
    least, largest = law.slopes_between(*ends)
    for k, (low, high) in enumerate(ends.T):
        slopes = law.slope(np.concatenate([np.linspace(low, high, 3000), [low, high]]))
        assert least[k] <= slopes.min()
        assert largest[k] >= slopes.max()
        inside = (law.rail - np.array(law.voltages) > low) & (law.rail - np.array(law.voltages) < high)
        if inside.sum() < 3:
            assert (least[k], largest[k]) == (slopes.min(), slopes.max())


@pytest.mark.parametrize("law", [*RESISTIVE, *TABLES])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_node_solve_is_the_root_also_compiled(law: Law, dtype: str) -> None:
    g, s = (each.ravel() for each in np.meshgrid(np.geomspace(1e-9, 1e-3, 13), np.linspace(-1e-4, 1e-4, 21)))
    expected = root(law, g, s)
    found = law.solve(g.astype(dtype), s.astype(dtype))
    bound = 1e-12 if dtype == "float64" else 1e-5
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
    pytest.importorskip("numba")
    from eqprop_analog.kernels.numba.nodes import node_of

    assert node_of(law, np.dtype(dtype)) is not None  # which compares it with the law's own solve


@pytest.mark.parametrize("law", [RESISTIVE[1], TABLES[0], Antiparallel(TABLES[0])])
def test_a_network_keeps_it_and_k_times_its_current_is_another_law(law: Law) -> None:
    assert law_from(table_of(law)) == law
    ResistiveNetwork.dense([3, 4, 2], diode=law).save("n.npz")
    assert ResistiveNetwork.load("n.npz").diode == law
    np.testing.assert_allclose(scaled(law, 7.0).current(V), 7 * law.current(V), rtol=1e-9)


@pytest.fixture(autouse=True)
def _here(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))


@pytest.mark.parametrize(
    ("voltages", "currents", "words"),
    [
        ((0.0, 1.0), (0.0, -1e-9), ["not decrease", "1 V"]),
        ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), ["ascending"]),
        ((0.0,), (0.0,), ["2 to"]),
        ((0.0, 1.0), (0.0, float("nan")), ["currents"]),
        ((0.0, 1e9), (0.0, 1.0), ["1e+06"]),
        ((0.0, 1.0), (0.0, 1.0, 2.0), ["2 and 3"]),
    ],
)
def test_what_is_no_monotone_table_is_refused(voltages: object, currents: object, words: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        Tabulated(voltages, currents)  # type: ignore[arg-type]
    assert all(word in str(refused.value) for word in words)


def test_without_resistance_it_is_the_junction() -> None:
    small, none = DiodeWithResistance(series_resistance=1e-6), NgspiceDiode()
    v = np.linspace(-0.2, 2, 100)
    np.testing.assert_allclose(small.current(v), none.current(v), rtol=1e-6)
    assert replace(small, rail=0.3).junction.rail == 0.3
