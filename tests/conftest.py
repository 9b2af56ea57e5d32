"""Settings and fixtures for all tests."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import settings

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import Law

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("long", deadline=60_000, max_examples=2500)
settings.load_profile("fixed")

MakeNetwork = Callable[..., ResistiveNetwork]


@pytest.fixture(scope="session")
def random_network() -> MakeNetwork:
    """A maker of networks with conductances log-uniform over ``decades`` around 1 µS, some of them zero, no column empty."""

    def make(
        seed: int = 0,
        layers: Sequence[int] = (2, 3, 2),
        *,
        diode: Law | None = None,
        gains: Sequence[float] | None = None,
        decades: float = 1.0,
        zeros: float = 0.0,
        bias: float = 0.0,
        **settings: float | str,
    ) -> ResistiveNetwork:
        random = np.random.default_rng(seed)
        network = ResistiveNetwork.dense(
            layers,
            seed,
            diode=diode,
            amplifier_gain=(1.0,) * (len(layers) - 2) if gains is None else gains,
            bias=[bias * random.normal(size=size) for size in layers[1:]],
            **settings,
        )
        for matrix in network.conductances:
            rows, columns = matrix.shape
            empty = random.random(matrix.shape) < zeros
            empty[random.integers(rows, size=columns), np.arange(columns)] = False
            matrix[...] = np.where(empty, 0, 1e-6 * 10 ** random.uniform(-decades / 2, decades / 2, matrix.shape))
        return network

    return make
