"""A data set from outside the package: registered by name, trained on, resumed, verified and reported like any other."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eqprop_analog.data import NAMES, register_dataset, toys
from eqprop_analog.errors import UserError

FILE = Path(__file__).parent / "own_dataset.py"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """As if no other test had imported it."""
    path, known = list(sys.path), dict(toys._LOADERS)
    yield
    sys.modules.pop("own_dataset", None)
    sys.path[:] = path
    for name in set(toys._LOADERS) - set(known):
        del toys._LOADERS[name]


def test_a_network_learns_it_by_name(run: Any) -> None:
    words = ("train", "--import", FILE, "--dataset", "two-rings", "--output", "run")
    assert run(*words, "--layers", 2, 12, 2, "--epochs", 2).code == 0
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["config"]["own_data"]["found"]["inputs"] == 2
    assert (metrics["data"]["name"], metrics["data"]["inputs"]["names"]) == ("two-rings", ["x", "y"])
    assert run("train", "--import", FILE, "--output", "run", "--resume", "--epochs", 3).code == 0
    assert run("verify", "run", "--import", FILE, "--samples", 3).code == 0
    assert run("report", "run", "--import", FILE).code == 0
    assert "two-rings" in Path("run/report.html").read_text()


def test_without_it_the_name_is_unknown(run: Any) -> None:
    result = run("train", "--dataset", "two-rings", "--layers", 2, 4, 2)
    assert result.code == 2
    assert "two-rings" in result.err


@pytest.mark.parametrize("name", ["iris", "mnist", "a/b", "rings.csv", ""])
def test_names_that_are_taken_or_a_files_are_refused(name: str) -> None:
    before = list(NAMES)
    with pytest.raises(UserError, match="data set"):
        register_dataset(name, lambda _: None)  # type: ignore[arg-type, return-value]
    assert list(NAMES) == before
