"""Files of version 0.1.0 are read, and its results are reproduced; see goldens.py, which compares bits."""

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDENS = runpy.run_path(str(Path(__file__).with_name("goldens.py")))
DATA: Path = GOLDENS["DATA"]
PROBLEMS = GOLDENS["problems"]()
NETLISTS = json.loads((DATA / "netlists.json").read_text())
RUNS = sorted(path.name for path in (DATA / "runs").iterdir() if not path.name.endswith("-stopped"))
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", re.IGNORECASE)

RELATIVE = 1e-12
"""Tolerance relative to the largest value of an array, for the BLAS of another machine."""


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(DATA / "expected.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", PROBLEMS)
def test_states_gradients_and_netlists_are_those_of_0_1_0(name: str, expected: dict[str, np.ndarray]) -> None:
    problem, arrays = PROBLEMS[name], GOLDENS["stored"]()
    network = GOLDENS["loaded"](name, problem)
    compute = GOLDENS["FAMILIES"][problem["family"]]
    found, netlists = compute(network, arrays[f"{name}/inputs"], arrays[f"{name}/targets"], problem)
    assert {f"{name}/{key}" for key in found} == {key for key in expected if key.startswith(f"{name}/")}
    for key, values in found.items():
        wanted = expected[f"{name}/{key}"]
        np.testing.assert_allclose(values, wanted, rtol=0, atol=RELATIVE * np.abs(wanted).max(), err_msg=key)
    assert netlists.keys() == NETLISTS[name].keys()
    for key, written in netlists.items():
        text = GOLDENS["ADDED"].sub("", written)
        path = DATA / "netlists" / f"{name}-{key}.cir"
        if path.exists():
            require_same_text(*(GOLDENS["COMMENTS"].sub("", each) for each in (text, path.read_text())))
        if key.endswith("flat-free"):  # every number in it is a parameter
            assert GOLDENS["digest"](text) == NETLISTS[name][key]


def require_same_text(text: str, wanted: str) -> None:
    """The same words, and numbers that agree to RELATIVE."""
    assert NUMBER.sub("#", text) == NUMBER.sub("#", wanted)
    numbers, others = (np.array(NUMBER.findall(each), float) for each in (text, wanted))
    np.testing.assert_allclose(numbers, others, rtol=RELATIVE, atol=1e-30)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_as_the_one_that_never_did(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(DATA / "runs" / f"{name}-stopped", folder)
    run = trained(name, folder)
    require_same_network(run.network, name)
    history = json.loads((DATA / "runs" / name / "metrics.json").read_text())["history"]
    for key in ("epoch", "train_error", "test_error", "samples", "statuses"):
        assert [epoch[key] for epoch in run.metrics["history"]] == [epoch[key] for epoch in history]


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_goes_on_for_more_epochs(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(DATA / "runs" / name, folder)
    require_same_network(trained(name, folder).network, name)
    run = trained(name, folder, epochs=3)
    assert [epoch["epoch"] for epoch in run.metrics["history"]] == [1, 2, 3]


def trained(name: str, folder: Path, **changes: Any) -> Any:
    config = GOLDENS["configuration"](name).model_copy(update=changes)
    return GOLDENS["named"]("train")(config, GOLDENS["dataset"](), folder, True, GOLDENS["named"]("silent"), 1e9)


def require_same_network(network: Any, name: str) -> None:
    stored = type(network).load(DATA / "runs" / name / "network.npz")
    assert network.arrays().keys() == stored.arrays().keys()
    for key, values in network.arrays().items():
        wanted = stored.arrays()[key]
        scale = max(float(np.abs(wanted).max()), np.finfo(float).tiny)
        np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-9 * scale, err_msg=key)
