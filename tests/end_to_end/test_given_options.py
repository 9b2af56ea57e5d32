"""An option that is given takes effect or is refused; it is never treated as if it were omitted."""

import subprocess
import sys
from pathlib import Path

import pytest

from eqprop_analog import ResistiveNetwork

NEW = ("--layers", 2, 2)
PROGRAM = "import sys; from eqprop_analog.cli import main; sys.exit(main())"
FULL = Path("/dev/full")
SAVED = ("--network", "net.npz")


@pytest.fixture(autouse=True)
def _network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ResistiveNetwork.dense([2, 3, 2]).save(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("train", "--preset", ""), "--preset"),
        (("train", "--preset", " "), "--preset"),
        (("train", "--output", ""), "--output"),
        (("chips", "--study", ""), "--study"),
        (("simulate", "--model", "hopfield", "--buffer", "", *NEW), "--buffer"),
        (("netlist", *NEW, "--specification", "", "--output", "x.cir"), "--specification"),
    ],
)
def test_empty_values_are_refused(run, command, option):
    result = run(*command)
    assert result.code == 2
    assert f"argument {option}" in result.err
    assert "empty" in result.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((("simulate", *NEW, "--samples", count), "--samples") for count in (0, -1, 5, 99999999999)),
        (("simulate", *NEW, "--data-dir", "."), "--data-dir"),
        (("simulate", *SAVED, "--model", "hopfield"), "--model hopfield"),
        (("energy", *NEW, "--samples", 3), "--samples"),
        (("energy", *NEW, "--no-ngspice", "--time-limit", 5), "--time-limit"),
        (("verify", "net.npz", "--samples", 3), "--samples"),
        (("chips", "--specification", "everything", "--images", 5), "--images"),
    ],
)
def test_options_without_effect_are_refused(run, command, option):
    result = run(*command)
    assert result.code == 2
    assert option in result.err
    assert "leave" in result.err or "disagrees" in result.err


@pytest.mark.skipif(not FULL.exists(), reason="the system has no device that is full")
@pytest.mark.parametrize(
    "command",
    [("presets",), ("presets", "--help"), ("--version",), ("--print-completion", "bash"), ("presets", "--json", "-")],
)
def test_a_full_standard_output_is_named(command):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, "standard output" in done.stderr, "Exception" in done.stderr) == (2, True, False)
