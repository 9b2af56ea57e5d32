"""--dataset with every command that solves samples: the same samples, volts and targets as in Python, and clear refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from idx import format_idx
from PIL import Image

from eqprop_analog import HopfieldNetwork, Nudge, ResistiveNetwork, SurrogateSolver, load_dataset, train
from eqprop_analog.cli.options import read_netlist

RNG = np.random.default_rng(5)
VALUES = RNG.uniform(2, 9, (40, 2)).round(3)
KINDS = np.array(["low", "high"])[(VALUES.sum(axis=1) > 11).astype(int)]
TABLE = "width (mm),height (mm),kind\n" + "".join(f"{w},{h},{k}\n" for (w, h), k in zip(VALUES, KINDS, strict=True))
NUMBERS = "width (mm),height (mm),force (mN)\n" + "".join(f"{w},{h},{3 * w - h:.3f}\n" for w, h in VALUES)
PIXELS = RNG.integers(0, 256, (20, 2, 3), dtype=np.uint8)


def table(folder: Path) -> list[object]:
    (folder / "t.csv").write_text(TABLE)
    return ["t.csv", "--target-column", "kind"]


def regression(folder: Path) -> list[object]:
    (folder / "r.csv").write_text(NUMBERS)
    return ["r.csv", "--target-column", "force (mN)"]


def arrays(folder: Path) -> list[object]:
    np.savez(folder / "a.npz", inputs=VALUES, targets=VALUES @ [[3.0], [-1.0]])
    return ["a.npz", "--scaling", "common"]


def images(folder: Path) -> list[object]:
    for k, pixels in enumerate(PIXELS):
        (folder / "set" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "set" / "ab"[k % 2] / f"{k}.png")
    return ["set"]


def idx(folder: Path) -> list[object]:
    (folder / "idx").mkdir()
    (folder / "idx" / "my-images-idx3-ubyte").write_bytes(format_idx(PIXELS))
    (folder / "idx" / "my-labels-idx1-ubyte").write_bytes(format_idx((np.arange(20) % 2).astype(np.uint8)))
    return ["idx", "--split-seed", 3]


def in_python(given: list[object]):
    """The data set of these command-line arguments."""
    settings = {
        str(key).strip("-").replace("-", "_"): value for key, value in zip(given[1::2], given[2::2], strict=True)
    }
    return load_dataset(str(given[0]), **settings)


def targets_of(dataset, network) -> np.ndarray:
    labels = dataset.test_labels
    return np.eye(network.classes)[labels] if labels.ndim == 1 else labels


@pytest.mark.parametrize("kind", [table, regression, arrays, images, idx])
def test_simulate_solves_the_test_samples_of_any_file(run, tmp_path, kind) -> None:
    given = kind(tmp_path)
    dataset = in_python(given)
    outputs = 1 if dataset.targets is not None else 2
    network = ResistiveNetwork.dense([dataset.test_images.shape[1], 4, outputs], seed=1, input_gain=2.0)
    network.save(tmp_path / "net.npz")
    done = run(
        "simulate", "--network", "net.npz", "--dataset", *given, "--sample", 2, 0, "--beta", "1e-8", "--json", "s.json"
    )
    assert done.code == 0, done.err
    phases = json.loads((tmp_path / "s.json").read_text())["phases"]
    which = [2, 0]
    plus = Nudge(targets_of(dataset, network)[which], 1e-8)
    for name, nudge in (("free", None), ("plus", plus)):
        found = SurrogateSolver().solve(network, dataset.test_images[which].astype(float), nudge=nudge)
        np.testing.assert_allclose(phases[name]["voltages"]["o"], found.outputs, atol=1e-8)


def test_every_command_takes_it(run, tmp_path) -> None:
    given = regression(tmp_path)
    dataset = in_python(given)
    network = ResistiveNetwork.dense([2, 3, 1], seed=1, input_gain=2.0)
    network.save(tmp_path / "net.npz")
    HopfieldNetwork.dense([2, 3, 1], 0).save(tmp_path / "hopfield.npz")
    common = ("--dataset", *given)
    for command in (
        ("verify", "net.npz", "--samples", 2, "--form", "norton"),
        ("energy", "--network", "net.npz", "--sample", 1, 3, "--output", "energy"),
        ("minima", "--network", "hopfield.npz", "--samples", 3),
        ("transient", "--network", "net.npz", "--sample", 1, "--output", "transient"),
    ):
        done = run(*command, *common, "--json", "out.json")
        assert done.code == 0, (command, done.err)
        options = json.loads((tmp_path / "out.json").read_text()).get("options", {})
        assert options.get("dataset") == given[0]
    done = run("netlist", "--network", "net.npz", "--phase", "nudged", "--sample", 4, *common, "--output", "n.cir")
    assert done.code == 0, done.err
    assert "test sample 4" in done.out
    written = read_netlist(tmp_path / "n.cir")
    np.testing.assert_allclose(written.network.input_gain * written.inputs, 2 * dataset.test_images[[4]], atol=1e-6)
    assert written.nudge is not None
    np.testing.assert_allclose(written.nudge.target, targets_of(dataset, network)[[4]], atol=1e-6)


PRESET = """\
layers = [2, 4, 2]
input_gain = 2.0
beta = 1e-7
conductance_rates = 1e-14
bias_rates = 1e-14
decay = 1.0
batch_size = 8
epochs = 1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run on the table, whose inputs are scaled differently from the default."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "t.csv").write_text(TABLE)
    (folder / "p.toml").write_text(PRESET)
    dataset = load_dataset(folder / "t.csv", target_column="kind", scaling="common")
    train(dataset, folder / "run", str(folder / "p.toml"))
    return folder


@pytest.fixture
def trained(made, tmp_path):
    """The same run in the folder of the test, and its data set."""
    shutil.copytree(made / "run", tmp_path / "run")
    settings = tmp_path / "run" / "config.toml"
    settings.write_text(settings.read_text().replace(str(made), str(tmp_path)))
    table(tmp_path)
    return load_dataset(tmp_path / "t.csv", target_column="kind", scaling="common")


def free(run, tmp_path, *words: object) -> np.ndarray:
    done = run("simulate", "--network", "run/network.npz", *words, "--json", "s.json")
    assert done.code == 0, done.err
    return np.array(json.loads((tmp_path / "s.json").read_text())["phases"]["free"]["voltages"]["o"])


def test_a_runs_network_sees_its_own_data_as_in_training(run, tmp_path, trained) -> None:
    network = ResistiveNetwork.load(tmp_path / "run" / "network.npz")
    wanted = SurrogateSolver().solve(network, trained.test_images[:3].astype(float)).outputs
    for words in (("--dataset", "t.csv"), ("--dataset", "t.csv", "--target-column", "kind"), ()):
        np.testing.assert_allclose(free(run, tmp_path, *words, "--samples", 3), wanted, atol=1e-7)
    refused = run("simulate", "--network", "run/network.npz", "--dataset", "t.csv", "--scaling", "range")
    assert refused.code == 2
    assert all(word in refused.err for word in ("--scaling", "common", "range"))


def test_other_samples_are_scaled_and_numbered_as_in_the_training(run, tmp_path, trained) -> None:
    (tmp_path / "new.csv").write_text("kind,height (mm),width (mm)\nlow,2.5,3.5\nlow,20,4\n")
    network = ResistiveNetwork.load(tmp_path / "run" / "network.npz")
    scaled = trained.inputs(np.array([[3.5, 2.5], [4, 20]]))
    wanted = SurrogateSolver().solve(network, scaled.astype(float)).outputs
    np.testing.assert_allclose(free(run, tmp_path, "--dataset", "new.csv", "--samples", 9), wanted, atol=1e-7)
    done = run("netlist", "--network", "run/network.npz", "--dataset", "new.csv", "--sample", 1, "--output", "n.cir")
    assert "class low" in done.out


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("width (mm),kind\n1,low\n2,high\n", (), ["height (mm)"]),
        ("width (mm),height (mm),depth,kind\n1,1,1,low\n", (), ["depth", "--ignore-columns"]),
        ("width (mm),height (mm),kind\n1,1,middle\n", (), ["middle", "low"]),
        ("width (mm),height (mm),kind\n1,one,low\n", (), ["line 2", "height (mm)"]),
        ("width (mm),height (mm),kind\n1,1,low\n", ("--scaling", "common"), ["--scaling", "training"]),
        ("width (mm),height (mm),kind\n1,1,low\n", ("--sample", 1), ["--sample 1", "0 to 0"]),
    ],
)
def test_samples_that_do_not_fit_a_trained_network_are_refused(run, tmp_path, trained, text, words, said) -> None:
    (tmp_path / "new.csv").write_text(text)
    done = run("simulate", "--network", "run/network.npz", "--dataset", "new.csv", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert all(word in done.err for word in said), done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dataset", "t.csv"), ["--target-column", "kind"]),
        (("--dataset", "t.csv", "--target-column", "kind", "--inputs", "1,2"), ["--inputs", "--dataset"]),
        (("--dataset", "t.csv", "--target-column", "kind", "--sample", 8), ["--sample 8", "0 to 7"]),
        (("--dataset", "t.csv", "--target-column", "kind", "--sample", -1), ["--sample -1", "0 to 7"]),
        (("--dataset", "t.csv", "--target-column", "width (mm)", "--ignore-columns", "kind"), ["1 inputs", "got 2"]),
        (("--dataset", "none.csv", "--target-column", "kind"), ["none.csv", "no such file"]),
        (("--dataset", "mnits"), ["mnits"]),
        (("--dataset", "digits", "--scaling", "none"), ["digits", "scaling"]),
        (("--target-column", "kind"), ["--target-column", "--dataset"]),
        (("--sample", 1), ["--sample", "--dataset"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["simulate", "netlist"])
def test_what_does_not_fit_is_refused_in_a_line(run, tmp_path, command, words, said) -> None:
    table(tmp_path)
    output = ("--output", "n.cir") if command == "netlist" else ()
    done = run(command, "--layers", 2, 3, 2, *words, *output)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert all(word in done.err for word in said), done.err


def test_a_sample_of_an_array_can_be_named(run, tmp_path) -> None:
    np.save(tmp_path / "x.npy", VALUES[:5])
    words = ("netlist", "--layers", 2, 3, 2, "--inputs", "x.npy", "--output", "n.cir")
    refused = run(*words)
    assert refused.code == 2
    assert "--sample" in refused.err
    assert run(*words, "--sample", 3).code == 0
    np.testing.assert_allclose(read_netlist(tmp_path / "n.cir").inputs, VALUES[[3]])
