"""Curves from files: units and columns, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import UserError
from eqprop_analog.characterization.curve import Noise, ordered, read_curve
from eqprop_analog.characterization.tabulation import tabulate
from eqprop_analog.columns import unit_in, unit_of

ROWS = [(0.1 * k, 1e-9 * (10**k - 1)) for k in range(7)]


def file(path: Path, header: str, rows: list[tuple[float, float]], factors: tuple[float, float] = (1, 1)) -> Path:
    path.write_text(
        "\n".join([header, *(f"{float(v * factors[0])!r},{float(i * factors[1])!r}" for v, i in rows)]) + "\n"
    )
    return path


@pytest.mark.parametrize(
    ("header", "unit", "factor"),
    [
        *(("V (mV)", "V", 1e-3), ("I [uA]", "A", 1e-6), ("I/nA", "A", 1e-9), ("id_µA", "A", 1e-6), ("V", "V", 1)),
        *(("Anode Current (A)", "A", 1), ("bias mV", "V", 1e-3), ("T (K)", "K", 1), ("kV", "V", 1e3)),
    ],
)
def test_the_unit_is_in_the_header(header: str, unit: str, factor: float) -> None:
    assert unit_of(unit_in(header)[1]) == (unit, factor)


@pytest.mark.parametrize("header", ["I", "current", "x", "V (furlong)", "7"])
def test_a_header_without_a_unit_has_none(header: str) -> None:
    assert unit_of(unit_in(header)[1]) is None


@pytest.mark.parametrize(
    ("header", "factors"), [("V (V),I (A)", (1, 1)), ("V (mV),I (uA)", (1e3, 1e6)), ("volts/kV,I [nA]", (1e-3, 1e9))]
)
def test_a_curve_is_in_volts_and_amperes(tmp_path: Path, header: str, factors: tuple[float, float]) -> None:
    curve = read_curve(file(tmp_path / "iv.csv", header, ROWS, factors))
    np.testing.assert_allclose(np.stack([curve.voltage, curve.current], axis=1), ROWS, rtol=1e-12)
    assert curve.lines.tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_comments_other_columns_decimal_commas_and_latin_letters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "iv.csv"
    lines = ["# instrument 7", "t (s);V (V);I (µA)", "", *(f"{k};0,{k};{k},5" for k in range(1, 7))]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    curve = read_curve(path)
    np.testing.assert_allclose(curve.voltage, 0.1 * np.arange(1, 7))
    np.testing.assert_allclose(curve.current, 1e-6 * (np.arange(1, 7) + 0.5))
    assert curve.lines[0] == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("V (V),I (A)\n0,0\n1,1\n", ["5 points", "got 2"]),
        ("V,I\n" + "0,0\n" * 6, ["line 1", "unit", "amperes"]),
        ("I (A),G (S)\n" + "0,0\n" * 6, ["line 1", "volts"]),
        ("V (V),I (A)\n0,0\n1,1\n2,two\n" + "3,3\n" * 4, ["line 4", '"I (A)"', '"two"']),
        ("V (V),I (A)\n0,0\n1,nan\n2,2\n" + "3,3\n" * 4, ["line 3", "nan"]),
        ("V (V),I (A)\n0,0\n1,inf\n2,2\n" + "3,3\n" * 4, ["line 3", "inf"]),
        ("V (V),I (A)\n0,0\n1,\n2,2\n" + "3,3\n" * 4, ["line 3", '"I (A)"', "missing"]),
        ("V (V),I (A)\n0,0\n1\n2,2\n" + "3,3\n" * 4, ["line 3", "2 columns", "got 1"]),
        ("V (V),I (A)\n0,0\n1,1mA\n2,2\n" + "3,3\n" * 4, ["line 3", "unit", "header"]),
        ("V (V),V2 (mV),I (A)\n" + "0,0,0\n" * 6, ["line 1", "2 columns", "--voltage-column"]),
        ("V (V),I (A)\n0,0\n1e9,1\n2,2\n" + "3,3\n" * 4, ["line 3", "1e+09 V "]),
        ("V (V),I (A)\n\0\n", ["binary"]),
    ],
)
def test_a_bad_file_is_a_sentence_with_the_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "iv.csv"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_curve(path)
    assert all(word in str(refused.value) for word in ("iv.csv", *words)), str(refused.value)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "iv.csv"
    path.write_text("V (V),Vin (mV),I (A)\n" + "".join(f"{k},{7 * k},{k}\n" for k in range(6)))
    assert read_curve(path, "Vin").voltage[1] == pytest.approx(7e-3)
    assert read_curve(path, "V (V)").voltage[1] == 1
    with pytest.raises(UserError, match="0 columns"):
        read_curve(path, "W")


@pytest.mark.parametrize(
    ("rows", "noise", "words"),
    [
        ([*ROWS[:3], (0.25, 2e-8), *ROWS[3:]], Noise(), ["line 5", "falls", "line 4"]),
        ([*ROWS[:4], (ROWS[3][0], 2e-6), *ROWS[4:]], Noise(), ["line 6", "duplicate", "line 5"]),
        ([*ROWS, *((v, 2 * i) for v, i in reversed(ROWS[1:-1]))], Noise(0, 0.05), ["hysteresis", "line", "one branch"]),
        # the voltage where it turns is measured twice
        ([*ROWS, *((v, 2 * i) for v, i in reversed(ROWS))], Noise(0, 0.05), ["hysteresis", "line 9", "line 8"]),
    ],
)
def test_what_is_not_monotone_beyond_the_noise_is_refused_with_its_lines(
    tmp_path: Path, rows: list[tuple[float, float]], noise: Noise, words: list[str]
) -> None:
    curve = read_curve(file(tmp_path / "iv.csv", "V (V),I (A)", rows))
    with pytest.raises(UserError) as refused:
        ordered(curve, noise)
    assert all(word in str(refused.value) for word in ("iv.csv", "--noise", *words)), str(refused.value)


def test_within_the_noise_it_is_fitted_isotonically_and_that_is_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    v = np.linspace(0, 0.3, 61)
    i = 1e-9 * np.expm1(v / 0.026) + random.uniform(-4e-10, 4e-10, 61)
    points = ordered(read_curve(file(tmp_path / "iv.csv", "V (V),I (A)", list(zip(v, i, strict=True)))), Noise(8e-10))
    assert (np.diff(points.current) >= 0).all()
    assert np.abs(points.current - i).max() <= 8e-10
    assert any("not monotone" in note for note in points.notes)


def test_a_sweep_up_and_down_within_the_noise_is_averaged_and_a_downward_one_is_turned(tmp_path: Path) -> None:
    both = [*ROWS, *((v, 1.02 * i) for v, i in reversed(ROWS[:-1]))]
    points = ordered(read_curve(file(tmp_path / "a.csv", "V (V),I (A)", both)), Noise(0, 0.02))
    np.testing.assert_allclose(points.current[3], 1.01 * ROWS[3][1])
    assert any("repeated" in note for note in points.notes)
    down = ordered(read_curve(file(tmp_path / "b.csv", "V (V),I (A)", ROWS[::-1])), Noise())
    np.testing.assert_array_equal(np.stack([down.voltage, down.current], axis=1), ROWS)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_the_table_is_within_its_tolerance_of_an_exponential_and_a_square_law(tmp_path: Path, tolerance: float) -> None:
    v = np.linspace(-0.5, 1.2, 86)
    i = 1e-12 * np.expm1(np.minimum(v, 0.4) / 0.036) + 1e-3 * np.maximum(v - 0.4, 0) ** 2
    points = ordered(read_curve(file(tmp_path / "iv.csv", "V (V),I (A)", list(zip(v, i, strict=True)))), Noise())
    found = tabulate(points, tolerance)
    between = np.linspace(0.15, 0.38, 999)
    by_table = -found.law.current(-between)
    np.testing.assert_allclose(by_table, 1e-12 * np.expm1(between / 0.036), rtol=1.5 * tolerance)
    assert found.largest_relative <= tolerance
    assert len(found.law.voltages) < (500 if tolerance == 1e-3 else 200)
    assert found.left_out < 0.05
