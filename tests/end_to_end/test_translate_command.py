"""``translate``: a file of weights becomes a network, is tested, and is trained further."""

import json

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, SurrogateSolver, load_dataset
from eqprop_analog.networks.resistive.relu import relu_outputs

RNG = np.random.default_rng(6)
X = RNG.uniform(-1, 1, (80, 2))
ROWS = "".join(f"{u:.4f},{v:.4f},{'same' if u * v > 0 else 'other'}\n" for u, v in X)


@pytest.fixture
def model(tmp_path):
    """Random features and a least-squares read-out of a table's classes, as PyTorch names them."""
    (tmp_path / "t.csv").write_text("u,v,kind\n" + ROWS)
    dataset = load_dataset(tmp_path / "t.csv", target_column="kind")
    features = RNG.normal(size=(2, 30)), RNG.normal(size=30)
    hidden = np.c_[np.maximum(dataset.train_images @ features[0] + features[1], 0), np.ones(64)]
    penalty = 0.1 * np.eye(31)
    readout = np.linalg.solve(hidden.T @ hidden + penalty, hidden.T @ np.eye(2)[dataset.train_labels])
    given = [features, (readout[:-1], readout[-1])]
    named = {"0.weight": features[0].T, "0.bias": features[1], "2.weight": readout[:-1].T, "2.bias": readout[-1]}
    np.savez(tmp_path / "relu.npz", **named)
    ours = {
        f"{kind}_{k}": values
        for k, pair in enumerate(given, 1)
        for kind, values in zip(("weights", "biases"), pair, strict=True)
    }
    np.savez(tmp_path / "ours.npz", **ours)
    return given, dataset


def test_errors_before_and_after_are_those_of_both_networks(run, model, tmp_path) -> None:
    given, dataset = model
    data = ("--dataset", "t.csv", "--target-column", "kind")
    done = run("translate", "relu.npz", *data, "--samples", 2, "--json", "out.json")
    assert done.code == 0, done.err
    figures = json.loads((tmp_path / "out.json").read_text())
    network = ResistiveNetwork.load(tmp_path / "relu-circuit.npz")
    x = dataset.test_images.astype(float)
    wanted = relu_outputs(given, x)
    outputs = SurrogateSolver().solve(network, x).outputs / figures["output_volts"]
    assert figures["errors"]["ReLU network"] == np.mean(wanted.argmax(1) != dataset.test_labels)
    assert figures["errors"]["circuit"] == np.mean(outputs.argmax(1) != dataset.test_labels)
    difference = np.sqrt(((outputs - wanted) ** 2).mean())
    assert figures["differences"]["circuit"] == pytest.approx(difference, rel=1e-6)
    measured = figures["differences"]["2 of them in ngspice"]
    assert measured == pytest.approx(np.sqrt(((outputs - wanted)[:2] ** 2).mean()), rel=1e-3)
    assert network.amplifier_gain[0] == pytest.approx(2 * figures["least_gain"])


def test_without_samples_for_ngspice_none_is_needed(run, model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent/libngspice")
    data = ("--dataset", "t.csv", "--target-column", "kind")
    done = run("translate", "relu.npz", *data, "--samples", 0, "--json", "out.json")
    assert done.code == 0, done.err
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["errors"].keys() == {"ReLU network", "circuit"}
    assert figures["differences"].keys() == {"circuit"}


def test_it_goes_on_learning(run, model, tmp_path) -> None:
    _, dataset = model
    data = ("--dataset", "t.csv", "--target-column", "kind")
    assert run("translate", "ours.npz", "--output", "before.npz").code == 0
    done = run("translate", "ours.npz", *data, "--epochs", 2, "--output", "after.npz", "--json", "out.json")
    assert done.code == 0, done.err
    volts = json.loads((tmp_path / "out.json").read_text())["output_volts"]
    x, targets = dataset.train_images.astype(float), np.eye(2)[dataset.train_labels]
    before, after = (
        np.mean((SurrogateSolver().solve(ResistiveNetwork.load(tmp_path / name), x).outputs / volts - targets) ** 2)
        for name in ("before.npz", "after.npz")
    )
    assert after < before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.npz",), "none.npz"),
        (("t.csv",), "t.csv"),
        (("empty.npz",), "weights_1"),
        (("misspelt.npz",), "bias_2"),
        (("normalised.npz",), "1.running_mean"),
        (("relu.npz", "--epochs", 2), "--dataset"),
        (("relu.npz", "--samples", 0), "--dataset"),
        (("relu.npz", "--split-seed", 0), "--dataset"),
        (("relu.npz", "--target-column", "kind"), "--dataset"),
        (("relu.npz", "--amplifier-gain", 0), "at least"),
        (("relu.npz", "--amplifier-gain", 1), "at least"),
        (("relu.npz", "--dataset", "t.csv"), "--target-column"),
        (
            (
                "relu.npz",
                "--dataset",
                "t.csv",
                "--target-column",
                "u",
                "--task",
                "regression",
                "--ignore-columns",
                "kind",
            ),
            "inputs",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(run, model, tmp_path, words, said) -> None:
    np.savez(tmp_path / "empty.npz", other=np.ones(2))
    with np.load(tmp_path / "ours.npz") as ours, np.load(tmp_path / "relu.npz") as torch:
        np.savez(tmp_path / "misspelt.npz", **{name.replace("biases_2", "bias_2"): ours[name] for name in ours.files})
        np.savez(tmp_path / "normalised.npz", **torch, **{"1.running_mean": np.zeros(30)})
    done = run("translate", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
