"""Settings and fixtures for all tests."""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import settings

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import Law
from eqprop_analog.devices.registry import REGISTRIES

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("long", deadline=60_000, max_examples=2500)
settings.load_profile("fixed")

MakeNetwork = Callable[..., ResistiveNetwork]


@pytest.fixture(autouse=True)
def only_the_packages_own_devices() -> Iterator[None]:
    """Remove the registrations of a test, and their modules, after the test."""
    before, modules, places = [dict(each) for each in REGISTRIES], set(sys.modules), list(sys.path)
    yield
    for registry, known in zip(REGISTRIES, before, strict=False):  # an import may have made one more
        for name in registry.keys() - known.keys():
            module = registry[name].__module__
            del registry[name]
            if module not in modules:
                sys.modules.pop(module, None)
    sys.path[:] = places


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
