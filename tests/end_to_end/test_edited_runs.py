"""Edited or damaged files of a run are refused in one line by every command that reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.errors import UserError
from eqprop_analog.report.folder import RunFolder

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def set_to(*keys: Any, value: Any) -> Edit:
    def edit(metrics: dict[str, Any]) -> None:
        part: Any = metrics
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return edit


def without(*keys: Any) -> Edit:
    def edit(metrics: dict[str, Any]) -> None:
        part: Any = metrics
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]

    return edit


AGREEMENT = {"form": "norton", "samples": 20, "nodes": 11, "beta": 1e-8, "statuses": {"CONVERGED": 60}, "met": True}
EDITS: dict[str, Edit] = {
    "no history": without("history"),
    "an empty history": set_to("history", value=[]),
    "a history of text": set_to("history", value="two epochs"),
    "an epoch that is a number": set_to("history", 0, value=1),
    "an epoch that is missing": without("history", 0),
    "an epoch without its error": without("history", 1, "train_error"),
    "an error of 17": set_to("history", 1, "train_error", value=17),
    "an error of text": set_to("history", 1, "test_error", value="0.1"),
    "an error that is NaN": set_to("history", 1, "train_error", value=float("nan")),
    "no test error": set_to("test_error", value=None),
    "another test error than the last epoch's": set_to("test_error", value=0.123456),
    "negative seconds": set_to("history", 0, "seconds", value=-1.0),
    "seconds without end": set_to("history", 0, "seconds", value=float("inf")),
    "images of text": set_to("history", 0, "samples", value="90"),
    "an unknown status": set_to("statuses", value={"\x1b[31mFINE": 3}),
    "a negative count": set_to("statuses", value={"CONVERGED": -3}),
    "statuses of a list": set_to("history", 0, "statuses", value=[1, 2]),
    "no images a second": set_to("samples_per_second", value=0),
    "memory of text": set_to("peak_memory_bytes", value="much"),
    "versions of numbers": set_to("versions", value={"numpy": 2}),
    "no configuration": without("config"),
    "half an agreement": set_to("agreement", value=[AGREEMENT]),
    "an agreement of text": set_to("agreement", value=["met"]),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_metrics_are_refused(folder: Path, name: str) -> None:
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text())
    EDITS[name](metrics)
    path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=r"metrics\.json"):
        RunFolder.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "1" * 5000, "[" * 100_000, '{"history": 1e999}'])
def test_what_is_no_table_of_metrics_is_refused_by_every_command(folder: Path, refused: Any, text: str) -> None:
    (folder / "metrics.json").write_text(text)
    for command in ("report", "verify"):
        assert "metrics.json" in refused(command, "run")


def damage(folder: Path, name: str, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    with np.load(folder / name) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(folder / name, **arrays)


def put(values: Any) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        given = np.array(values)
        if given.ndim:
            arrays["conductance_1"] = given.astype(arrays["conductance_1"].dtype)
        else:
            arrays["conductance_1"][0, 0] = given

    return change


@pytest.mark.parametrize("values", [np.nan, np.inf, -1e-6, np.ones((2, 2)), np.ones((3, 4, 5)), np.zeros(0)])
@pytest.mark.parametrize("name", ["network.npz", "checkpoint.npz"])
def test_conductances_that_are_none_make_no_page(folder: Path, refused: Any, name: str, values: Any) -> None:
    if name == "checkpoint.npz":
        (folder / "network.npz").unlink()
    damage(folder, name, put(values))
    assert name in refused("report", "run")
    assert not (folder / "report.html").exists()


def test_a_network_of_other_layers_is_not_the_runs(folder: Path, refused: Any) -> None:
    ResistiveNetwork.dense([16, 5, 3], seed=0).save(folder / "network.npz")
    for command in ("report", "verify"):
        assert "layers" in refused(command, "run")


def state_of(change: Edit) -> Callable[[dict[str, np.ndarray]], None]:
    def apply(arrays: dict[str, np.ndarray]) -> None:
        state = json.loads(str(arrays["state"]))
        change(state)
        arrays["state"] = np.array(json.dumps(state))

    return apply


STATES: dict[str, Edit] = {
    "more images than there are": set_to("trained", "samples", value=10**15),
    "more tested than there are": set_to("tested", "samples", value=10**9),
    "more wrong than done": set_to("trained", "wrong", value=1),
    "an epoch of more images than there are": set_to("history", 0, "samples", value=10**15),
    "an unknown status": set_to("trained", "statuses", value={"FINE": 1}),
    "a negative error": set_to("history", 0, "train_error", value=-0.5),
}


@pytest.mark.parametrize("name", STATES)
def test_a_checkpoint_that_says_the_impossible_is_not_gone_on_with(
    folder: Path, refused_training: Any, name: str
) -> None:
    damage(folder, "checkpoint.npz", state_of(STATES[name]))
    assert "checkpoint.npz" in refused_training("--resume", "--epochs", 3)
