"""Hopfield networks trained by the command that trains resistive ones: every dynamics, nudge, cost and connection learns."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, cli, data
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.presets import presets, resolve
from eqprop_analog.networks.hopfield import training as hopfield
from eqprop_analog.networks.hopfield.config import HopfieldConfig

SMALL = """\
model = "hopfield"
beta = 0.5
batch_size = 5
epochs = 12
"""
DENSE = "layers = [16, 8, 3]\nweight_rates = [0.4, 0.2]\n"
CONVOLUTIONS = """\
connections = [{ channels = 4, kernel = 3, padding = 1, pool = 2 }, { outputs = 3 }]
buffer = { law = "sigmoid" }
weight_rates = 0.4
"""
SIGMOID = 'buffer = { law = "sigmoid" }\n'
"""No node is begun where ρ is flat, out of which backpropagation never finds."""
READ_OUTSIDE = 'layers = [16, 8]\nhead = 3\ncost = "cross-entropy"\nweight_rates = [0.4, 0.4]\n'
DESCENT = 'dynamics = "descent"\nfree_steps = 5\nnudged_steps = 3\n'
DISCRETE = 'dynamics = "discrete-time"\nfree_steps = 10\nnudged_steps = 4\n'
FLOW = 'dynamics = "gradient-flow"\nstep = 0.5\nfree_steps = 20\nnudged_steps = 4\n'
ENERGY = 'dynamics = "energy-based"\nstep = 0.2\nfree_steps = 30\nnudged_steps = 8\ninput_buffer = true\n'
LEAKY = 'dynamics = "leaky-integrator"\nstep = 0.5\nfree_steps = 20\nnudged_steps = 8\n'
CIRCUIT = 'dynamics = "leaky-integrator"\nstep = 0.1\nsolver = "ngspice"\n'
CHANCE = 2 / 3
"""Error of guessing among three classes."""


@pytest.fixture(autouse=True)
def small_images(monkeypatch) -> None:
    """The synthetic data set replaces MNIST, and no plots are drawn."""
    monkeypatch.setitem(data.SHAPES, "mnist", (1, 4, 4))
    monkeypatch.setattr("eqprop_analog.experiments.run.learning_curve", lambda *_: None)


@pytest.fixture
def train(run, dataset, tmp_path):
    """Train with these settings; returns the metrics in the run folder."""

    def train(settings: str, *options: object, output: str = "run") -> dict[str, Any]:
        path = tmp_path / "hopfield.toml"
        path.write_text(SMALL + settings)
        result = run("train", "--preset", path, "--data-dir", dataset, "--output", output, *options)
        assert (result.code, result.err) == (0, "")
        return json.loads(Path(output, "metrics.json").read_text())

    return train


@pytest.mark.parametrize(
    "settings",
    [
        DENSE + DESCENT,
        DENSE + DISCRETE,
        DENSE + FLOW,
        DENSE + LEAKY,
        DENSE + SIGMOID + ENERGY,
        DENSE + DESCENT + 'nudging = "one-sided"\n',
        DENSE + FLOW + 'nudging = "random-sign"\npersistent = true\n',
        DENSE + DISCRETE + "untied = true\n",
        DENSE + DISCRETE + "momentum = 0.5\nweight_decay = 1e-4\n",
        DENSE + SIGMOID + DISCRETE + 'initial = "fan-in"\n',
        DENSE + DISCRETE + 'update = "continual"\nnudging = "one-sided"\n',
        DENSE + FLOW + 'update = "continual"\nsignal = "differential"\nnudging = "random-sign"\npersistent = true\n',
        DENSE + DISCRETE + 'untied = true\nsignal = "vector-field"\n',
        DENSE + SIGMOID + DISCRETE + "step = 0.5\n",
        DENSE + DISCRETE + 'kind = "output"\nnudging = "one-sided"\n',
        DENSE + SIGMOID + DISCRETE + 'method = "bptt"\n',
        DENSE + SIGMOID + DISCRETE + 'step = 0.5\nmethod = "bptt"\n',
        DENSE + FLOW + 'persistent = true\nmethod = "bptt"\nkind = "output"\n',
        DENSE + SIGMOID + DESCENT + 'method = "bptt"\nbackward_steps = 3\npersistent = true\n',
        DENSE + 'dynamics = "descent"\n',
        READ_OUTSIDE + DISCRETE,
        READ_OUTSIDE + DESCENT + "untied = true\n",
        CONVOLUTIONS + DISCRETE,
        CONVOLUTIONS + DESCENT + 'nudging = "random-sign"\n',
        CONVOLUTIONS + DISCRETE + 'untied = true\nmethod = "bptt"\n',
        CONVOLUTIONS + DISCRETE + "flip = true\npixel_mean = [0.3]\npixel_deviation = [0.5]\n",
    ],
)
def test_every_combination_learns(train, settings):
    metrics = train(settings)
    assert metrics["test_error"] < CHANCE / 3
    assert metrics["history"][0]["train_error"] > metrics["train_error"]


def test_a_run_leaves_a_network_and_says_how_its_phases_ended(train):
    metrics = train(DENSE + DISCRETE, "--epochs", 1)
    assert metrics["statuses"] == {"TRUNCATED": 3 * 90 + 45}
    assert HopfieldNetwork.load("run/network.npz").layers == (16, 8, 3)
    assert resolve("run/config.toml", {}).model == "hopfield"
    assert train(DENSE + 'dynamics = "descent"\n', output="converged")["statuses"] == {"CONVERGED": 12 * (3 * 90 + 45)}


def test_bptt_in_place_of_nudges_has_its_cost_behind_the_buffers(tmp_path):
    for settings, kind in ((DESCENT, "output"), (DESCENT + 'method = "bptt"\n', "conductance")):
        path = tmp_path / "hopfield.toml"
        path.write_text(SMALL + DENSE + settings)
        config = resolve(str(path), {"method": "bptt"})
        assert isinstance(config, HopfieldConfig)
        assert config.kind == kind
    path.write_text(SMALL + READ_OUTSIDE + DESCENT)
    assert resolve(str(path), {"method": "bptt"}).model_dump()["kind"] == "conductance"


def test_layers_beside_a_preset_of_convolutions_replace_them(train):
    assert train(CONVOLUTIONS + DISCRETE, "--layers", 16, 6, 5, 3)["config"]["layers"] == [16, 6, 5, 3]


KEEPING = [
    DENSE + FLOW + 'nudging = "random-sign"\npersistent = true\nmomentum = 0.5\nprecision = "float32"\n',
    CONVOLUTIONS + DISCRETE + "untied = true\nshift = 1\nflip = true\nmomentum = 0.9\n",
    DENSE + DESCENT + 'method = "bptt"\npersistent = true\n',
]
"""Trainings that remember something from batch to batch."""


def left(folder: str) -> tuple[Any, ...]:
    """All results of a run, bit by bit."""
    with np.load(Path(folder, "checkpoint.npz"), allow_pickle=False) as file:
        arrays = {name: file[name].tobytes() for name in file.files if name != "state"}
        random = json.loads(str(file["state"]))["random"]
    metrics = json.loads(Path(folder, "metrics.json").read_text())
    errors = [(epoch["train_error"], epoch["test_error"]) for epoch in metrics["history"]]
    return Path(folder, "network.npz").read_bytes(), arrays, random, errors


@pytest.mark.parametrize("settings", KEEPING)
def test_two_and_two_epochs_are_four(train, settings):
    train(settings, "--epochs", 4, output="whole")
    train(settings, "--epochs", 2, output="parts")
    train(settings, "--epochs", 4, "--resume", output="parts")
    assert left("parts") == left("whole")


@pytest.mark.parametrize("chunk", [2, 19, 21, 33])
@pytest.mark.parametrize("settings", KEEPING)
def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_bits(train, settings, chunk, monkeypatch):
    class Stop(BaseException):
        pass

    seen = iter(range(1, 100))

    @contextmanager
    def stage(description, total):
        def progress(done, error):
            if next(seen) == chunk:
                raise Stop

        yield progress

    monkeypatch.setattr("eqprop_analog.networks.hopfield.training.CHUNK", 10)
    train(settings, "--epochs", 2, output="whole")
    with monkeypatch.context() as patch:
        patch.setattr("eqprop_analog.cli.console.stage", stage)
        patch.setattr("eqprop_analog.experiments.run.CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Stop):
            train(settings, "--epochs", 2, output="parts")
    train(settings, "--epochs", 2, output="parts")
    assert left("parts") == left("whole")


def test_a_circuit_trained_in_ngspice_is_the_one_its_surrogate_trains_and_goes_on_to_the_same_bits(train):
    settings = DENSE + SIGMOID + DESCENT + 'precision = "float32"\n'
    metrics = train(settings, "--solver", "ngspice", "--epochs", 2, output="whole")
    assert metrics["statuses"] == {"CONVERGED": 2 * (3 * 90 + 45)}
    train(settings, "--solver", "ngspice", "--epochs", 1, output="parts")
    train(settings, "--solver", "ngspice", "--epochs", 2, "--resume", output="parts")
    assert Path("whole/network.npz").read_bytes() == Path("parts/network.npz").read_bytes()
    surrogate = train(DENSE + SIGMOID + 'dynamics = "leaky-integrator"\nstep = 0.1\n', "--epochs", 2, output="numpy")
    assert [e["test_error"] for e in metrics["history"]] == [e["test_error"] for e in surrogate["history"]]
    networks = [HopfieldNetwork.load(Path(folder, "network.npz")).arrays() for folder in ("whole", "numpy")]
    for ours, theirs in zip(*(each.values() for each in networks), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_samples_without_an_equilibrium_end_the_run_or_are_left_out(train, run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(hopfield, "PATIENCE", 5)  # ten steps, in which nothing converges
    settings = DENSE + 'dynamics = "leaky-integrator"\nstep = 0.5\n'
    metrics = train(settings, "--on-failure", "skip", "--epochs", 1)
    assert metrics["statuses"] == {"STALLED": 3 * 90 + 45}
    assert metrics["train_error"] == metrics["test_error"] == 1
    fresh = resolve(str(tmp_path / "hopfield.toml"), {}).network().arrays()
    for name, values in HopfieldNetwork.load("run/network.npz").arrays().items():
        np.testing.assert_array_equal(values, fresh[name])
    result = run("train", "--preset", tmp_path / "hopfield.toml", "--data-dir", dataset, "--output", "stopped")
    assert result.code == 2
    assert "after 5 images: sample 0: STALLED" in result.err


def test_states_are_kept_of_training_and_of_test_images(train):
    train(DENSE + FLOW + "persistent = true\n", "--epochs", 1)
    with np.load("run/checkpoint.npz", allow_pickle=False) as file:
        assert file["state_1"].shape == (90, 8)
        assert file["held_out_state_2"].shape == (45, 3)
        assert file["state_1"].any(axis=1).all()
        assert file["held_out_state_1"].any(axis=1).all()


@pytest.mark.parametrize("dynamics", ["gradient-flow", "leaky-integrator", "discrete-time", "descent"])
def test_a_run_says_its_dynamics(run, dataset, tmp_path, dynamics, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(cli.console, "say", said.append)
    step = "step = 0.5\n" if dynamics in ("gradient-flow", "leaky-integrator") else ""
    path = tmp_path / "hopfield.toml"
    path.write_text(f'{SMALL}{DENSE}{step}dynamics = "{dynamics}"\nfree_steps = 2\nnudged_steps = 2\n')
    assert run("train", "--preset", path, "--data-dir", dataset, "--output", "run", "--epochs", 1).code == 0
    assert said[0] == f"training 16-8-3 on mnist by {dynamics}, into run"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (DENSE, "dynamics: Field required"),
        (DENSE + 'dynamics = "newton"', "dynamics: .*'gradient-flow', .*got 'newton'"),
        (DENSE + 'dynamics = "gradient-flow"', "step: gradient-flow needs"),
        (DENSE + DESCENT + "step = 0.5", "step: descent .*leave out step"),
        (DENSE + FLOW.replace("0.5", "1.5"), "step: .*less than or equal to 1, got 1.5"),
        (DENSE + DESCENT + "connections = [{ outputs = 3 }]", "give either layers or connections"),
        ("weight_rates = 0.1\n" + DESCENT, "give either layers or connections"),
        ("weight_rates = 0.1\nconnections = [{ outputs = 3, pool = 2 }]\n" + DESCENT, "connections: .*pool"),
        ("weight_rates = 0.1\nconnections = [{ channels = 3 }]\n" + DESCENT, "connections: .*kernel"),
        (
            "weight_rates = 0.1\nconnections = [{ outputs = 4 }, { channels = 3, kernel = 3 }]\n" + DESCENT,
            r"connections: convolution: expected \(channels, height, width\)",
        ),
        (
            "weight_rates = 0.1\nconnections = [{ channels = 3, kernel = 7 }]\n" + DESCENT,
            "connections: convolution: a kernel of 7",
        ),
        (DENSE.replace("[0.4, 0.2]", "[0.1]") + DESCENT, "weight_rates: 1 values for 2 connections"),
        (READ_OUTSIDE + "bias_rates = [0.1]\n" + DESCENT, "bias_rates: 1 values for 2 connections"),
        (
            DENSE + DESCENT + 'buffer = { law = "relu" }',
            'buffer law "relu" is unknown; there are hard-sigmoid, sigmoid',
        ),
        (DENSE + DESCENT + 'buffer = { law = "sigmoid", gain = -1 }', "buffer law sigmoid: gain"),
        (DENSE + DESCENT + "persistent = true\nshift = 1", "persistent: .*leave out shift and flip"),
        (DENSE + 'dynamics = "descent"\nmethod = "bptt"', "backward_steps: required"),
        (DENSE + DESCENT + 'kind = "output"', 'kind: "output" .*discrete-time'),
        (DENSE + DESCENT + 'update = "continual"', 'update: "continual" .*nudged_steps'),
        (DENSE + DESCENT + 'solver = "ngspice"', 'dynamics: ngspice .*"leaky-integrator", step = 0.1'),
        (
            DENSE + LEAKY.replace("0.5", "0.1") + 'solver = "ngspice"',
            "free_steps: ngspice always solves to convergence",
        ),
        (DENSE + CIRCUIT + 'precision = "float32"', "precision: ngspice computes in float64"),
        (DENSE + CIRCUIT + 'method = "bptt"\nbackward_steps = 2', "free_steps: .*leave out"),
        (DENSE + DESCENT + 'method = "bptt"\non_failure = "skip"', 'on_failure: "skip"'),
        (DENSE + DESCENT + "pixel_mean = [0.1, 0.2]", "pixel_mean: 2 values for 1 channels of mnist"),
        (DENSE + DESCENT + "momentum = 1.0", "momentum: .*less than 1, got 1.0"),
        (DENSE + DESCENT + "conductance_rates = 0.1", "conductance_rates: Extra inputs are not permitted"),
        (DENSE + DESCENT.replace("5", "0"), "free_steps: .*greater than or equal to 1, got 0"),
    ],
)
def test_settings_that_do_not_go_together_are_named_in_a_line(run, dataset, tmp_path, settings, words):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL + settings)
    result = run("train", "--preset", path, "--data-dir", dataset)
    assert result.code != 0
    assert len(result.err.splitlines()) == 1
    with pytest.raises(UserError, match=words):
        resolve(str(path), {})


def test_an_option_of_another_kind_of_network_is_named(run, dataset, tmp_path):
    path = tmp_path / "hopfield.toml"
    path.write_text(SMALL + DENSE + DESCENT)
    result = run("train", "--preset", "drn-xs", "--data-dir", dataset, "--phases", "half")
    assert result.err.startswith(
        "error: configuration: phases: drn-xs trains a resistive network, which has no such setting"
    )
    with pytest.raises(UserError, match=r"method: .*'bptt'"):
        resolve("drn-xs", {"method": "bptt"})
    with pytest.raises(UserError, match=r"method: .*'implicit'"):
        resolve(str(path), {"method": "implicit"})


def test_an_unknown_model_is_named(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text('model = "boltzmann"\n')
    with pytest.raises(UserError, match=r"model: expected one of .*hopfield.*, got 'boltzmann'"):
        resolve(str(path), {})


def test_a_network_that_does_not_fit_the_images_is_refused(run, dataset, tmp_path):
    path = tmp_path / "hopfield.toml"
    path.write_text(SMALL + DENSE.replace("[16, 8, 3]", "[16, 8, 4]") + DESCENT)
    result = run("train", "--preset", path, "--data-dir", dataset)
    assert result.err.startswith("error: layers: mnist needs 16 inputs and 3 outputs")


HOPFIELD = [name for name, path in presets().items() if 'model = "hopfield"' in path.read_text()]


@pytest.mark.parametrize("name", HOPFIELD)
def test_every_preset_builds_its_network_for_its_images(name, monkeypatch):
    monkeypatch.undo()
    config = resolve(name, {})
    assert isinstance(config, HopfieldConfig)
    assert config.description
    network = config.network()
    assert network.layers == config.sizes
    assert network.layers[0] == np.prod(data.SHAPES[config.dataset])
    assert network.classes == config.classes == 10
    rates = config.rule(0).rates
    assert all(rates.of(parameter) > 0 for parameter in network.arrays())


@pytest.mark.parametrize(
    ("name", "hidden", "steps", "beta", "rates", "epochs"),
    [
        ("net1", [500], (20, 4), 2 * 0.5, [2 * 0.1, 2 * 0.05], 25),
        ("net2", [500] * 2, (150, 6), 2 * 1.0, [2 * 0.4, 2 * 0.1, 2 * 0.01], 60),
        ("net3", [500] * 3, (500, 8), 2 * 1.0, [2 * 0.128, 2 * 0.032, 2 * 0.008, 2 * 0.002], 500),
        ("eb-1h", [512], (100, 12), 0.5, [0.1, 0.05], 30),
        ("p-1h", [512], (40, 15), 0.1, [0.08, 0.04], 30),
        ("p-2h", [512] * 2, (100, 20), 0.5, [0.2, 0.05, 0.005], 50),
        ("p-3h", [512] * 3, (180, 20), 0.5, [0.2, 0.05, 0.01, 0.002], 100),
        ("p-conv", [32 * 12 * 12, 64 * 4 * 4], (200, 10), 0.4, [0.15, 0.035, 0.015], 40),
    ],
)
def test_published_recipes_in_our_units(name, hidden, steps, beta, rates, epochs, monkeypatch):
    """Scellier & Bengio 2017 have twice our cost: β and rates double. Ernoult et al. 2019 list rates from the output back."""
    monkeypatch.undo()
    config = resolve(name, {})
    assert isinstance(config, HopfieldConfig)
    assert config.sizes == (784, *hidden, 10)
    assert (config.free_steps, config.nudged_steps) == steps
    assert config.beta == beta
    assert config.weight_rates == pytest.approx(rates)
    assert (config.batch_size, config.epochs) == (20, epochs)


@pytest.mark.parametrize("name", ["p-1h", "p-2h", "p-3h"])
def test_published_steps_go_a_fifth_of_the_way_and_ours_half(name, monkeypatch):
    """``dt`` of Ernoult et al. 2019 is 0.2 if a command does not set it; our half steps are the only difference."""
    monkeypatch.undo()
    published = resolve(name, {})
    assert isinstance(published, HopfieldConfig)
    assert published.step == 0.2
    if name != "p-3h":
        ours = resolve(f"{name}-half-steps", {})
        assert ours == published.model_copy(update={"step": 0.5, "description": ours.description})


@pytest.mark.parametrize(("name", "nudged"), [("cifar-10-2021", 25), ("cifar-10-2021-untied", 30)])
def test_the_rates_and_steps_of_2021_are_the_published_ones(name, nudged, monkeypatch):
    """CosineAnnealingLR(T_max=100, eta_min=1e-5), not stepped after epoch 100 of 120; 30 nudged steps for untied weights."""
    monkeypatch.undo()
    config = resolve(name, {})
    assert isinstance(config, HopfieldConfig)
    assert (config.free_steps, config.nudged_steps, config.epochs) == (250, nudged, 120)
    published = {"weight_1": 0.25, "bias_2": 0.15, "weight_4": 0.08, "head_weight": 0.05, "head_bias": 0.05}
    published |= {"returning_3": 0.1} if config.untied else {}
    for epoch in (0, 1, 37, 50, 99, 100, 101, 119):
        for parameter, rate in published.items():
            expected = 1e-5 + (rate - 1e-5) * (1 + np.cos(np.pi * min(epoch, 100) / 100)) / 2
            assert config.rule(epoch).rates.of(parameter) == pytest.approx(expected, rel=1e-9)


def test_a_cosine_goes_on_from_the_rates_that_other_settings_leave(monkeypatch):
    """``decay`` and ``rate_factor`` are factors on all rates; a rate of zero remains zero."""
    monkeypatch.undo()
    changes = {"rate_factor": 0.5, "decay": 0.9, "cosine": 10, "cosine_end": 1e-3, "weight_rates": [0.2, 0.0]}
    config = resolve("p-1h", {}).model_copy(update=changes)
    rates = [config.rule(epoch).rates for epoch in (0, 5, 10, 20)]
    expected = [0.2, 1e-3 + 0.199 / 2, 1e-3, 1e-3]
    for at, epoch, rate in zip(rates, (0, 5, 10, 20), expected, strict=True):
        assert at.of("weight_1") == pytest.approx(0.5 * 0.9**epoch * rate)
        assert at.of("weight_2") == 0
    with pytest.raises(UserError, match="cosine_end: cosine"):
        resolve("p-1h", {"cosine_end": 1e-3})


@pytest.mark.parametrize("name", ["cifar-10-2021", "cifar-10-2021-untied"])
def test_the_network_of_2021_makes_a_training_step_on_images_of_its_kind(name, monkeypatch):
    """Fewer channels and steps, everything else as published, on random images of CIFAR-10's shape."""
    monkeypatch.undo()
    config = resolve(name, {})
    assert isinstance(config, HopfieldConfig)
    assert config.sizes == (3 * 32 * 32, 128 * 16 * 16, 256 * 8 * 8, 512 * 4 * 4, 512)
    narrow = [{**table, "channels": 4} for table in config.connections or ()]
    small = config.model_copy(update={"connections": narrow, "free_steps": 4, "nudged_steps": 2})
    random = np.random.default_rng(0)
    images = small.prepared(random.uniform(size=(6, 3072)).astype(np.float32))
    training = small.training(6, 0, random)
    before = {parameter: values.copy() for parameter, values in training.network.arrays().items()}
    targets = np.eye(10, dtype=np.float32)[np.arange(6)]
    _, statuses = training.learner(0).learn(small.augmented(images, random), targets)
    assert statuses == {"TRUNCATED": 3 * 6}
    for parameter, values in training.network.arrays().items():
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values != before[parameter]).any(), parameter


def test_every_figure_of_a_run_on_a_copy_says_so(run, dataset, tmp_path):
    """The name is in the settings, the log and the table, and a run is not resumed under another name."""
    (tmp_path / "copy").mkdir()
    for path in dataset.iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= "images" in path.name
        (tmp_path / "copy" / path.name).write_bytes(content)
    path = tmp_path / "hopfield.toml"
    path.write_text(SMALL + DENSE + DISCRETE)
    given = ["train", "--preset", path, "--data-dir", tmp_path / "copy", "--output", tmp_path / "copied", "--epochs", 1]
    refused = run(*given)
    assert refused.code == 2
    assert "--data-copy" in refused.err
    done = run("-v", *given, "--data-copy", "JPEG copy")
    assert done.code == 0
    assert json.loads((tmp_path / "copied" / "metrics.json").read_text())["config"]["data_copy"] == "JPEG copy"
    assert "expected SHA-256" in done.out + done.err
    for words in ("training", "epoch 1/1", "the trained network"):
        assert any("JPEG copy" in line for line in (done.out + done.err).splitlines() if words in line), words
    other = run(*given, "--data-copy", "another copy")
    assert other.code == 2
    assert "data_copy" in other.err
    assert run(*given, "--data-copy", "\x1b[31m").code == 2
