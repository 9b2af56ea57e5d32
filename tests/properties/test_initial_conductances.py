"""Initial conductances are distributed inside any conductance window, and drive every node."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import ResistiveNetwork

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 12), min_size=2, max_size=5)
WINDOWS = [(0.0, 1e-9), (3e-9, 3e-7), (5e-8, 5e-6), (1e-6, 1e-4), (1e-5, 1e-4), (9e-5, 1e-4), (1e-3, 1e-2), (0.0, 1.0)]


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_gets_conductances_that_make_a_signal(window: tuple[float, float]) -> None:
    """The input rows +x and -x differ, in some but not all cells, and over a part of the window."""
    low, high = window
    network = ResistiveNetwork.dense([64, 40, 10], seed=0, conductance_window=window)
    for matrix in network.conductances:
        above = matrix > low
        assert 0.2 < above.mean() < 0.6
        assert matrix.min() >= low
        assert matrix.max() <= high
        reach = matrix.max() - low
        assert reach > 0.3 * min(high - low, max(1e-7, 9 * low))
        assert len(np.unique(matrix[above])) == above.sum()
    first = network.conductances[0]
    signal = np.abs(first[:64] - first[64:]).sum() / first.sum()
    assert signal > 0.005 if low > 0.5 * high else signal > 0.3


@given(seed=seeds, layers=shapes, low=st.floats(0, 1e-2), width=st.floats(1e-5, 1e3))
def test_every_node_is_driven_in_every_window(seed: int, layers: list[int], low: float, width: float) -> None:
    window = (low, max(low * (1 + width), 1e-9))
    network = ResistiveNetwork.dense(layers, seed, conductance_window=window)
    for matrix in network.conductances:
        assert ((window[0] <= matrix) & (matrix <= window[1])).all()
        assert (matrix > window[0]).any(axis=0).all()


@given(seed=seeds, layers=shapes, high=st.floats(2e-6, 1.0))
def test_from_zero_siemens_it_is_the_published_law(seed: int, layers: list[int], high: float) -> None:
    """max(0, U(-a, a))·1 µS, a = 1/√rows (Scellier 2024), for any upper end."""
    rng = np.random.default_rng(seed)
    network = ResistiveNetwork.dense(layers, seed, conductance_window=(0.0, high))
    for matrix in network.conductances:
        a = 1e-6 / np.sqrt(len(matrix))
        drawn = np.maximum(0.0, rng.uniform(-a, a, matrix.shape))
        while (empty := ~drawn.any(axis=0)).any():
            drawn[:, empty] = np.maximum(0.0, rng.uniform(-a, a, (len(matrix), int(empty.sum()))))
        np.testing.assert_array_equal(matrix, drawn)


def test_scaling_the_window_scales_the_conductances() -> None:
    """If G_min determines the level, only the window has a unit."""
    one, other = (ResistiveNetwork.dense([8, 5, 3], 3, conductance_window=(k * 1e-3, k * 1e-2)) for k in (1.0, 7.0))
    for a, b in zip(one.conductances, other.conductances, strict=True):
        np.testing.assert_allclose(b, 7 * a, rtol=1e-12)
