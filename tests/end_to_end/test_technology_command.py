"""``eqprop-analog technology fit``: from a file of pulses to a specification for chips, netlists and training."""

import codecs
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices.conductance.fitting import read_pulses
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.networks.resistive.chips.chip import Chip

HEADER = "pulse,polarity,conductance (uS),width (us),device"


def write(path: Path, header: str = HEADER, **lines: str) -> None:
    """Two cycles of 30 pulses up and 30 down of a soft-bounded device; ``lines``: replacements of lines by number."""
    random = np.random.default_rng(3)
    g, rows = 0.0, [header, "0,0,10,5,a"]
    for pulse, sign in enumerate(2 * ([1] * 30 + [-1] * 30), start=1):
        g = np.clip(g + (0.08 * (1 - g) if sign > 0 else -0.1 * g) + 0.01 * random.standard_normal(), 0, 1)
        rows.append(f"{pulse},{sign},{10 + 90 * g:.4f},5,a")
    for number, text in lines.items():
        rows[int(number.removeprefix("line")) - 1] = text
    path.write_text("\n".join(rows) + "\n")


def test_the_specification_makes_chips_and_netlists(run, tmp_path: Path):
    write(tmp_path / "pulses.csv")
    done = run("technology", "fit", "pulses.csv", "--law", "soft-bounds", "--json", "fit.json")
    assert done.code == 0
    assert "pulses.up" in done.out
    figures = json.loads((tmp_path / "fit.json").read_text())
    found = {each["key"]: each for each in figures["quantities"]}
    assert abs(found["conductance.pulses.up"]["value"] - 0.08) < 4 * found["conductance.pulses.up"]["error"]
    specification = Specification.load("pulses.toml")
    assert specification.technology.table() == json.loads(json.dumps(figures["conductance"]))
    assert matplotlib.image.imread("pulses.png").shape[1] > 1000
    low, high = specification.technology.window.lowest, specification.technology.window.highest
    network = ResistiveNetwork.dense([3, 4, 2], conductance_window=(low, high))
    chip = Chip.drawn(specification, network, 0)
    chip.program(network)
    assert run("netlist", "--layers", 3, 4, 2, "--specification", "pulses.toml", "--output", "chip.cir").code == 0


def changed(rows: list[str], polarities: tuple[str, str, str]) -> list[str]:
    """With other words for a pulse up, a pulse down and no pulse."""
    words = dict(zip(("1", "-1", "0"), polarities, strict=True))
    cells = [row.split(",") for row in rows]
    return [",".join([pulse, words.get(sign, sign), *more]) for pulse, sign, *more in cells]


VARIANTS = {
    "set and reset": lambda rows: "\n".join(changed(rows, ("SET", "Reset", "read"))).encode(),
    "long-term": lambda rows: "\n".join(changed(rows, ("LTP", "LTD", "none"))).encode(),
    "empty where there is no pulse": lambda rows: "\n".join(changed(rows, ("+", "−", ""))).encode(),
    "byte order mark": lambda rows: codecs.BOM_UTF8 + "\n".join(rows).encode(),
    "CRLF": lambda rows: "\r\n".join(rows).encode(),
    "Latin-1": lambda rows: "\n".join(rows).replace("(u", "(µ").encode("latin-1"),
    "UTF-16": lambda rows: "\n".join(rows).encode("utf-16"),
    "semicolons and decimal commas": lambda rows: "\n".join(rows).replace(",", ";").replace(".", ",").encode(),
    "capitals": lambda rows: "\n".join(
        [rows[0].title().replace("(Us)", "(uS)", 1).replace("(Us)", "(us)"), *rows[1:]]
    ).encode(),
    "width without a unit": lambda rows: (
        "\n".join(rows).replace("width (us)", "width").replace(",5,a", ",5e-6,a").encode()
    ),
    "width 0 of a reading without a pulse": lambda rows: "\n".join(rows).replace("0,0,10,5,a", "0,0,10,0,a").encode(),
    "no width of a reading without a pulse": lambda rows: "\n".join(rows).replace("0,0,10,5,a", "0,0,10,,a").encode(),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_readings_are_read_from_files_of_other_programs(tmp_path: Path, name: str) -> None:
    write(tmp_path / "pulses.csv")
    expected = read_pulses(tmp_path / "pulses.csv")
    rows = (tmp_path / "pulses.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_bytes(VARIANTS[name](rows))
    found = read_pulses(tmp_path / "other.csv")
    for figure in ("conductance", "polarity", "there", "width"):
        np.testing.assert_array_equal(getattr(found, figure), getattr(expected, figure))
    assert (found.names, found.usual_width) == (expected.names, pytest.approx(5e-6))


def test_what_was_taken_for_granted_is_said(tmp_path: Path) -> None:
    write(tmp_path / "pulses.csv", HEADER.replace(" (us)", ""), line11="9,,50,5,a")
    notes = " ".join(read_pulses(tmp_path / "pulses.csv").notes)
    assert all(word in notes for word in ("seconds", "polarity", "1 line", "line 11"))


@pytest.mark.parametrize(
    ("header", "lines", "words"),
    [
        (HEADER.replace("polarity", "sign"), {}, ("line 1", "polarity")),
        (HEADER.replace("uS", "uV"), {}, ("line 1", "siemens", "volts")),
        (HEADER.replace("uS", "furlong"), {}, ("line 1", "siemens", "furlong")),
        (HEADER.replace(" (uS)", ""), {}, ("line 2", "unit", "conductance (uS)")),
        (HEADER, {"line7": "5,1,nan,5,a"}, ("line 7", "finite", "nan")),
        (HEADER, {"line7": "5,1,,5,a"}, ("line 7", "empty")),
        (HEADER, {"line8": "6,sideways,40,5,a"}, ("line 8", "polarity", "sideways")),
        (HEADER, {"line9": "7,1,40,5"}, ("line 9", "5 columns", "4")),
        (HEADER, {"line9": "7,1,-40,5,a"}, ("line 9", "negative")),
        (HEADER, {"line9": "7,1,40,0,a"}, ("line 9", "width")),
        (HEADER, {"line9": "7,1,40,,a"}, ("line 9", "width", "polarity 0")),
        (HEADER, {"line9": "7,1,40,5,"}, ("line 9", "device", "empty")),
        (HEADER, {"line9": "7.5,1,40,5,a"}, ("line 9", "pulse", "whole")),
        (HEADER, {"line9": "seven,1,40,5,a"}, ("line 9", "pulse", "seven")),
        (HEADER + ",device", {}, ("line 1", "two columns", "device")),
    ],
)
def test_a_bad_file_gets_a_sentence_with_the_line(
    run, tmp_path: Path, header: str, lines: dict, words: tuple[str, ...]
):
    write(tmp_path / "pulses.csv", header, **lines)
    done = run("technology", "fit", "pulses.csv")
    assert done.code == 2
    assert done.err.count("\n") == 1
    for word in words:
        assert word in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pulses.csv"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (HEADER + "\n", "no row"),
        (HEADER + "\n" + "".join(f"{k},1,{10 + k},5,a\n" for k in range(30)), "none down"),
        (HEADER + "\n0,0,1,5,a\n1,1,2,5,a\n2,1,3,5,a\n", "at least 10 pulses with a reading before and after, got 2"),
        (HEADER + "\n" + "".join(f"{29 - k},{(-1) ** k},{10 + k},5,a\n" for k in range(30)), "line 3"),
        (HEADER + "\n" + "".join(f"{k},{-1 if k < 20 else 1},{20 - abs(20 - k)},5,a\n" for k in range(40)), "exchange"),
        (HEADER.replace(",", ";") + "\n" + "1;1;2,5;5;a\n2;1;2.5;5;a\n", "decimal point"),
    ],
)
def test_a_file_with_too_little_in_it_is_refused(run, tmp_path: Path, text: str, words: str):
    (tmp_path / "pulses.csv").write_text(text)
    done = run("technology", "fit", "pulses.csv")
    assert done.code == 2
    assert words in done.err


def test_more_pulses_between_two_readings_than_tell_anything_are_refused_with_their_line(run):
    rows = [f"{k},{'positive' if k <= 12 else 'negative'},{10 + min(k, 24 - k)}" for k in range(24)]
    Path("p.csv").write_text("pulse,polarity,conductance (uS)\n" + "\n".join([*rows, "2000000000,negative,9"]) + "\n")
    result = run("technology", "fit", "p.csv")
    assert result.code == 2
    assert all(word in result.err for word in ("p.csv, line 26", "pulse", "2e+09")), result.err
