"""``eqprop-analog reram``: pulses in ngspice compared with the pulse model, and a table that can be fitted."""

import json
from pathlib import Path

import pytest

from eqprop_analog.devices.conductance.fitting import read_pulses


def test_the_pulse_model_is_met_and_the_readings_are_a_table_to_fit(run, tmp_path: Path):
    done = run("reram", "--rows", 2, "--columns", 1, "--pulses", 6, "--json", "figures.json")
    assert done.code == 0
    assert json.loads((tmp_path / "figures.json").read_text())["difference"] < 2e-3
    readings = read_pulses("reram/pulses.csv")
    assert readings.names == ("r0c0", "r1c0")
    assert readings.count == 2 * 12
    assert (tmp_path / "reram" / "reram.png").stat().st_size > 10_000
    assert ".subckt yakopcic2011" in (tmp_path / "reram" / "crossbar.cir").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--volts", "0.5V"), "0.3 V"),
        (("--rows", 0), "--rows"),
        (("--pulses", 10**6), "40,000"),
        (("--width", "1V"), "--width"),
    ],
)
def test_what_cannot_be_is_refused(run, words: tuple, said: str):
    done = run("reram", *words)
    assert done.code == 2
    assert said in done.err
