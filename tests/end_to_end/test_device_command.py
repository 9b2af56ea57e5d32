"""A law from a measured curve by ``device``, and its use wherever a diode can be given."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import DiodeWithResistance, NgspiceDiode, Tabulated, law_from

TRUE = DiodeWithResistance(2e-9, 1.8, 15.0, 0.0)


def write_curve(path: Path, law: Any, relative: float = 0.0, top: float = 0.8) -> Path:
    random = np.random.default_rng(0)
    v = np.arange(-0.5, top + 1e-9, 0.02)
    i = -law.current(-v) * (1 + relative * random.standard_normal(len(v)))
    path.write_text(
        "V (mV),I (uA)\n" + "".join(f"{1e3 * a!r},{1e6 * b!r}\n" for a, b in zip(v.tolist(), i.tolist(), strict=True))
    )
    return path


def law_in(path: str) -> Any:
    return law_from(tomllib.loads(Path(path).read_text())["diode"])


def test_fit_finds_the_junction_without_noise_exactly(run: Any) -> None:
    write_curve(Path("iv.csv"), TRUE)
    result = run("device", "fit", "iv.csv", "--json", "f.json")
    assert result.code == 0, result.err
    law = law_in("iv.toml")
    assert law.saturation_current == pytest.approx(2e-9, rel=1e-6)
    assert law.emission == pytest.approx(1.8, rel=1e-6)
    assert law.series_resistance == pytest.approx(15, rel=1e-6)
    assert abs(float(law.current(np.array(0.0))) + 1e-6) < 2e-7  # the usual rail: about 1 uA into a node at 0 V
    assert Path("iv.png").stat().st_size > 10_000


def test_fit_says_how_well_and_its_confidence_holds_the_truth(run: Any) -> None:
    write_curve(Path("iv.csv"), TRUE, relative=0.01)
    result = run("device", "fit", "iv.csv", "--rail", "0.3 V", "--json", "f.json")
    assert result.code == 0, result.err
    assert law_in("iv.toml").rail == 0.3
    figures = json.loads(Path("f.json").read_text())["fit"]
    assert 0.003 < figures["median_relative_residual"] < 0.015
    for name, true in (("saturation_current", 2e-9), ("emission", 1.8), ("series_resistance", 15.0)):
        low, high = figures["intervals"][name]
        assert low < true < high
        assert high / low < 1.1
    document = tomllib.loads(Path("iv.toml").read_text())
    data = {name: np.array(values) for name, values in document["data"].items()}
    np.testing.assert_allclose(data["residual"], data["law_current"] - data["current"], atol=1e-18)
    assert document["source"]["file"] == "iv.csv"


@pytest.mark.parametrize(
    ("action", "text", "words"),
    [
        ("table", "V (V),I (A)\n" + "".join(f"{k},0\n" for k in range(9)), ["0 A at every voltage", "column"]),
        ("table", "V (V),I (A)\n" + "".join(f"{k},1e-3\n" for k in range(9)), ["0.001 A at every voltage"]),
        (
            "fit",
            "V (V),I (A)\n" + "".join(f"{k},{1e-9 * 10 ** (k % 3 * 3)}\n" for k in range(1, 20)),
            ["junction", "device table"],
        ),
        (
            "table",
            "V (uA),I (mV)\n" + "".join(f"{k},{k}\n" for k in range(9)),
            ["iv.csv, line 1", "current", "unit", "header"],
        ),
    ],
)
def test_a_curve_that_makes_no_law_is_refused_and_nothing_is_written(
    action: str, text: str, words: list[str], run: Any
) -> None:
    Path("iv.csv").write_text(text)
    result = run("device", action, "iv.csv")
    assert (result.code, result.out) == (2, "")
    assert all(word in result.err for word in words), result.err
    assert [path.name for path in Path().iterdir()] == ["iv.csv"]


@pytest.mark.parametrize(
    ("true", "relative", "top"),
    [(NgspiceDiode(1e-12, 1.1, 0.0), 0.01, 0.4), (NgspiceDiode(1.5e-9, 1.4, 0.0), 0.03, 0.8)],
)
def test_a_resistance_that_cannot_be_told_from_zero_is_left_out(
    true: NgspiceDiode, relative: float, top: float, run: Any
) -> None:
    write_curve(Path("iv.csv"), true, relative=relative, top=top)
    result = run("device", "fit", "iv.csv")
    assert result.code == 0, result.err
    assert isinstance(law_in("iv.toml"), NgspiceDiode)
    assert "cannot be told from 0" in result.out


def test_a_point_in_the_noise_that_distorts_the_fit_is_named_until_the_noise_is_stated(run: Any) -> None:
    true, random, v = NgspiceDiode(1.5e-9, 1.4, 0.0), np.random.default_rng(3), np.linspace(-0.5, 0.6, 60)
    noise, scatter = (random.standard_normal(60) for _ in range(2))
    i = -true.current(-v) * (1 + 0.03 * noise) + 1e-10 * scatter
    i[v > 0] = np.maximum(i[v > 0], 2e-11)
    i[28] = 2e-11  # the first point above 0 V, at 0.02 V
    Path("iv.csv").write_text(
        "V (V),I (A)\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(v.tolist(), i.tolist(), strict=True))
    )
    result = run("device", "fit", "iv.csv")
    assert result.code == 0, result.err
    assert "iv.csv, line 30" in result.out
    assert "--noise" in result.out
    result = run("device", "fit", "iv.csv", "--noise", "0.2nA", "--relative-noise", "0.03")
    assert result.code == 0, result.err
    assert "line 30" not in result.out
    assert law_in("iv.toml").saturation_current == pytest.approx(1.5e-9, rel=0.1)


def test_what_is_no_junction_is_said(run: Any) -> None:
    v = np.linspace(0.02, 2, 60)
    Path("r.csv").write_text("V (V),I (mA)\n" + "".join(f"{a},{a**2}\n" for a in v))
    result = run("device", "fit", "r.csv")
    assert result.code == 0
    assert "device table" in result.out


def test_a_single_point_that_is_off_is_named_with_its_line(run: Any) -> None:
    path = write_curve(Path("iv.csv"), TRUE, relative=0.01)
    lines = path.read_text().split("\n")
    v, i = lines[56].split(",")
    path.write_text("\n".join([*lines[:56], f"{v},{float(i) / 3!r}", *lines[57:]]))
    result = run("device", "fit", "iv.csv")
    assert result.code == 0, result.err
    assert "iv.csv, line 57" in " ".join(tomllib.loads(Path("iv.toml").read_text())["notes"])
    assert "iv.csv, line 57" in result.out


def up_and_down(path: Path, factor: float, relative: float, shift: float = 0.0) -> None:
    """A sweep up and, at voltages lower by ``shift``, down, where the current is ``factor`` times the law's."""
    random, up = np.random.default_rng(1), np.arange(-0.3, 0.81, 0.02)
    v = np.concatenate([up, up[-2::-1] - shift])
    i = (
        -TRUE.current(-v)
        * np.repeat([1, factor], [len(up), len(up) - 1])
        * (1 + relative * random.standard_normal(len(v)))
    )
    path.write_text("V (V),I (A)\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(v.tolist(), i.tolist(), strict=True)))


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_hysteresis_is_said_by_a_fit_and_refused_beyond_the_noise_that_is_stated(run: Any, shift: float) -> None:
    up_and_down(Path("iv.csv"), 1.3, 0.01, shift)
    result = run("device", "fit", "iv.csv")
    assert result.code == 0, result.err
    assert all(word in result.out for word in ("hysteresis", "% larger", "lines 58 to", "lines 17 to 57")), result.out
    assert "hysteresis" in " ".join(tomllib.loads(Path("iv.toml").read_text())["notes"])
    refused = run("device", "fit", "iv.csv", "--relative-noise", 0.02, "--output", "no.toml")
    assert (refused.code, Path("no.toml").exists()) == (2, False)
    assert all(word in refused.err for word in ("iv.csv", "hysteresis", "2 %", "--relative-noise")), refused.err
    assert run("device", "fit", "iv.csv", "--relative-noise", 0.2).code == 0


def test_branches_that_differ_by_noise_alone_have_no_hysteresis(run: Any) -> None:
    for shift in (0.0, 0.01):
        up_and_down(Path("iv.csv"), 1.0, 0.02, shift)
        result = run("device", "fit", "iv.csv", "--relative-noise", 0.02)
        assert result.code == 0, result.err
        assert "hysteresis" not in result.out


def test_a_law_that_pytorch_cannot_run_is_refused_before_a_folder_is_made(
    run: Any, preset: Path, dataset: Path
) -> None:
    pytest.importorskip("torch")
    write_curve(Path("iv.csv"), TRUE)
    assert run("device", "table", "iv.csv", "--output", "table.toml").code == 0
    common = ("--preset", preset, "--data-dir", dataset, "--diode", "table.toml", "--device", "torch-cpu")
    result = run("train", *common, "--sweeps", 4, "--output", "out")
    assert result.code == 2
    assert "--device cpu" in result.err
    assert not Path("out").exists()


def test_a_table_is_the_law_in_both_solvers_and_is_saved_with_networks(run: Any) -> None:
    write_curve(Path("iv.csv"), TRUE, relative=0.002)
    result = run("device", "table", "iv.csv", "--relative-noise", 0.02, "--output", "t.toml", "--json", "f.json")
    assert result.code == 0, result.err
    law = law_in("t.toml")
    assert isinstance(law, Tabulated)
    assert json.loads(Path("f.json").read_text())["table"]["knots"] == len(law.voltages)
    assert run("simulate", "--layers", 4, 6, 2, "--diode", "t.toml", "--json", "s.json").code == 0
    agreement = json.loads(Path("s.json").read_text())["agreement"]
    assert agreement["met"]
    assert agreement["largest_difference"] < 1e-9
    assert run("netlist", "--layers", 4, 6, 2, "--diode", "t.toml", "--output", "n.npz").code == 0
    assert ResistiveNetwork.load("n.npz").diode == law


@pytest.mark.parametrize("action", ["fit", "table"])
def test_training_takes_a_device_file_by_option_and_by_configuration(
    action: str, run: Any, preset: Path, dataset: Path
) -> None:
    write_curve(Path("iv.csv"), TRUE)
    assert run("device", action, "iv.csv", "--output", "mine.toml").code == 0
    command = ("train", "--preset", preset, "--data-dir", dataset, "--epochs", 1)
    result = run(*command, "--diode", "mine.toml", "--output", "one")
    assert result.code == 0, result.err
    assert ResistiveNetwork.load("one/network.npz").diode == law_in("mine.toml")
    assert run("verify", "one", "--data-dir", dataset).code == 0
    preset.write_text(preset.read_text() + '[diode]\nfile = "mine.toml"\nrail = "350mV"\n')
    result = run(*command, "--output", "two")
    assert result.code == 0, result.err
    assert ResistiveNetwork.load("two/network.npz").diode.rail == 0.35
    assert run("report", "two", "--data-dir", dataset).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("device", "fit"), ["iv.csv"]),
        (("device", "fit", "none.csv"), ["none.csv", "no such file"]),
        (("device", "fit", "iv.csv", "--tolerance", 0.1), ["--tolerance", "table"]),
        (("device", "table", "iv.csv", "--celsius", 30), ["--celsius", "fit"]),
        (("device", "table", "iv.csv", "--output", "a.txt"), ["a.txt", "TOML"]),
        (("device", "table", "iv.csv", "--tolerance", 2), ["tolerance", "0.5"]),
        (("device", "table", "iv.csv", "--noise", "1V"), ["--noise", "amperes"]),
        (("simulate", "--layers", 2, 3, 1, "--diode", "none.toml"), ["none.toml", "device file"]),
        (("simulate", "--layers", 2, 3, 1, "--diode", "iv.csv"), ["--diode", "TOML".lower()]),
        (("simulate", "--layers", 2, 3, 1, "--diode", "other.toml"), ["other.toml", "[diode]"]),
    ],
)
def test_what_cannot_be_done_is_a_sentence(arguments: tuple[Any, ...], words: list[str], run: Any) -> None:
    write_curve(Path("iv.csv"), TRUE)
    Path("other.toml").write_text("a = 1\n")
    result = run(*arguments)
    assert result.code == 2
    assert all(word in result.err for word in words), result.err
    assert "Traceback" not in result.err
