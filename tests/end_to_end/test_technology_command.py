"""``eqprop-analog technology fit``: from a file of pulses to a specification that chips, netlists and training take."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.networks.resistive.chips.chip import Chip

HEADER = "pulse,polarity,conductance (uS),width (us),device"


def write(path: Path, header: str = HEADER, **lines: str) -> None:
    """Two cycles of 30 pulses up and 30 down of a soft-bounded device; ``lines``: line numbers' own text."""
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
        (HEADER + "\n0,0,1,5,a\n1,1,2,5,a\n", "at least 10"),
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
