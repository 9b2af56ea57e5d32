"""Small training runs are killed and resume bit-identically; a run that does not is detected."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks import killing

from eqprop_analog.learning.update import Momentum

pytest.importorskip("sklearn", reason="the runs are of scikit-learn's digits")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
CONVERGED, REMEMBERING = killing.TRIALS[2], killing.TRIALS[4]


@pytest.fixture(autouse=True)
def few(monkeypatch) -> None:
    """Trials without compilation and simulator, with 80 images per epoch."""
    few = [
        killing.Trial(
            each.name, each.settings.replace("limit = 200", "limit = 80").replace("limit = 400", "limit = 80")
        )
        for each in (CONVERGED, REMEMBERING)
    ]
    monkeypatch.setattr(killing, "TRIALS", tuple(few))


def test_killed_runs_go_on_to_the_same_bits_and_memory_is_measured(run_script):
    result = run_script("bench.py", "reliability", "--kills", 4, "--epochs", 8, "--json", "figures.json")
    assert result.code == 0, result.err
    figures = json.loads(Path("figures.json").read_text())
    assert [(each["kills"], each["same_bits"], each["lost"]) for each in figures["killed"]] == [(2, 2, [])] * 2
    assert [len(each["resident_bytes"]) for each in figures["long"]] == [7, 7]
    assert all(2**24 < size < 2**34 for each in figures["long"] for size in each["resident_bytes"])


def test_a_checkpoint_that_forgets_something_is_found_out(run_script, monkeypatch):
    monkeypatch.setattr(Momentum, "arrays", lambda momentum: {})
    monkeypatch.setattr(killing, "TRIALS", killing.TRIALS[1:])
    result = run_script("bench.py", "reliability", "--kills", 3, "--epochs", 0)
    assert result.code == 3
    assert "not bit-identical" in result.err


@pytest.mark.parametrize("options", [["--kills", -1], ["--epochs", 3], ["--small-disk", "."]])
def test_bad_options_are_refused(run_script, options):
    result = run_script("bench.py", "reliability", *options)
    assert result.code == 2
    assert options[0] in result.err
