"""Training by PyTorch, on the CPU and in float64, against NumPy's on the same batches; skipped without torch."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import UserError
from eqprop_analog.core.nudge import cost
from eqprop_analog.data import Dataset
from eqprop_analog.experiments.batches import Batches, Split
from eqprop_analog.experiments.run import CHECKPOINT, train
from eqprop_analog.learning.trainer import Pass, silent
from eqprop_analog.networks.hopfield.config import HopfieldConfig

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

DENSE: dict[str, Any] = {"layers": [64, 12, 9, 10], "weight_rates": [0.3, 0.2, 0.1]}
POOLED: dict[str, Any] = {
    "connections": [
        {"channels": 4, "kernel": 3, "padding": 1, "pool": 2},
        {"channels": 5, "kernel": 3, "padding": 1, "pool": 2},
        {"outputs": 10},
    ],
    "weight_rates": [0.3, 0.2, 0.1],
}
HEAD = {"head": 10, "cost": "cross-entropy", "weight_rates": [0.2, 0.1, 0.1]}
OUTSIDE = {"connections": POOLED["connections"][:2], **HEAD}
MAP = {"dynamics": "discrete-time", "free_steps": 12, "nudged_steps": 5}
FLOW = {"dynamics": "gradient-flow", "step": 0.5, "free_steps": 12, "nudged_steps": 5}
SMOOTH = {"buffer": {"law": "sigmoid"}}
CASES: dict[str, dict[str, Any]] = {
    "map": DENSE | MAP,
    "one-sided behind smooth buffers, in part steps": DENSE
    | MAP
    | SMOOTH
    | {"step": 0.2, "nudging": "one-sided", "kind": "output"},
    "flow, persistent, random signs": DENSE | FLOW | {"nudging": "random-sign", "persistent": True},
    "smooth flow": DENSE | FLOW | SMOOTH,
    "leaky": DENSE | FLOW | {"dynamics": "leaky-integrator", "test_steps": 20},
    "descent": DENSE | {"dynamics": "descent", "free_steps": 5, "nudged_steps": 3},
    "energy-based": DENSE | FLOW | SMOOTH | {"dynamics": "energy-based", "nudging": "one-sided", "input_buffer": True},
    "untied": DENSE | MAP | {"untied": True},
    "pooled": POOLED | MAP | {"kind": "output", "buffer": {"law": "hard-sigmoid", "gain": 0.5}},
    "pooled, head, momentum, decay": OUTSIDE
    | MAP
    | {"momentum": 0.9, "weight_decay": 1e-3, "cosine": 3, "cosine_end": 1e-2},
    "pooled, head, untied": OUTSIDE | MAP | {"untied": True, "momentum": 0.5},
    "pooled, descent, one-sided": OUTSIDE
    | {"dynamics": "descent", "free_steps": 6, "nudged_steps": 3, "nudging": "one-sided"},
    "weak feedback": OUTSIDE | MAP | {"feedback": 0.2},
    "weak feedback, descent": POOLED | {"dynamics": "descent", "free_steps": 5, "nudged_steps": 3, "feedback": 0.3},
    "moved images": POOLED
    | MAP
    | {"shift": 2, "flip": True, "edge": True, "pixel_mean": [0.4], "pixel_deviation": [0.5]},
    "images moved in front of dense connections": DENSE | MAP | {"shift": 1, "flip": True},
    "images moved into the dark": POOLED | MAP | {"shift": 1},
    "some images": DENSE | MAP | {"limit": 17, "validation": False},
}


def config(settings: dict[str, Any], **changes: Any) -> HopfieldConfig:
    common = {"model": "hopfield", "dataset": "digits", "initial": "fan-in", "beta": 0.5, "batch_size": 7, "epochs": 2}
    return HopfieldConfig(**common | {"seed": 3, "device": "torch-cpu"} | settings | changes)


@pytest.fixture(scope="module")
def images() -> Dataset:
    random = np.random.default_rng(0)
    return Dataset(
        "digits",
        random.uniform(size=(24, 64)).astype(np.float32),
        random.integers(0, 10, 24),
        random.uniform(size=(9, 64)).astype(np.float32),
        random.integers(0, 10, 9),
    )


def augmented(config: HopfieldConfig, images: np.ndarray, turned: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Flipped, then moved, image by image."""
    found = []
    for image, turn, (down, across) in zip(images.reshape(-1, 8, 8), turned, moves.T, strict=True):
        now = image[:, ::-1] if turn and config.flip else image
        framed = np.pad(now, config.shift, mode="edge" if config.edge else "constant")
        top, left = config.shift + down, config.shift + across
        found.append(framed[top : top + 8, left : left + 8].ravel())
    return np.array(found)


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_on_the_device_is_numpys(name: str, images: Dataset) -> None:
    mine = config(CASES[name])
    split = Split.of(mine, images)
    device = mine.training(len(split.images), len(split.held_out_images), np.random.default_rng(0))
    plain = config(CASES[name], device="cpu", nudging="centred" if mine.nudging == "centred" else "one-sided")
    numpy = plain.training(len(split.images), len(split.held_out_images), np.random.default_rng(0))
    order = np.arange(len(split.images))[: mine.limit]
    for epoch in range(2):
        found = device.learner(epoch).run_pass(
            Batches(mine, split, order, np.random.default_rng(0)), lambda *_: None, Pass()
        )
        drawn = device.trainer.epoch
        which, turned, moves = (each.numpy() for each in (drawn.order, drawn.turned, drawn.moves))
        assert sorted(which) == list(range(len(split.images)))
        wrong = 0
        for number, (begin, end) in enumerate(pairwise([*range(0, len(order), 7), len(order)])):
            batch = which[begin:end]
            x = augmented(mine, split.images[batch], turned[begin:end], moves[:, begin:end])
            signed = plain.model_copy(update={"beta": plain.beta * float(drawn.signs[number])})
            wrong += (
                replace(numpy, config=signed)
                .learner(epoch)
                .learn(x, np.eye(10)[split.labels[batch]], *([batch] if mine.persistent else []))[0]
            )
        assert (found.samples, found.wrong) == (len(order), wrong)
        assert found.statuses["TRUNCATED"] == len(order) * (3 if mine.nudging == "centred" else 2)
        tested, theirs = (
            each.evaluate(split.held_out_images, split.held_out_labels, lambda *_: None) for each in (device, numpy)
        )
        assert tested.squares == pytest.approx(theirs.squares, rel=1e-9)
        assert replace(tested, squares=0.0) == replace(theirs, squares=0.0)
        arrays, expected = device.arrays(), numpy.arrays()
        assert arrays.keys() == expected.keys()
        for key, values in expected.items():
            np.testing.assert_allclose(
                arrays[key], values, rtol=0, atol=1e-12 * max(1, np.abs(values).max()), err_msg=key
            )
    assert np.abs(arrays["weight_1"] - mine.network().weights[0]).max() > 1e-4


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 4, 6])
@pytest.mark.parametrize("name", ["flow, persistent, random signs", "pooled, head, momentum, decay", "control"])
def test_a_run_on_the_device_goes_on_to_the_same_bits(
    name: str, stop: int, images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a number of synchronizations with the device, in epochs and tests, with a checkpoint at each of them."""
    monkeypatch.setattr("eqprop_analog.networks.hopfield.on_device.SECONDS", 0.0)
    monkeypatch.setattr("eqprop_analog.networks.hopfield.on_device.CHUNK", 5)
    settings = OUTSIDE | MAP | {"method": "feed-forward", "momentum": 0.9} if name == "control" else CASES[name]
    mine = config(settings, precision="float32")
    whole = train(mine, images, tmp_path / "whole", resume=False, stage=silent)
    left = [stop]

    def counted(_name: str, _total: int) -> Any:
        def progress(_done: int, _error: float) -> None:
            if not left[0]:
                raise StoppedError
            left[0] -= 1

        return nullcontext(progress)

    with pytest.raises(StoppedError):
        train(mine, images, tmp_path / "parts", resume=False, stage=counted, checkpoint_seconds=0.0)
    assert (tmp_path / "parts" / CHECKPOINT).exists()
    parts = train(mine, images, tmp_path / "parts", resume=True, stage=silent)
    for key, values in whole.network.arrays().items():
        np.testing.assert_array_equal(parts.network.arrays()[key], values)
    for one, other in zip(parts.metrics["history"], whole.metrics["history"], strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}
    with np.load(tmp_path / "whole" / CHECKPOINT) as one, np.load(tmp_path / "parts" / CHECKPOINT) as other:
        for key in one.files:
            if key != "state":
                np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("activation", ["buffer", "relu"])
@pytest.mark.parametrize(
    "shape", [OUTSIDE, POOLED | {"buffer": {"law": "hard-sigmoid", "gain": 0.5}}], ids=["head", "last layer"]
)
def test_the_control_descends_the_cost_of_the_feed_forward_network(
    shape: dict[str, Any], activation: str, images: Dataset
) -> None:
    """One update from all images, against central differences through the same connections in NumPy."""
    mine = config(shape | MAP | {"method": "feed-forward", "activation": activation, "batch_size": 24})
    split, network, rates = Split.of(mine, images), mine.network(), mine.rule(0).rates
    targets = np.eye(10)[split.labels]

    def mean_cost() -> float:
        s = split.images
        for layer, each in enumerate(network.connections):
            u = each.forward(network.weights[layer], s)[0] + each.spread_bias(network.biases[layer])
            last = layer == network.depth - 1 and network.head is None
            s = u if last else network.buffer.output(u) if activation == "buffer" else u.clip(0)
        return float(cost(mine.cost, network.readout(s), targets).mean())

    training = mine.training(24, 9, np.random.default_rng(0))
    training.learner(0).run_pass(Batches(mine, split, np.arange(24), np.random.default_rng(0)), lambda *_: None, Pass())
    random = np.random.default_rng(5)
    for name, values in network.arrays().items():
        change = (values - training.arrays()[name]) / rates.of(name)
        for _ in range(4):
            index = tuple(random.integers(size) for size in values.shape)
            value, ends = values[index], []
            for shift in (1e-6, -1e-6):
                values[index] = value + shift
                ends.append(mean_cost())
            values[index] = value
            assert change[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8), name
    assert "feed-forward" in mine.method_in_words


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (DENSE | {"dynamics": "descent"}, "free_steps"),
        (DENSE | MAP | {"signal": "differential", "untied": True}, "signal"),
        (DENSE | MAP | {"method": "bptt"}, "bptt"),
        (DENSE | MAP | {"phases": "half"}, "half"),
        (DENSE | MAP | {"phases": "tf32"}, "tf32"),
        (DENSE | MAP | {"frozen": True}, "frozen"),
        (DENSE | MAP | {"fused": True}, "fused"),
        (DENSE | MAP | {"fused": True, "device": "cpu"}, "fused"),
        (DENSE | MAP | {"over_relaxation": 1.5}, "over_relaxation"),
        (DENSE | MAP | SMOOTH | {"differences": True}, "differences"),
        (DENSE | FLOW | {"differences": True}, "differences"),
        (DENSE | MAP | {"device": "cpu", "phases": "float32"}, "device"),
        (DENSE | MAP | {"device": "cpu", "method": "feed-forward"}, "feed-forward"),
        (DENSE | MAP | {"untied": True, "method": "feed-forward"}, "untied"),
    ],
)
def test_what_the_device_does_not_do_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(settings)


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match="no GPU"):
        config(DENSE | MAP, device="cuda").training(24, 9, np.random.default_rng(0))
