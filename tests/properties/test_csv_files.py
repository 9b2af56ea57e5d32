"""CSV files from any program: what readers of tables accept and report, and the line that an error names."""

import codecs
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog.characterization.curve import read_curve
from eqprop_analog.columns import read_columns, read_table, unit_in
from eqprop_analog.data.settings import DataSettings
from eqprop_analog.data.tables import read_table as read_samples
from eqprop_analog.errors import UserError

ROWS = [(0.5 * k, 1.5 * k * k) for k in range(6)]
"""Volts, milliamperes."""


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(header: str = "V (V),I (mA)", delimiter: str = ",", decimal: str = ".") -> str:
    rows = (delimiter.join(f"{x:.4f}".replace(".", decimal) for x in row) for row in ROWS)
    return "\n".join([header.replace(",", delimiter), *rows]) + "\n"


def by_curve(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    found = read_curve(path)
    return np.stack([found.voltage, 1e3 * found.current], axis=1), found.notes


def by_columns(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    found = read_columns(path, {"v": "V", "i": "A"})
    return np.stack([found.numbers["v"], 1e3 * found.numbers["i"]], axis=1), tuple(found.table.notes)


def by_samples(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    found = read_samples(path, DataSettings(target_column=["-1"], task="regression"))
    return np.concatenate([found.inputs, found.targets], axis=1), found.notes


READERS = [by_curve, by_columns, by_samples]

TAKEN = {
    "plain": (lines(), []),
    "byte order mark": (codecs.BOM_UTF8 + lines().encode(), []),
    "UTF-16": (codecs.BOM_UTF16_LE + lines(delimiter="\t").encode("utf-16-le"), []),
    "CRLF": (lines().replace("\n", "\r\n"), []),
    "CR": (lines().replace("\n", "\r"), []),
    "semicolons, decimal commas": (lines(delimiter=";", decimal=","), ["decimal commas", "line 2"]),
    "tabs, decimal commas": (lines(delimiter="\t", decimal=","), ["decimal commas"]),
    "tabs": (lines(delimiter="\t"), []),
    "a comma in a comment": ("# Monday, by hand; again\n" + lines(delimiter=";", decimal=","), ["decimal commas", "comment"]),
    "quoted": ('"V (V)","I (mA)"\n' + "".join(f'"{v}","{i}"\n' for v, i in ROWS), []),
    "quoted line break": ('"V\n(V)","I\n(mA)"\n' + lines().partition("\n")[2], []),
    "comments": ("# made on Monday\n% by hand\n" + lines(), ["comments", "1, 2"]),
    "commented header": ("# " + lines(), ["line 1", "names"]),
    "empty lines": (lines().replace("\n", "\n\n") + " \n,\n", []),
    "separator stated": ("sep=;\n" + lines(delimiter=";"), []),
    "spaces": (lines().replace(",", " , "), []),
    "delimiters at the end": (lines().replace("\n", ",\n"), []),
    "true minus signs": (lines().replace("0.0000,", "−0.0000,"), []),
    "exponents": ("V (V),I (mA)\n" + "".join(f"{v:e},{i:E}\n" for v, i in ROWS), []),
    "Latin-1 in a comment": (("# at 27 °C\n" + lines()).encode("latin-1"), ["line 1", "comment"]),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", list(TAKEN))
def test_every_reader_takes_it_and_says_what_it_decided(tmp_path: Path, reader, name: str) -> None:
    content, words = TAKEN[name]
    values, notes = reader(written(tmp_path / "t.csv", content))
    np.testing.assert_allclose(values, ROWS, rtol=1e-12)
    said = "; ".join(notes)
    assert all(word in said for word in words), said
    assert bool(notes) == bool(words), "nothing is said where nothing was decided"


def changed(row: str, to: str) -> str:
    assert row in lines()
    return lines().replace(row, to)


REFUSED = {
    "empty": ("", ["empty"]),
    "comments alone": ("# nothing\n\n", ["empty"]),
    "header alone": ("V (V),I (mA)\n", ["header", "line 1"]),
    "a title": ("Sweep 7 of Monday\n\n" + lines(), ["line 1", '"Sweep 7 of Monday"', "2 columns", "#"]),
    "binary": (b"PK\x03\x04\0\0", ["binary", "CSV"]),
    "half of UTF-16": (codecs.BOM_UTF16_LE + b"a\0b", ["binary"]),
    "not UTF-8 in a row": (changed("1.0000,6", "1.0000,\xb56").encode("latin-1"), ["line 4", "UTF-8", "0xb5"]),
    "missing": (changed("1.0000,6.0000", "1.0000,"), ["line 4", '"I (mA)"', "missing"]),
    "NaN": (changed("1.0000,6.0000", "1.0000,NaN"), ["line 4", '"I (mA)"', "missing", "NaN"]),
    "infinite": (changed("1.0000,6.0000", "1.0000,-inf"), ["line 4", '"I (mA)"', "finite", "-inf"]),
    "a spreadsheet's error": (changed("1.0000,6.0000", "#DIV/0!,6"), ["line 4", '"V (V)"', "#DIV/0!"]),
    "beyond": (changed("1.0000,6.0000", "1.0000,1e999"), ["line 4", '"I (mA)"', "largest"]),
    "a word": (changed("1.0000,6.0000", "1.0000,six"), ["line 4", '"I (mA)"', "number", '"six"']),
    "a unit in a cell": (changed("1.0000,6.0000", "1.0000,6 mA"), ["line 4", '"I (mA)"', '"6 mA"', "header"]),
    "digits of another script": (changed("1.0000,6.0000", "1.0000,٦"), ["line 4", '"I (mA)"', "number"]),
    "underscores": (changed("1.0000,6.0000", "1.0000,6_0"), ["line 4", '"I (mA)"', "number"]),
    "a row too short": (changed("1.0000,6.0000", "1.0000"), ["line 4", "2 columns", "got 1"]),
    "a row too long": (changed("1.0000,6.0000", "1,0000,6"), ["line 4", "2 columns", "got 3", "semicolons"]),
    "a quotation mark open": (changed("1.0000,6.0000", '"1.0000,6.0000'), ["line 4", "quotation mark"]),
    "text behind a quotation mark": (changed("1.0000,6.0000", '"1.0"0,6'), ["line 4"]),
    "decimal commas and points": (lines(delimiter=";", decimal=",").replace("1,0000", "1.0"), ["line 4", "line 2", "point"]),
    "thousands": (changed("1.0000,6.0000", '"1,000.5",6'), ["line 4", '"V (V)"', "thousands"]),
    "a quoted decimal comma": (changed("1.0000,6.0000", '"1,5",6'), ["line 4", '"V (V)"', "decimal comma"]),
    "a huge field": (changed("1.0000,6.0000", "1.0000," + "x" * 300_000), ["line 4", '"I (mA)"']),
    "a huge quoted field": (changed("1.0000,6.0000", '1.0000,"' + "x" * 300_000 + '"'), ["line 4", "field"]),
    "escape sequences": (changed("1.0000,6.0000", "1.0000,\x1b[31m6"), ["line 4", "\\x1b"]),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", list(REFUSED))
def test_every_reader_refuses_it_with_file_line_and_column(tmp_path: Path, reader, name: str) -> None:
    content, words = REFUSED[name]
    path = written(tmp_path / "t.csv", content)
    with pytest.raises(UserError) as refused:
        reader(path)
    said = str(refused.value)
    assert all(word in said for word in ("t.csv", *words)), said
    assert "\x1b" not in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        *(("I (uA)", "I", "uA"), ("I(uA)", "I", "uA"), ("I [µA]", "I", "µA"), ("I/nA", "I", "nA"), ("I / nA", "I", "nA")),
        *(("id_uA", "id", "uA"), ("bias mV", "bias", "mV"), ("mV", "mV", "mV"), ("V(out) (V)", "V(out)", "V")),
        *(("I", "I", ""), ("tin oxide", "tin oxide", ""), ("V_gate", "V_gate", ""), ("V (furlong)", "V", "furlong")),
    ],
)  # fmt: skip
def test_name_and_unit_are_told_apart(header: str, name: str, unit: str) -> None:
    assert unit_in(header) == (name, unit)


def test_units_of_cells_are_taken_where_the_header_has_none_and_all_cells_have_one(tmp_path: Path) -> None:
    text = "v (V),i\n0,1 uA\n1,2e3 nA\n2,0.003 mA\n"
    found = read_columns(written(tmp_path / "t.csv", text), {"v": "V", "i": "A"})
    assert found.numbers["i"].tolist() == [1e-6, 2e-6, 3e-6]
    assert found.unit_given == {"v": True, "i": True}
    with pytest.raises(UserError, match=r"line 3.*without a unit.*line 2"):
        read_columns(written(tmp_path / "u.csv", text.replace("2e3 nA", "2e-6")), {"v": "V", "i": "A"})


def test_a_header_in_latin_1_is_read_and_that_is_said(tmp_path: Path) -> None:
    found = read_columns(written(tmp_path / "t.csv", "g (µS),n\n3,4\n".encode("latin-1")), {"g": "S", "n": ""})
    assert found.numbers["g"].tolist() == [3e-6]
    assert ["Latin-1" in note for note in found.table.notes] == [True]


def test_numbers_with_a_true_minus_sign_are_rows_and_no_names(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "−1,0\n2,1\n−3,0.5\n")
    assert read_table(path, "numbers", nameless=True).header == 0
    found = read_samples(path, DataSettings(target_column=["1"]))
    assert found.targets.ravel().tolist() == [-1, 2, -3]


def test_a_first_row_with_numbers_that_is_taken_for_names_is_said(tmp_path: Path) -> None:
    found = read_samples(
        written(tmp_path / "t.csv", "5.1,3.5,setosa\n4.9,3,setosa\n6,2,other\n"), DataSettings(target_column=["-1"])
    )
    assert found.input_names == ("5.1", "3.5")
    assert any("line 1" in note and '"5.1"' in note for note in found.notes), found.notes


def test_names_with_commas_do_not_separate_columns(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "V, mean (V);I, mean (mA)\n0,5;1,5\n"), "numbers")
    assert table.names == ("V, mean (V)", "I, mean (mA)")
    assert [table.numbers(k)[0].tolist() for k in (0, 1)] == [[0.5], [1.5]]


def test_a_prefix_is_applied_exactly(tmp_path: Path) -> None:
    found = read_columns(written(tmp_path / "t.csv", "g (uS)\n0.1\n40\n7e2\n"), {"g": "S"})
    assert found.numbers["g"].tolist() == [1e-7, 40e-6, 7e-4]


@given(
    st.lists(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
)
def test_numbers_come_back_as_they_were_written(tmp_path_factory, rows, delimiter: str, comma: bool) -> None:
    mark = "," if comma and delimiter != "," else "."
    text = f"a{delimiter}b\n" + "".join(delimiter.join(repr(x).replace(".", mark) for x in row) + "\n" for row in rows)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    table = read_table(written(path, text), "numbers")
    np.testing.assert_array_equal(np.stack([table.numbers(k)[0] for k in (0, 1)], axis=1), rows)
    assert table.lines == tuple(range(2, len(rows) + 2))


@given(st.binary(max_size=200))
def test_no_file_does_more_than_be_refused(tmp_path_factory, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("csv") / "t.csv", content)
    for reader in READERS:
        try:
            reader(path)
        except UserError as error:
            assert "t.csv" in str(error)  # noqa: PT017 - hypothesis decides which files are refused
