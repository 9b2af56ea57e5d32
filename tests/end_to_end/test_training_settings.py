"""Training settings of a configuration: shifted images, decreasing rates, truncated tests, the exact gradient."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog.data import shifted
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.presets import presets, resolve

pytestmark = pytest.mark.usefixtures("without_ngspice")

TRUNCATED = 'sweeps = 4\nprecision = "float32"\n'


@pytest.fixture
def train(run, preset, dataset):
    """Train with the small preset and these settings; returns the metrics."""

    def train(settings: str, *options: object) -> dict[str, Any]:
        preset.write_text(preset.read_text() + settings)
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run", *options)
        assert result.code == 0, result.err
        return json.loads(Path("run/metrics.json").read_text())

    return train


def test_a_shifted_image_is_the_image_elsewhere_and_zero_around_it():
    image = np.arange(1.0, 17).reshape(4, 4)
    moved = shifted(np.tile(image.ravel(), (400, 1)), 2, np.random.default_rng(0)).reshape(-1, 4, 4)
    framed = np.pad(image, 4)
    expected = {framed[2 + i : 6 + i, 2 + j : 6 + j].tobytes() for i in range(5) for j in range(5)}
    assert {one.tobytes() for one in moved} == expected


def test_shifting_by_nothing_changes_nothing_and_each_image_moves_by_itself():
    images = np.random.default_rng(0).uniform(size=(50, 16)).astype(np.float32)
    assert (shifted(images, 0, np.random.default_rng(0)) == images).all()
    moved = shifted(images, 1, np.random.default_rng(0))
    assert moved.dtype == np.float32
    assert (moved == images).all(axis=1).any()
    assert not (moved == images).all(axis=1).all()


def test_training_on_shifted_images_is_other_training(train):
    plain = train(TRUNCATED)
    Path("run/checkpoint.npz").unlink()
    assert train("shift = 1\n")["history"] != plain["history"]


def test_only_some_epochs_and_the_last_are_tested(train, run, dataset, preset):
    every = train(TRUNCATED, "--epochs", 3)["history"]
    Path("run/checkpoint.npz").unlink()
    metrics = train("test_every = 2\n", "--epochs", 3)
    untested, *tested = [entry for entry in metrics["history"] if "test_error" not in entry] + metrics["history"][1:]
    assert untested == {name: value for name, value in every[0].items() if name in untested} | {
        "seconds": untested["seconds"],
        "statuses": untested["statuses"],
    }
    assert [entry["test_error"] for entry in tested] == [entry["test_error"] for entry in every[1:]]
    assert metrics["test_error"] == every[-1]["test_error"]
    assert "not tested" in Path("run/live.html").read_text()
    assert run("report", "run", "--data-dir", dataset).code == 0


def test_a_run_cannot_end_with_an_epoch_that_was_not_tested(train, run, preset, dataset):
    train(TRUNCATED + "test_every = 3\n", "--epochs", 2)
    with np.load("run/checkpoint.npz") as file:
        arrays = dict(file)
    state = json.loads(str(arrays["state"]))
    del state["history"][-1]["test_error"]
    np.savez("run/checkpoint.npz", **arrays | {"state": np.array(json.dumps(state))})
    result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run", "--epochs", 2)
    assert result.code != 0
    assert "test_every" in result.err
    assert "--epochs" in result.err


def test_half_a_cosine_takes_the_rates_to_zero(small, tmp_path):
    path = tmp_path / "cosine.toml"
    path.write_text(small.replace("decay = 0.9", "decay = 1.0") + "cosine = 10\n")
    config = resolve(str(path), {})
    rates = [config.rule(epoch).rates.conductances[0] / 1e-15 for epoch in (0, 5, 10, 11)]
    assert rates == pytest.approx([1, 0.5, 0, 0], abs=1e-15)
    config = resolve(str(path), {"rate_factor": 0.3})
    assert [config.rule(epoch).rates.biases[0] for epoch in (0, 5)] == pytest.approx(
        [0.3 * resolve(str(path), {}).rule(epoch).rates.biases[0] for epoch in (0, 5)]
    )


@pytest.mark.parametrize(
    ("settings", "trained", "tested"), [("", "TRUNCATED", "CONVERGED"), ("test_sweeps = 3\n",) + ("TRUNCATED",) * 2]
)
def test_phases_are_counted_as_they_were_ended(train, settings, trained, tested):
    statuses = train(TRUNCATED + settings, "--epochs", 1)["statuses"]
    expected = dict.fromkeys((trained, tested), 0)
    expected[trained] += 3 * 90
    expected[tested] += 45
    assert statuses == expected


def test_the_exact_gradient_trains_as_weak_nudges_do(train):
    nudged = train(TRUNCATED, "--epochs", 2)
    Path("run/checkpoint.npz").unlink()
    exact = train("", "--epochs", 2, "--method", "implicit")
    assert exact["statuses"] == {"TRUNCATED": 2 * 90, "CONVERGED": 2 * 45}
    assert exact["train_error"] == pytest.approx(nudged["train_error"], abs=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "implicit"}, "method: .implicit. needs a fixed number of sweeps"),
        ({"method": "implicit", "sweeps": 3, "on_failure": "skip"}, "on_failure = .stop."),
        ({"test_sweeps": 3, "solver": "ngspice"}, "sweeps: ngspice .*leave out sweeps and test_sweeps"),
        ({"device": "cuda"}, 'device: "cuda" needs a fixed number of sweeps'),
        ({"shift": -1}, "shift: .*greater than or equal to 0, got -1"),
        ({"rate_factor": -1.0}, "rate_factor: .*greater than 0, got -1"),
        ({"cosine": 0}, "cosine: .*greater than or equal to 1, got 0"),
    ],
)
def test_settings_that_do_not_go_together_are_named(preset, settings, words):
    with pytest.raises(UserError, match=words):
        resolve(str(preset), settings)


def gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


@pytest.mark.skipif(gpu(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named_before_anything_is_written(run, preset, dataset):
    preset.write_text('diode = { law = "clamp" }\ndevice = "cuda"\n' + preset.read_text() + TRUNCATED)
    result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run")
    assert result.code == 2
    assert "device: " in result.err
    assert "PyTorch" in result.err
    assert not Path("run").exists()


@pytest.mark.parametrize("name", presets())
def test_every_preset_says_what_it_is_and_makes_its_rule(name):
    config = resolve(name, {})
    assert config.description
    rates = config.rule(0).rates
    assert all(rates.of(name) >= 0 for name in config.network().arrays())


@pytest.mark.parametrize(
    ("name", "layers", "gain", "sweeps", "beta", "rates"),
    [
        ("drn-xs", [784, 100, 10], 100, 4, 1, [0.006, 0.006]),
        ("drn-1h", [784, 1024, 10], 480, 4, 1, [0.006, 0.006]),
        ("drn-2h", [784, 1024, 1024, 10], 2000, 5, 1, [0.002, 0.006, 0.018]),
        ("drn-3h", [784, 1024, 1024, 1024, 10], 4000, 6, 2, [0.005, 0.02, 0.08, 0.005]),
        ("drn-xl", [784, 32768, 10], 800, 4, 1, [0.006, 0.006]),
    ],
)
def test_published_recipes_in_si_units(name, layers, gain, sweeps, beta, rates):
    """Scellier 2024 counts conductances in microsiemens: β in µS, a rate in µS²/V²."""
    config = resolve(name, {})
    assert config.layers == layers
    assert (config.input_gain, config.sweeps, config.test_sweeps, config.batch_size) == (gain, sweeps, sweeps, 4)
    assert config.beta == pytest.approx(1e-6 * beta)
    assert config.rule(1).rates.conductances == pytest.approx([0.99e-12 * rate for rate in rates])
