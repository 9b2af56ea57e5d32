"""``eqprop-analog matching``: what it prints, draws and writes, and what it refuses."""

import json

import matplotlib.image
import numpy as np
import pytest

NUDGINGS = {"one-sided": 1, "centred": 2}


def test_the_theorem_is_met_drawn_and_written_down(run, tmp_path):
    result = run("matching", "--steps", 8, "--json", "out.json")
    assert (result.code, result.err) == (0, "")
    assert "NOT MET" not in result.out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["met"]
    assert found["largest_difference"] <= found["bound"] == 1e-6
    exact = [case for case in found["cases"] if case["exact"]]
    assert {(case["network"], case["dynamics"].partition(",")[0]) for case in exact} >= {
        (network, dynamics) for network in ("dense", "convolutional") for dynamics in ("discrete time", "gradient flow")
    }
    assert max(max(case["differences"].values()) for case in exact) == found["largest_difference"]
    others = [case for case in found["cases"] if not case["exact"]]
    assert {case["network"] for case in others} == {"behind", "untied", "dense"}
    assert all(max(case["differences"].values()) > 0.1 for case in others)
    for case in exact:
        for sides in case["curves"].values():
            updates, gradients = np.array(sides["updates"]), np.array(sides["gradients"])
            assert updates.shape == gradients.shape == (len(updates), 8)
            assert np.abs(updates - gradients).max() <= 1e-6 * np.abs(gradients).max()
            assert np.abs(gradients).max() > 0
    slopes = found["against_beta"]["slopes"]
    assert slopes.keys() == {"dense", "smooth", "convolutional"}
    for by_kind in slopes.values():
        for what in ("steps", "estimates"):
            assert by_kind[what] == {nudging: pytest.approx(power, abs=0.05) for nudging, power in NUDGINGS.items()}
    for name in ("dense", "convolutional", "beta"):
        assert matplotlib.image.imread(tmp_path / "runs" / "matching" / f"{name}.png").shape[0] > 300


def test_a_large_nudge_does_not_meet_it_and_is_told_so(run, tmp_path):
    result = run("matching", "--steps", 3, "--nudging", "one-sided", "--beta", 0.01, "--seed", 3, "--json", "out.json")
    assert result.code == 3
    assert "NOT MET" in result.out
    assert not json.loads((tmp_path / "out.json").read_text())["met"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", -1), "--seed"),
        (("--steps", 0), "--steps"),
        (("--beta", 0), "--beta"),
        (("--beta", -0.1), "--beta"),
        (("--beta", "nan"), "--beta"),
        (("--nudging", "both"), "--nudging"),
        (("--json", "file/out.json"), "file"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_written(run, tmp_path, options, message):
    (tmp_path / "file").touch()
    result = run("matching", *options)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not list(tmp_path.rglob("*.png"))
