"""A solver from outside the package: registered by name, chosen by --solver or by a configuration."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eqprop_analog.errors import UserError
from eqprop_analog.experiments.solvers import SOLVERS, register_solver

FILE = Path(__file__).parent / "own_solver.py"
SMALL = ("--layers", 16, 4, 3, "--epochs", 1, "--no-verify")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if no other test had imported it."""
    monkeypatch.setattr(SOLVERS, "_kinds", dict(SOLVERS._kinds))
    path = list(sys.path)
    yield
    sys.modules.pop("own_solver", None)
    sys.path[:] = path


def test_it_trains_what_the_surrogate_trains(run: Any, dataset: Path) -> None:
    given = (*SMALL, "--data-dir", dataset, "--batch-size", 9)
    assert run("train", *given, "--import", FILE, "--solver", "counting", "--output", "own").code == 0
    assert json.loads(Path("counted.json").read_text()) == 10  # 90 images in batches of 9
    assert run("train", *given, "--preset", "own/config.toml", "--solver", "surrogate", "--output", "theirs").code == 0
    own, theirs = (json.loads(Path(folder, "metrics.json").read_text()) for folder in ("own", "theirs"))
    assert own["config"]["solver"] == "counting"
    assert own["history"][0]["train_error"] == theirs["history"][0]["train_error"]
    assert Path("own/network.npz").read_bytes() == Path("theirs/network.npz").read_bytes()


def test_xor_takes_it_too(run: Any, tmp_path: Path) -> None:
    assert run("xor", "--import", FILE, "--solver", "counting", "--output", "x").code == 0
    assert json.loads(Path("counted.json").read_text()) > 10


@pytest.mark.parametrize("words", [("train", *SMALL), ("xor",)])
def test_a_name_that_nothing_has_is_refused_with_those_that_there_are(run: Any, dataset: Path, words: Any) -> None:
    result = run(*words, "--solver", "ngspise", "--output", "r")
    assert result.code == 2
    assert "ngspice" in result.err
    assert "--import" in result.err or "did you mean" in result.err


def test_names_that_are_taken_are_refused() -> None:
    for name in ("surrogate", "ngspice"):
        with pytest.raises(UserError, match=name):
            register_solver(name)(type("Other", (), {}))
