"""The seconds of an epoch do not include compilation."""

import time
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import compilation, dataset_from_arrays, train
from eqprop_analog.experiments import run


def test_numba_counts_what_it_compiles_and_nothing_else() -> None:
    jit = pytest.importorskip("eqprop_analog.kernels.numba.jit")

    @jit.compiled
    def inner(x: float) -> float:
        return x + 1

    @jit.compiled
    def outer(x: float) -> float:
        return 2 * inner(x)

    before, begin = compilation.total(), time.perf_counter()
    assert outer(1.0) == 4.0
    took = time.perf_counter() - begin
    counted = compilation.total() - before
    assert 0 < counted <= took  # the inner one is not counted twice
    outer(2.0)
    assert compilation.total() - before == counted


def test_an_epochs_seconds_leave_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only compilation advances, by an hour for every batch."""
    clock = [0.0]

    def now() -> float:
        clock[0] += 1e-3
        return clock[0]

    def hour(*_given: object) -> None:
        clock[0] += 3600
        compilation.add(3600)

    monkeypatch.setattr(run.time, "perf_counter", now)
    monkeypatch.setattr(
        run.Batches, "__iter__", lambda self, own=run.Batches.__iter__: (hour() or each for each in own(self))
    )
    random = np.random.default_rng(0)
    data = dataset_from_arrays(random.uniform(size=(30, 4)), random.integers(0, 2, 30))
    found = train(data, layers=[4, 3, 2], epochs=1, output=tmp_path / "run")
    assert found.metrics["history"][0]["seconds"] < 60
